"""The board: a story in a browser, its scenes in play order, edited, rendered and played there.

Pages are written by the server; htmx swaps parts of them. They are routes of the same application that serves the API.
"""
