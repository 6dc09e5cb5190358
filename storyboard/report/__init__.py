"""The seams of a film in numbers, and how they are told: as a table, a document, a page."""
