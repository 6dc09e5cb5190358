"""`storyboard plan` and `storyboard render`: what would be made, and the making."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from storyboard.cli_takes import draw_takes
from storyboard.failures import FAILED, PARTLY, STORY, say
from storyboard.flags import (
    AsEvents,
    AsJson,
    Attention,
    Compile,
    Device,
    Draft,
    FilmFile,
    FinishOn,
    Ram,
    SceneNames,
    StoreFolder,
    StoryFile,
    Vram,
)

if TYPE_CHECKING:
    from storyboard.options import Options
    from storyboard.production import Outcome
    from storyboard.session import Session


def plan(
    story: StoryFile,
    draft: Draft = False,
    scene: SceneNames = None,
    film: FilmFile = None,
    device: Device = None,
    finish_on: FinishOn = None,
    vram: Vram = None,
    ram: Ram = None,
    attention: Attention = None,
    compile: Compile = None,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Say what a render would make, and why."""
    from storyboard.plan import plan_of
    from storyboard.plan_text import plan_lines
    from storyboard.session import open_session

    session = open_session(
        story, store, device, vram=vram, ram=ram, attention=attention, compile=compile, finish_on=finish_on
    )
    planned = plan_of(session.rehearsed(draft, scene, film), session.store)
    session.store.memory.save()
    if as_json:
        print(json.dumps(planned.json(), ensure_ascii=False, indent=1))
    else:
        print("\n".join(plan_lines(planned)))
    if any(each.state == "broken" for each in planned.scenes):
        raise typer.Exit(STORY)


def render(
    story: StoryFile,
    draft: Draft = False,
    scene: SceneNames = None,
    force: Annotated[
        bool, typer.Option("--force", help="make the named scenes (or all) anew; the old are kept as takes")
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="a new seed for one --scene")] = None,
    reroll: Annotated[
        bool, typer.Option("--reroll", help="a new random seed for one --scene; the clip before stays as a take")
    ] = False,
    hold: Annotated[
        bool,
        typer.Option(
            "--hold",
            help="with a new seed for one --scene: draw it up to the frame it ends on now, so that what follows stays",
        ),
    ] = False,
    takes: Annotated[
        int | None, typer.Option("--takes", min=2, max=99, help="so many takes of one --scene, to choose from")
    ] = None,
    film: FilmFile = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="go on with other scenes when one fails")] = False,
    device: Device = None,
    finish_on: FinishOn = None,
    vram: Vram = None,
    ram: Ram = None,
    attention: Attention = None,
    compile: Compile = None,
    store: StoreFolder = None,
    as_json: AsEvents = False,
) -> None:
    """Make what is missing, then the film."""
    from dataclasses import replace

    from storyboard.session import open_session

    session = open_session(
        story, store, device, vram=vram, ram=ram, attention=attention, compile=compile, finish_on=finish_on
    )
    names = session.named(scene)
    options = replace(session.options(draft, film), scenes=names, keep_going=keep_going)
    if takes is not None:
        if force or seed is not None or reroll or hold or film is not None:
            raise typer.BadParameter("--takes goes with none of --force, --seed, --reroll, --hold and --film")
        draw_takes(session, options, names, takes, as_json)
        return
    if force:
        options = replace(options, anew=names or frozenset(s.name for s in session.story.scenes))
    one = _one_scene(names, seed, reroll, hold, force) if seed is not None or reroll or hold else None
    _report(_produced(session, options, one, seed, hold, as_json), as_json)


def _produced(
    session: Session, options: Options, one: str | None, seed: int | None, hold: bool, as_json: bool
) -> Outcome:
    """What a render comes to. one: the scene that gets a new seed; hold: up to the frame that it ends on now."""
    from dataclasses import replace

    from storyboard.hold import produce_held
    from storyboard.manifest import mode_of
    from storyboard.production import produce
    from storyboard.reroll import with_new_seed

    story, store = session.story, session.store
    new = with_new_seed(story, one, seed) if one is not None and not hold else None
    with session.run(as_json) as events:
        if one is not None and hold:
            return produce_held(story, store, options, one, seed, events)
        if new is not None:
            write = new.writer(events, store, mode_of(options.draft))
            return produce(new.story, store, replace(options, scenes=new.scenes), events, write)
        return produce(story, store, options, events)


def _one_scene(names: frozenset[str] | None, seed: int | None, reroll: bool, hold: bool, force: bool) -> str:
    """The scene that gets a new seed."""
    if hold and force:
        raise typer.BadParameter("one of --hold and --force: --hold draws with a new seed")
    if seed is not None and reroll:
        raise typer.BadParameter("one of --seed and --reroll")
    if names is None or len(names) != 1:
        raise typer.BadParameter("--seed, --reroll and --hold need exactly one --scene NAME")
    return next(iter(names))


def _report(outcome: Outcome, as_json: bool) -> None:
    for name, why in outcome.failed.items():
        say(f'scene "{name}" failed: {why}')
    if outcome.skipped:
        say(f"not begun, since they wait for what failed: {', '.join(sorted(outcome.skipped))}")
    if outcome.film is None and outcome.missing:
        say(f"no film yet, missing: {', '.join(outcome.missing)}")
    if outcome.film is not None and not as_json:
        if not outcome.joined:
            say("nothing to do: the film is as the story says")
        print(outcome.film)
    if outcome.failed:
        raise typer.Exit(PARTLY if outcome.there else FAILED)
