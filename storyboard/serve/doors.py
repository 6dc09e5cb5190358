"""Every route of the API, in one table: the application and its OpenAPI document are both made of it."""

from __future__ import annotations

from storyboard.serve import doors_jobs, doors_scenes, doors_server, doors_stories, doors_takes
from storyboard.serve.door import Door

DOORS: tuple[Door, ...] = (
    *doors_stories.DOORS,
    *doors_scenes.DOORS,
    *doors_takes.DOORS,
    *doors_jobs.DOORS,
    *doors_server.DOORS,
)
