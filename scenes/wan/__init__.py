"""WAN 2.2: the only folder that knows the model or a tensor layout."""
