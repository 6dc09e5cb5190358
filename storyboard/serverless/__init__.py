"""A job that comes over the wire, in a process that stays small: what it asks for, and its render in a child."""
