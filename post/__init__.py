"""Finishes: clips become segments, segments become the film. Knows nothing of stories or keeping."""
