"""The commands. Everything heavy is imported by the command that needs it, so that --help answers at once."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from storyboard.events import Events
    from storyboard.production import Options, Outcome, Rehearsed
    from storyboard.settings import Settings
    from storyboard.store import Store
    from storyboard.story import Story

FAILED, USAGE, STORY, MACHINE, PARTLY, INTERRUPTED = 1, 2, 3, 4, 5, 130


class Commands(TyperGroup):
    """Runs a command; mistakes become messages and exit codes, never a traceback."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer's Context is the one passed
        from storyboard.mistakes import StoryError

        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _say("interrupted; what was finished is kept")
            raise typer.Exit(INTERRUPTED) from None
        except StoryError as error:
            _say(str(error))
            raise typer.Exit(STORY) from None
        except (RuntimeError, BrokenPipeError):
            raise  # typer's own: Exit, Abort, a reader that has left
        except Exception as error:
            raise typer.Exit(_failure(error)) from None


app = typer.Typer(
    cls=Commands,
    help="Turns a story into a film: WAN 2.2 scenes, each opening on the exact last frame of the one before.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StoryFile = Annotated[Path, typer.Argument(metavar="STORY", help="the story file, story.toml", show_default=False)]
StoreFolder = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", help="kept work (default .storyboard beside the story)")
]
Draft = Annotated[bool, typer.Option("--draft", help="draw with the animatic: no GPU, no weights")]
AsJson = Annotated[bool, typer.Option("--json", help="machine-readable, on stdout")]
Device = Annotated[str | None, typer.Option("--device", metavar="DEVICE", help="cuda:0, or cpu")]
SceneNames = Annotated[
    list[str] | None, typer.Option("--scene", metavar="NAME", help="only this scene and what it needs (repeatable)")
]


def _failure(error: Exception) -> int:
    """Say what went wrong and give the exit code; what no person can have caused goes on as it is."""
    from post.encode import EncoderMissing
    from post.weights import Lacking
    from scenes.footage import DamagedFile
    from scenes.picture import PictureError
    from scenes.shot import MachineLacks, Stopped
    from storyboard.export import NotRendered
    from storyboard.film import SceneFailed
    from storyboard.settings import SettingsError

    cause = error.__cause__ if isinstance(error, SceneFailed) else error
    match cause:
        case Stopped():
            code = INTERRUPTED
        case MachineLacks() | Lacking() | EncoderMissing() | SettingsError():
            code = MACHINE
        case PictureError():
            code = STORY
        case DamagedFile() | NotRendered():
            code = FAILED
        case OSError():
            code = MACHINE
        case _ if isinstance(error, SceneFailed):
            code = FAILED
        case _:
            raise error
    _say(str(error))
    return code


def _say(text: str) -> None:
    print(text, file=sys.stderr)


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
        _say(f"{error.filename} is there already: nothing was written")
        raise typer.Exit(USAGE) from None
    _say(f"next: storyboard render {story} --draft")
    print(story)


@app.command()
def validate(story: StoryFile, as_json: AsJson = False) -> None:
    """Find every mistake in a story at once."""
    from dataclasses import asdict

    from storyboard.mistakes import StoryError
    from storyboard.story import read_story

    try:
        read = read_story(story)
    except StoryError as error:
        if as_json:
            _out([asdict(mistake) for mistake in error.mistakes])
        else:
            _say(str(error))
            count = len(error.mistakes)
            _say(f"{count} mistake{'s' if count > 1 else ''}")
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
    """List negative presets, camera moves and recipes."""
    from storyboard.presets import CAMERAS, NEGATIVES, RECIPES

    if as_json:
        _out({"negatives": NEGATIVES, "cameras": CAMERAS, "recipes": RECIPES})
        return
    print("negatives (avoid = [...]):")
    for name, text in NEGATIVES.items():
        print(f"  {name}: {text}")
    print(f"cameras (camera = ...): {', '.join(CAMERAS)}")
    print(f"recipes (recipe = ...): {', '.join(RECIPES)}")


@app.command()
def plan(
    story: StoryFile,
    draft: Draft = False,
    scene: SceneNames = None,
    film: Annotated[Path | None, typer.Option("--film", metavar="PATH", help="the film's file")] = None,
    device: Device = None,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Say what a render would make, and why."""
    from storyboard.plan import plan_lines, plan_of

    made = _rehearsed(story, draft, scene, store, device, film)
    planned = plan_of(made[0], made[1])
    made[1].memory.save()
    if as_json:
        _out(planned.json())
    else:
        print("\n".join(plan_lines(planned)))


@app.command()
def render(
    story: StoryFile,
    draft: Draft = False,
    scene: SceneNames = None,
    force: Annotated[
        bool, typer.Option("--force", help="make the named scenes (or all) anew; the old are takes")
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="a new seed for one --scene")] = None,
    reroll: Annotated[bool, typer.Option("--reroll", help="a new random seed for one --scene")] = False,
    film: Annotated[Path | None, typer.Option("--film", metavar="PATH", help="the film's file")] = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="go on with other scenes when one fails")] = False,
    device: Device = None,
    store: StoreFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="events as JSON lines, on stdout")] = False,
) -> None:
    """Make what is missing, then the film."""
    from storyboard.reroll import with_new_seed
    from storyboard.story import read_story

    read = read_story(story)
    names = _known(read, scene)
    new = None
    if seed is not None or reroll:
        if seed is not None and reroll:
            raise typer.BadParameter("one of --seed and --reroll")
        if names is None or len(names) != 1:
            raise typer.BadParameter("--seed and --reroll need exactly one --scene NAME")
        new = with_new_seed(read, next(iter(names)), seed)
        read = new.story
        names = new.scenes
    anew = (frozenset(s.name for s in read.scenes) if names is None else names) if force else frozenset[str]()
    if force and new is not None:
        anew = frozenset({new.scene})
    kept, facts = _store(read, store, device)
    options = _settled(read, draft, names, anew, keep_going, film, facts)
    with _run(kept, as_json) as events:
        from storyboard.production import produce

        written = new.writer(events) if new is not None else None
        outcome = produce(read, kept, options, events, written)
    _report(outcome, as_json)


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
    from storyboard.production import gigabytes

    if to not in TARGETS:
        there = f" (there are: {', '.join(TARGETS)})"
        raise typer.BadParameter(f'no format "{to}"{did_you_mean(to, TARGETS) or there}')
    rehearsed, kept = _rehearsed(story, draft, None, store, device, None)
    with _run(kept, False) as events:

        def tell(scene: str, done: float) -> None:
            events.progress("segment.progress", scene, done)

        if to == "master":
            size = keep_master(rehearsed, kept, tell)
            print(f"the finished frames are kept losslessly: {gigabytes(size)}; later exports read them")
            return
        path = output or export_path(rehearsed, to)
        count = write(rehearsed, kept, Export(to, path, crf), tell)
    _say(f"{count} frames")
    print(path)


@app.command()
def verify(story: StoryFile, draft: Draft = False, store: StoreFolder = None, as_json: AsJson = False) -> None:
    """Prove that every scene opens on exactly the pixels it should."""
    from dataclasses import asdict

    from storyboard.story import read_story
    from storyboard.verify import verify as check

    read = read_story(story)
    kept, _ = _store(read, store, None)
    findings = list(check(read, kept, _mode(read, kept, draft)))
    if not any(finding.holds is not None for finding in findings):
        _say("nothing is rendered yet: there is nothing to verify")
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say how much, drop nothing")] = False,
    store: StoreFolder = None,
) -> None:
    """Drop kept work that no story of this store needs."""
    from storyboard.production import gigabytes
    from storyboard.story import read_story
    from storyboard.sweep import sweep

    kept, _ = _store(read_story(story), store, None)
    swept = sweep(kept, dry_run=dry_run)
    verb = "would drop" if dry_run else "dropped"
    print(f"{verb} {swept.clips} clips, {swept.segments} segments, {swept.stills} stills: {gigabytes(swept.bytes)}")


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


def _known(read: Story, names: list[str] | None) -> frozenset[str] | None:
    """The named scenes, if the story has them."""
    from storyboard.mistakes import did_you_mean

    there = [scene.name for scene in read.scenes]
    for name in names or []:
        if name not in there:
            raise typer.BadParameter(f'no scene is named "{name}"{did_you_mean(name, there)}')
    return frozenset(names) if names else None


def _store(read: Story, folder: Path | None, device: str | None) -> tuple[Store, Settings]:
    from storyboard.settings import settings
    from storyboard.store import Store

    facts = settings(folder, device)
    return Store(facts.store or read.folder / ".storyboard"), facts


def _settled(
    read: Story,
    draft: bool,
    scenes: frozenset[str] | None,
    anew: frozenset[str],
    keep_going: bool,
    film: Path | None,
    facts: Settings,
) -> Options:
    from storyboard.production import Options, film_path

    target = film_path(read, draft, film) if film is not None else None
    if target is not None and target.suffix.lower() != ".mp4":
        raise typer.BadParameter(f"--film {film} must end in .mp4 (other formats: storyboard export)")
    return Options(draft, scenes, anew, keep_going, target, facts.device, facts.models)


def _mode(read: Story, kept: Store, draft: bool) -> str:
    """What was asked, else the mode last rendered."""
    from storyboard.manifest import DRAFT, REAL, Manifest

    return DRAFT if draft else Manifest(kept, read.path).last_mode or REAL


def _rehearsed(
    story: Path, draft: bool, scene: list[str] | None, store: Path | None, device: str | None, film: Path | None
) -> tuple[Rehearsed, Store]:
    from storyboard.manifest import DRAFT
    from storyboard.production import rehearse
    from storyboard.story import read_story

    read = read_story(story)
    kept, facts = _store(read, store, device)
    draft = _mode(read, kept, draft) == DRAFT
    options = _settled(read, draft, _known(read, scene), frozenset(), False, film, facts)
    return rehearse(read, kept, options), kept


@contextlib.contextmanager
def _run(kept: Store, as_json: bool) -> Generator[Events]:
    """A run in the store: its events written down and shown."""
    from storyboard.events import Events, new_run
    from storyboard.progress import display

    # `docker stop` and job schedulers end a run by SIGTERM: stop as cleanly as for Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with kept.in_use(), display(as_json) as show:
        events = Events(kept.root / "runs" / new_run() / "events.jsonl", (show,))
        try:
            yield events
        except KeyboardInterrupt:
            events.tell("run.interrupted")
            raise
        except Exception as error:
            events.tell("run.failed", error=str(error))
            raise


def _report(outcome: Outcome, as_json: bool) -> None:
    for name, why in outcome.failed.items():
        _say(f'scene "{name}" failed: {why}')
    if outcome.skipped:
        _say(f"not begun, since they wait for what failed: {', '.join(sorted(outcome.skipped))}")
    if outcome.film is None and outcome.missing:
        _say(f"no film yet, missing: {', '.join(outcome.missing)}")
    if outcome.film is not None and not as_json:
        if not outcome.joined:
            _say("nothing to do: the film is as the story says")
        print(outcome.film)
    if outcome.failed:
        raise typer.Exit(PARTLY if outcome.made or outcome.film else FAILED)
