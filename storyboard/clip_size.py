"""The size that clips are drawn at."""

from __future__ import annotations

import math

from scenes.footage import Size
from scenes.wan.models import WanModel
from storyboard.finishing import parse_size
from storyboard.mistakes import Place, written
from storyboard.reading import Reading
from storyboard.schema import StoryTable

CLIP_SIDE_LIMIT = 4096


def clip_size(text: str, table: StoryTable, model: WanModel, reading: Reading) -> Size | None:
    """What [look] names, or the bucket that "auto" comes to; None after complaining."""
    place: Place = ("look", "size")
    if text.strip().lower() == "auto":
        return _auto_size(table, model, reading)
    size = parse_size(text)
    said = f"size = {written(text)}"
    if size is None or 0 in size:
        reading.complain(place, f'{said} is not like "832x480", width x height, nor "auto"')
    elif any(side % model.multiple for side in size):
        near = "x".join(str(max(model.multiple, round(s / model.multiple) * model.multiple)) for s in size)
        reading.complain(place, f'{said}: {model.name} draws multiples of {model.multiple} (nearest: "{near}")')
    elif max(size) > CLIP_SIDE_LIMIT:
        reading.complain(place, f"{said} is past {CLIP_SIDE_LIMIT}: draw smaller and let [finish] upscale")
    else:
        return size
    return None


def _auto_size(table: StoryTable, model: WanModel, reading: Reading) -> Size:
    """The bucket nearest in aspect to the first picture; one that is missing was complained of."""
    image = next((scene.image for scene in table.scene if scene.image is not None), None)
    found = reading.size_of(image) if image is not None else None
    if found is None:
        return model.buckets[0]
    return min(model.buckets, key=lambda bucket: abs(math.log(bucket[0] / bucket[1]) - math.log(found[0] / found[1])))
