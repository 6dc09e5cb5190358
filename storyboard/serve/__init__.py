"""Stories over HTTP: `storyboard serve`. What the command line does, done as jobs in processes of their own.

This process stays small: what needs NumPy (reading stories, planning) is asked of another one (reader.py), and each job
is a `storyboard render` of its own (child.py).
"""
