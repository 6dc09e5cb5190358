"""`render --takes`, `take` and `takes`: several clips of one scene, one of them chosen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from storyboard.failures import FAILED, PARTLY, say
from storyboard.flags import AsJson, DraftWork, StoreFolder, StoryFile
from storyboard.typed import typed

if TYPE_CHECKING:
    from storyboard.options import Options
    from storyboard.session import Session


def draw_takes(session: Session, options: Options, names: frozenset[str] | None, count: int, as_json: bool) -> None:
    """`render --takes`."""
    from storyboard.retakes import make_takes

    if names is None or len(names) != 1:
        raise typer.BadParameter("--takes needs exactly one --scene NAME")
    (name,) = names
    with session.run(as_json) as events:
        drawn = make_takes(session.story, session.store, options, events, name, count)
    for label, why in drawn.failed.items():
        say(f"{label.replace('.', ' take ')} failed: {why}")
    if drawn.sheet is not None and not as_json:
        say(f"choose one: {typed('take', session.story.path, name, 'NUMBER', draft=options.draft)}")
        print(drawn.sheet)
    if drawn.failed:
        raise typer.Exit(PARTLY if drawn.takes else FAILED)


def take(
    story: StoryFile,
    scene: Annotated[str, typer.Argument(metavar="SCENE", help="its name", show_default=False)],
    number: Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="of the take", show_default=False)],
    draft: DraftWork = False,
    store: StoreFolder = None,
) -> None:
    """Choose a scene's take: its seed is written into the story."""
    from storyboard.choosing import NotToBeChosen, choose
    from storyboard.session import open_session

    session = open_session(story, store)
    session.named([scene])
    rehearsed = session.rehearsed(draft)
    if scene in rehearsed.crew.missing_clips:
        rehearsed.check_known()
    with session.store.in_use():
        try:
            chosen = choose(rehearsed, session.store, scene, number)
        except NotToBeChosen as error:
            say(str(error))
            raise typer.Exit(FAILED) from None
    wrote = f"seed {chosen.take.seed} is written into {story}" if chosen.written else f"seed {chosen.take.seed}"
    print(f"{scene}: take {number} is chosen, {wrote}")
    if chosen.swapped:
        say(f"{scene}: the take kept so far under that seed changed places with it, and stays a take")
    _say_stale(open_session(story, store), draft, changed=chosen.written or chosen.swapped)


def _say_stale(session: Session, draft: bool, *, changed: bool) -> None:
    """What a render would make now. changed: the scene has another clip, so the film at least is another."""
    from storyboard.manifest import DRAFT
    from storyboard.plan import KEPT, MEND, plan_of

    rehearsed = session.rehearsed(draft)
    stale = [scene for scene in plan_of(rehearsed, session.store).scenes if scene.state != KEPT]
    finish = [name for name in rehearsed.crew.finishes if name in rehearsed.crew.missing_segments]
    for scene in stale:
        print(f"{scene.name}: {'' if scene.state == scene.why.partition(' ')[0] else f'{scene.state}, '}{scene.why}")
    if session.mode(draft) == DRAFT:
        say("it was chosen by its draft; a seed means another picture to the model")
    command = typed("render", session.story.path, draft=session.mode(draft) == DRAFT)
    count = sum(scene.state != MEND for scene in stale)
    clips = f"{count} clip{'s' * (count != 1)} to render" if count else "no clip to render"
    print(f"{clips}, {len(finish)} to finish: {command}" if stale or finish or changed else "nothing is stale")


def takes(
    story: StoryFile,
    scene: Annotated[
        list[str] | None, typer.Option("--scene", metavar="NAME", help="only this scene's (repeatable)")
    ] = None,
    draft: DraftWork = False,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """List takes, of which take each clip was made, and what is stale."""
    from storyboard.lineage import as_json as document
    from storyboard.lineage import lines, listed
    from storyboard.session import open_session

    session = open_session(story, store)
    rehearsed = session.rehearsed(draft)
    scenes = listed(rehearsed, session.store, session.named(scene))
    session.store.memory.save()
    if as_json:
        print(json.dumps(document(rehearsed, scenes), ensure_ascii=False, indent=1))
    else:
        print("\n".join(lines(scenes)))
