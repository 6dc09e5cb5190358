"""`storyboard seams`: what the seams of a film look like, in numbers, and what is wrong with them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from storyboard.failures import FAILED, say
from storyboard.flags import AsJson, DraftWork, StoreFolder, StoryFile

if TYPE_CHECKING:
    from storyboard.report.survey import Survey
    from storyboard.story import Story

LimitFlags = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="NAME=NUMBER", help="from where on a number is a finding (repeatable); as [seams]"),
]


def seams(
    story: StoryFile,
    draft: DraftWork = False,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="the page's file (default out/NAME.seams.html)")
    ] = None,
    no_page: Annotated[bool, typer.Option("--no-page", help="write no page")] = False,
    limit: LimitFlags = None,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Measure the film's seams and what drifts along it; show them on a page."""
    from storyboard.report.limits import limits_of, measurable, page_path
    from storyboard.report.survey import survey
    from storyboard.session import open_session

    if page is not None and no_page:
        raise typer.BadParameter("one of --page and --no-page")
    session = open_session(story, store)
    limits = limits_of(session.story.limits, limit or [])
    draft = session.mode(draft) == "draft"
    target = None if no_page else page_path(session.story, page, draft=draft)
    measurable()
    rehearsed = session.rehearsed(draft)
    found = survey(rehearsed, session.store, limits, pictures=target is not None)
    session.store.memory.save()
    _tell(found, session.story, draft=draft, as_json=as_json)  # first: a page that cannot be written hides no number
    if target is not None:
        from storyboard.report.page import write_page

        write_page(found, session.story, target, draft=draft)
        say(f"the seams to look at: {target}")
    if not found.passes:
        raise typer.Exit(FAILED)


def _tell(found: Survey, story: Story, *, draft: bool, as_json: bool) -> None:
    if as_json:
        from storyboard.report.document import document

        print(json.dumps(document(found, story, draft=draft), ensure_ascii=False, indent=1, allow_nan=False))
        return
    from storyboard.report.table import plain, rich_table, told

    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(rich_table(found))
        lines = told(found, story, draft=draft)
    else:
        lines = plain(found, story, draft=draft)
    print("\n".join(lines))
