"""What a scene's prompt says to the model."""

from __future__ import annotations

from storyboard.story import Scene

# A move's name is for storyboards; WAN was taught the words of shot descriptions (Wan 2.2's prompt guide).
CAMERAS = {
    "push in": "the camera pushes in",
    "pull out": "the camera pulls back",
    "pan left": "the camera pans left",
    "pan right": "the camera pans right",
    "tilt up": "the camera tilts up",
    "tilt down": "the camera tilts down",
    "roll left": "the camera rolls to the left",
    "roll right": "the camera rolls to the right",
    "handheld": "handheld camera",
    "hold": "static camera, fixed shot",
}


def joined(*texts: str) -> str:
    return ", ".join(text.strip().rstrip(",") for text in texts if text.strip())


def model_prompt(scene: Scene) -> str:
    """The prompt with its presets and its camera; a camera in the author's own words stays as it is."""
    camera = scene.camera or ""
    return joined(scene.prompt, *scene.positives, CAMERAS.get(camera.strip().lower(), camera))
