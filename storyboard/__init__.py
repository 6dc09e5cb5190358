"""Decides: reads a story, works out what must be made and why, and has it made."""
