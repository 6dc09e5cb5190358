"""Draws: one shot becomes frames. Knows nothing of stories, order or keeping."""
