"""The commands. Everything heavy is imported by the command that needs it, so that --help answers at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storyboard.cli_clip import clip
from storyboard.cli_models import models
from storyboard.failures import FAILED, PARTLY, STORY, USAGE, Commands, say
from storyboard.flags import (
    AsJson,
    Attention,
    Compile,
    Device,
    Draft,
    FilmFile,
    Ram,
    SceneNames,
    StoreFolder,
    StoryFile,
    Vram,
)

if TYPE_CHECKING:
    from storyboard.production import Outcome


app = typer.Typer(
    cls=Commands,
    help="Turns a story into a film: WAN 2.2 scenes, each opening on the exact last frame of the one before.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _out(facts: Any) -> None:
    print(json.dumps(facts, ensure_ascii=False, indent=1))


def main() -> None:
    app()


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("storyboard"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options of storyboard itself."""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a new or empty folder")] = Path(),
) -> None:
    """Write a commented story, with a picture, that renders as it is."""
    from storyboard.starter import write_starter

    try:
        story = write_starter(folder)
    except FileExistsError as error:
        say(f"{error.filename} is there already: nothing was written")
        raise typer.Exit(USAGE) from None
    say(f"next: storyboard render {story} --draft")
    print(story)


@app.command()
def validate(story: StoryFile, as_json: AsJson = False) -> None:
    """Find every mistake in a story at once."""
    from dataclasses import asdict

    from storyboard.mistakes import StoryError
    from storyboard.story import read_story

    try:
        read = read_story(story, decode=True)
    except StoryError as error:
        if as_json:
            _out([asdict(mistake) for mistake in error.mistakes])
        else:
            say(str(error))
            count = len(error.mistakes)
            say(f"{count} mistake{'s' if count > 1 else ''}")
        raise typer.Exit(STORY) from None
    if as_json:
        _out([])
    else:
        print(f"{story}: {len(read.scenes)} scenes, no mistakes")


@app.command()
def graph(
    story: StoryFile,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="as a Mermaid flowchart")] = False,
    svg: Annotated[bool, typer.Option("--svg", help="as an SVG picture")] = False,
) -> None:
    """Show which scene opens on which."""
    from storyboard.graph import graph_mermaid, graph_svg, graph_text
    from storyboard.story import read_story

    if mermaid and svg:
        raise typer.BadParameter("one of --mermaid and --svg")
    draw = graph_mermaid if mermaid else graph_svg if svg else graph_text
    print(draw(read_story(story)))


@app.command()
def schema() -> None:
    """Print the JSON Schema of story files, for editors."""
    from storyboard.schema import json_schema

    _out(json_schema())


@app.command()
def presets(as_json: AsJson = False) -> None:
    """List prompt and negative presets, camera moves and recipes."""
    from storyboard.presets import CAMERAS, NEGATIVES, POSITIVES, RECIPES

    if as_json:
        _out({"positives": POSITIVES, "negatives": NEGATIVES, "cameras": CAMERAS, "recipes": RECIPES})
        return
    for heading, texts in (("positives (presets = [...])", POSITIVES), ("negatives (avoid = [...])", NEGATIVES)):
        print(f"{heading}:")
        for name, text in texts.items():
            print(f"  {name}: {text}")
    print(f"cameras (camera = ...): {', '.join(CAMERAS)}")
    print(f"recipes (recipe = ...): {', '.join(RECIPES)}")


@app.command()
def plan(
    story: StoryFile,
    draft: Draft = False,
    scene: SceneNames = None,
    film: FilmFile = None,
    device: Device = None,
    vram: Vram = None,
    ram: Ram = None,
    attention: Attention = None,
    compile: Compile = None,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Say what a render would make, and why."""
    from storyboard.plan import plan_lines, plan_of
    from storyboard.session import open_session

    session = open_session(story, store, device, vram=vram, ram=ram, attention=attention, compile=compile)
    planned = plan_of(session.rehearsed(draft, scene, film), session.store)
    session.store.memory.save()
    if as_json:
        _out(planned.json())
    else:
        print("\n".join(plan_lines(planned)))
    if any(each.state == "broken" for each in planned.scenes):
        raise typer.Exit(STORY)


@app.command()
def render(
    story: StoryFile,
    draft: Draft = False,
    scene: SceneNames = None,
    force: Annotated[
        bool, typer.Option("--force", help="make the named scenes (or all) anew; the old are kept as takes")
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="a new seed for one --scene")] = None,
    reroll: Annotated[bool, typer.Option("--reroll", help="a new random seed for one --scene")] = False,
    film: FilmFile = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="go on with other scenes when one fails")] = False,
    device: Device = None,
    vram: Vram = None,
    ram: Ram = None,
    attention: Attention = None,
    compile: Compile = None,
    store: StoreFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="events as JSON lines, on stdout")] = False,
) -> None:
    """Make what is missing, then the film."""
    from dataclasses import replace

    from storyboard.production import produce
    from storyboard.reroll import with_new_seed
    from storyboard.session import open_session

    session = open_session(story, store, device, vram=vram, ram=ram, attention=attention, compile=compile)
    names, new = session.named(scene), None
    options = replace(session.options(draft, film), scenes=names, keep_going=keep_going)
    if force:
        options = replace(options, anew=names or frozenset(s.name for s in session.story.scenes))
    if seed is not None or reroll:
        new = with_new_seed(session.story, _one_scene(names, seed, reroll), seed)
        options = replace(options, scenes=new.scenes)
    with session.run(as_json) as events:
        on_kept = new.writer(events) if new is not None else None
        outcome = produce(new.story if new else session.story, session.store, options, events, on_kept)
    _report(outcome, as_json)


def _one_scene(names: frozenset[str] | None, seed: int | None, reroll: bool) -> str:
    """The scene that gets a new seed."""
    if seed is not None and reroll:
        raise typer.BadParameter("one of --seed and --reroll")
    if names is None or len(names) != 1:
        raise typer.BadParameter("--seed and --reroll need exactly one --scene NAME")
    return next(iter(names))


@app.command()
def export(
    story: StoryFile,
    to: Annotated[
        str, typer.Option("--to", metavar="FORMAT", help="h264, hevc, av1, prores, prores-4444, ffv1, png, master")
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="PATH", help="where to")] = None,
    crf: Annotated[float | None, typer.Option("--crf", min=0, max=63, help="quality of h264, hevc and av1")] = None,
    draft: Draft = False,
    device: Device = None,
    store: StoreFolder = None,
) -> None:
    """Write the film in another format, from lossless frames."""
    from storyboard.export import TARGETS, Export, export_path, keep_master
    from storyboard.export import export as write
    from storyboard.mistakes import did_you_mean
    from storyboard.room import gigabytes
    from storyboard.session import open_session

    if to not in TARGETS:
        there = f" (there are: {', '.join(TARGETS)})"
        raise typer.BadParameter(f'no format "{to}"{did_you_mean(to, TARGETS) or there}')
    session = open_session(story, store, device)
    rehearsed = session.rehearsed(draft)
    with session.run() as events:

        def tell(scene: str, done: float) -> None:
            events.progress("segment.progress", scene, done)

        if to == "master":
            if output is not None or crf is not None:
                raise typer.BadParameter("a master lies in the store, lossless: drop --output and --crf")
            size = keep_master(rehearsed, session.store, tell)
            print(f"the finished frames are kept losslessly: {gigabytes(size)}; later exports read them")
            return
        path = output or export_path(rehearsed, to)
        count = write(rehearsed, session.store, Export(to, path, crf), tell)
    say(f"{count} frames")
    print(path)


@app.command()
def verify(story: StoryFile, draft: Draft = False, store: StoreFolder = None, as_json: AsJson = False) -> None:
    """Prove that every scene opens on exactly the pixels it should."""
    from dataclasses import asdict

    from storyboard.session import open_session
    from storyboard.verify import verify as check

    session = open_session(story, store)
    rehearsed = session.rehearsed(draft)
    findings = list(check(rehearsed, session.store))
    if not any(finding.holds is not None for finding in findings):
        rehearsed.check_known()
        say("nothing is rendered yet: there is nothing to verify")
        raise typer.Exit(FAILED)
    if as_json:
        _out([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            state = {True: "exact ", False: "BROKEN", None: "  -   "}[finding.holds]
            print(f"{state}  {finding.scene}: {finding.what}")
    if any(finding.holds is False for finding in findings):
        raise typer.Exit(FAILED)


@app.command()
def gc(
    story: StoryFile,
    draft: Draft = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say how much, drop nothing")] = False,
    store: StoreFolder = None,
) -> None:
    """Drop kept work that no story of this store needs."""
    from storyboard.room import gigabytes
    from storyboard.session import open_session
    from storyboard.sweep import sweep

    session = open_session(story, store)
    mode = session.mode(draft)
    swept = sweep(session.store, mode, dry_run=dry_run)
    verb = "would drop" if dry_run else "dropped"
    counts = f"{swept.clips} clips, {swept.segments} segments, {swept.stills} stills"
    print(f"{verb} {counts} that no {mode} scene needs: {gigabytes(swept.bytes)}")


@app.command()
def doctor(store: StoreFolder = None, as_json: AsJson = False) -> None:
    """Say what this machine can do, what it cannot, and the remedy."""
    from dataclasses import asdict

    from storyboard.doctor import examine
    from storyboard.settings import settings

    facts = settings(store)
    findings = list(examine(facts.models, facts.store or Path(".storyboard")))
    if as_json:
        _out([asdict(finding) for finding in findings])
        return
    for finding in findings:
        print(f"{finding.state:<8} {finding.part:<9} {finding.says}")
        if finding.remedy and finding.remedy != finding.says:
            print(f"{'':<18} -> {finding.remedy}")


app.command()(clip)
app.add_typer(models, name="models")


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
