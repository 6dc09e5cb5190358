"""A plan as text."""

from __future__ import annotations

from storyboard.plan import KEPT, WAITS, Plan
from storyboard.room import gigabytes


def plan_lines(plan: Plan) -> list[str]:
    """The plan as text."""
    waits = "  (finished once the scene before it is there)"
    width = max([len(scene.name) for scene in plan.scenes] + [5])
    lines = [f"{plan.story} ({plan.mode})", ""]
    for scene in plan.scenes:
        facts = (
            f"{scene.frames:>4} frames {scene.seconds:>6.2f} s  {scene.size}  seed {scene.seed:<10}  {scene.drawn_by}"
        )
        anew = f"  (finished anew: {scene.colour_why})" if scene.colour_why else "  (finished anew)"
        segment = "" if scene.segment == KEPT or scene.state != KEPT else anew
        if scene.segment == WAITS:
            segment = f"  ({scene.colour_why}: finished anew where that changes it)" if scene.colour_why else waits
        why = f": {scene.why}" if scene.why and scene.state != WAITS else f" for {scene.why[10:]}" if scene.why else ""
        lines.append(f"  {scene.name:<{width}}  {facts}  {scene.state}{why}{segment}")
        lines += [f"  {'':<{width}}  - {scene.seam.says}"] if scene.seam else []
        lines += [f"  {'':<{width}}  - colour {scene.colour}"] if scene.colour else []
        lines += [f"  {'':<{width}}  - {scene.hands_on}"] if scene.hands_on else []
        lines += [f"  {'':<{width}}  - LoRA {lora}" for lora in scene.loras]
        lines += [f"  {'':<{width}}  - {note}" for note in scene.notes]
    lines.append("")
    lines += [f"  {line}" for line in plan.weights]
    lines += [f"  memory: {plan.memory}"] if plan.memory else []
    lines += [f"  draft: {stand_in}" for stand_in in plan.stand_ins]
    lines += [f"  note: {note}" for note in plan.notes]
    lines += [f"  lacks: {lack}" for lack in plan.lacks]
    count = str(plan.at_least) if plan.at_least == plan.at_most else f"{plan.at_least} to {plan.at_most}"
    lines.append(f"  clips to render: {count} of {len(plan.scenes)}")
    less = f" ({plan.dissolves} frames less by dissolves)" if plan.dissolves else ""
    count = f"{plan.film_frames_at_least} to " if plan.film_frames_at_least else ""
    film = f"{count}{plan.film_frames} frames at {plan.film_fps}/s, {plan.film_seconds:.2f} s{less}, {plan.film_size}"
    lines.append(f"  film: {film} -> {plan.film}")
    lines.append(f"  disk: at most {gigabytes(plan.disk_needed)} needed, {gigabytes(plan.disk_free)} free")
    return lines
