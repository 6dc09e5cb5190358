"""The commands about kept work and this machine: `export`, `verify`, `gc` and `doctor`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storyboard.failures import FAILED, say
from storyboard.flags import AsJson, Compile, Device, DraftWork, StoreFolder, StoryFile, Vram

if TYPE_CHECKING:
    from storyboard.events import Events
    from storyboard.rehearsal import Rehearsed
    from storyboard.session import Session
    from storyboard.targets import Export


def export(
    story: StoryFile,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="one of those above")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="where to: a file; a folder for what is several files"),
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(
            "--fps",
            metavar="24|25|30",
            help="conform to this rate: frames between frames are drawn, none repeated "
            "(default the film's own; edl and fcpxml, which count timecode: one that divides it, else 24)",
        ),
    ] = None,
    media: Annotated[
        str | None,
        typer.Option("--media", metavar="FORMAT", help="a timeline's media: a video format (default prores)"),
    ] = None,
    crf: Annotated[
        float | None,
        typer.Option("--crf", min=0, max=63, help="quality of h264, hevc, av1, NVENC (less is better)"),
    ] = None,
    draft: DraftWork = False,
    device: Device = None,
    vram: Vram = None,
    compile: Compile = None,
    store: StoreFolder = None,
) -> None:
    """Write the film in another format, from lossless frames.

    \b
    video      h264, hevc, av1, prores, prores-4444, ffv1 (lossless);
               h264_nvenc, hevc_nvenc (by an NVIDIA GPU)
    pictures   png (every frame), stills (the middle frame of each scene, not enlarged)
    timelines  otio, otioz (with the media inside), fcpxml, edl: a clip a scene, with
               markers, dissolves, sound and timecode, and the media beside it
    master     the finished frames, kept losslessly in the store for later exports
    """
    from storyboard.conforming import rate_of
    from storyboard.session import open_session
    from storyboard.targets import MEDIA, Export, check_asked, export_path

    rate = rate_of(fps) if fps is not None else None
    check_asked(to, rate, media)
    session = open_session(story, store, device, vram=vram, compile=compile, finish_on=device)
    rehearsed = session.rehearsed(draft)
    if to == "master":
        if output is not None or crf is not None:
            raise typer.BadParameter("a master lies in the store, lossless: drop --output and --crf")
        _master(session, rehearsed)
    else:
        path = output or export_path(rehearsed, to, rate)
        _export(session, rehearsed, Export(to, path, crf, fps=rate, media=media or MEDIA))


def _master(session: Session, rehearsed: Rehearsed) -> None:
    from storyboard.export import keep_master
    from storyboard.room import gigabytes

    with session.run() as events:
        size = keep_master(rehearsed, session.store, *_hearing(events))
    print(f"the finished frames are kept losslessly: {gigabytes(size)}; later exports read them")


def _export(session: Session, rehearsed: Rehearsed, wanted: Export) -> None:
    from storyboard.export import export

    with session.run() as events:
        count = export(rehearsed, session.store, wanted, *_hearing(events))
    say(f"{count} {'stills' if wanted.target == 'stills' else 'frames'}")
    print(wanted.opens)


def _hearing(events: Events) -> tuple[Callable[[str, float], None], Callable[[str], None]]:
    """What hears how far a scene is, and what hears a note."""
    return (
        lambda scene, done: events.progress("segment.progress", scene, done),
        lambda text: events.tell("note", text=text),
    )


def verify(story: StoryFile, draft: DraftWork = False, store: StoreFolder = None, as_json: AsJson = False) -> None:
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


def gc(
    story: StoryFile,
    draft: DraftWork = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say how much, drop nothing")] = False,
    takes: Annotated[bool, typer.Option("--takes", help="drop this story's takes too, but for those chosen")] = False,
    store: StoreFolder = None,
) -> None:
    """Drop kept work that no story of this store needs."""
    from storyboard.manifest import Manifest
    from storyboard.room import gigabytes
    from storyboard.session import open_session
    from storyboard.sweep import note_dropped, resolved, sweep

    session = open_session(story, store)
    mode, manifest = session.mode(draft), Manifest(session.store, session.story.path)
    needed = resolved(session.rehearsed(draft))
    swept = sweep(session.store, mode, needed, dry_run=dry_run, takes_of=manifest if takes else None)
    if takes and not dry_run:
        note_dropped(session.store, manifest, mode)
    session.store.memory.save()
    verb = "would drop" if dry_run else "dropped"
    counts = f"{swept.clips} clips, {swept.segments} segments, {swept.stills} stills"
    counts = f"{swept.takes} takes, {counts}" if takes else counts
    print(f"{verb} {counts} that no {mode} scene needs: {gigabytes(swept.bytes)}")


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


def _out(facts: Any) -> None:
    print(json.dumps(facts, ensure_ascii=False, indent=1))
