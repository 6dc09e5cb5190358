"""Why a scene is made again, in words: what its recipe was and what it is."""

from __future__ import annotations

from collections.abc import Sequence

from storyboard.identity import UNMADE, Json, changes
from storyboard.story import After, Scene

Change = tuple[tuple[str, ...], Json, Json]
SHOT = {"prompt": "prompt changed", "negative_prompt": "negative prompt changed", "loras": "LoRAs changed"}
LORA, STRENGTHS = "LoRA", "LoRA strengths"
STEP = {"sigma": "sigmas", "expert": "experts", "cfg": "cfg", "loras": STRENGTHS}
RECIPE = {"end": "sigmas", "loras": LORA}


def reasons(old: Json, new: Json, scene: Scene) -> list[str]:
    """Each said once; none where the old recipe is not known."""
    if old is None:
        return []
    found: list[str] = []
    changed = changes(old, new)
    if any(path[:1] == ("size",) for path, _, _ in changed):
        found.append("size changed")  # and with it every picture
        changed = [change for change in changed if change[0][0] not in ("size", "opening", "last")]
    for path, was, now in changed:
        match path:
            case ("opening", *_) if isinstance(scene.opens_on, After):
                found.append(f"opens on {scene.opens_on.scene}'s new last frame")
            case ("opening", *_):
                found.append("its image, fit or background changed")
            case ("last", *_):
                found.append("ends on another picture")
            case ("renderer", "weights" | "recipe" as part, *_):
                of = [change for change in changed if change[0][:2] == ("renderer", part)]
                found.append(_weights(of) if part == "weights" else _recipe(of))
            case ("renderer", *_, name):
                found.append(f"{name} {_short(was)} -> {_short(now)}")
            case ("renderer",):
                found.append("renderer changed")
            case ("loras", *_) if _absent(now):
                found.append("a LoRA it is to be made with is not here")
            case (key, *_) if key in SHOT:
                found.append(SHOT[key])
            case _:
                found.append(f"{'.'.join(path)} {_short(was)} -> {_short(now)}")
    return list(dict.fromkeys(found))


def _weights(changed: Sequence[Change]) -> str:
    """Which of the model's files are others now, or gone."""
    parts = [path[2].replace("_", " ") for path, _, _ in changed if len(path) > 2]
    gone = any(_absent(now) for _, _, now in changed)
    return "the weights it was made with are not here" if gone else f"weights changed{_listed(parts)}"


def _absent(value: Json) -> bool:
    """Whether it names a file that is not here."""
    if isinstance(value, dict):
        return any(map(_absent, value.values()))
    if isinstance(value, list):
        return any(map(_absent, value))
    return isinstance(value, str) and value.startswith(UNMADE)


def _recipe(changed: Sequence[Change]) -> str:
    if any(_absent(now) for _, _, now in changed):
        return "the LoRA of its recipe is not here"
    words = [word for change in changed for word in _recipe_words(*change)]
    return f"recipe changed{_listed([word for word in words if word != STRENGTHS or LORA not in words])}"


def _recipe_words(path: tuple[str, ...], was: Json, now: Json) -> list[str]:
    """Which of its settings, as a [recipe.NAME] calls them; steps are many and are said once."""
    match path[2:]:
        case ("steps",) if isinstance(was, list) and isinstance(now, list):
            return [f"{len(was)} -> {len(now)} steps"]
        case ("steps", _, key, *_):
            return [STEP.get(key, key)]
        case ("sampler",):
            return [f"sampler {_short(was)} -> {_short(now)}"]
        case (key, *_):
            return [RECIPE.get(key, key)]
        case _:
            return []


def _listed(words: Sequence[str]) -> str:
    return f" ({', '.join(dict.fromkeys(words))})" if words else ""


def _short(value: Json) -> str:
    text = "none" if value is None else str(value) if not isinstance(value, dict | list) else "..."
    return text if len(text) <= 30 else text[:27] + "..."
