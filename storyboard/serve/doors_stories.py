"""Stories: sent, listed, fetched, replaced, deleted."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread
from starlette.responses import Response

from storyboard.serve.answers import NewStoryQuery, Stories, StoriesQuery, StorySaid, WholeStory
from storyboard.serve.door import Call, Door, said
from storyboard.serve.ledger import QUEUED, RUNNING
from storyboard.serve.media import OTHER, send_file
from storyboard.serve.names import STORY_FILE
from storyboard.serve.problems import NO_ROOM, Problem, conflict
from storyboard.serve.stories import Listed, remove
from storyboard.serve.upload import FORM, ZIPS, receive_story

TAKES = (ZIPS[0], FORM)
RANGES = ("Range", "If-Range", "If-None-Match")
FILES = ("image/*", "audio/*", "text/plain", OTHER)


async def list_stories(call: Call) -> Response:
    asked: StoriesQuery = call.query
    after, limit = asked.after or "", asked.limit
    found = await anyio.to_thread.run_sync(lambda: list(call.serving.library.list()))
    page = [story for story in found if story.id > after]
    following = page[limit - 1].id if len(page) > limit else None
    return said(Stories(stories=[_said(story) for story in page[:limit]], next=following))


async def create_story(call: Call) -> Response:
    library = call.serving.library
    with library.aside() as aside:
        checked = await _received(call, aside)
        story = call.query.id or library.free_id(checked["title"])
        if (library.folder / story / STORY_FILE).exists():
            raise conflict(f'there is a story "{story}" already: PUT replaces it')
        return await _published(call, story, aside)


async def replace_story(call: Call) -> Response:
    library, story = call.serving.library, call.path["story"]
    with library.aside() as aside:
        await _received(call, aside)
        return await _published(call, story, aside)


async def _received(call: Call, aside: Path) -> dict[str, str]:
    limits = call.serving.limits
    files = await receive_story(call.request, aside, limits)
    return await call.serving.reader.ask("check", path=str(aside / STORY_FILE), files=files, pixels=limits.pixels)


async def _published(call: Call, story: str, aside: Path) -> Response:
    serving = call.serving
    serving.library.check_free(story)
    serving.queue.check_idle(story, [RUNNING])
    try:
        new = serving.library.publish(story, aside)  # renames alone: no other request comes between
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        detail = f'the folder "{story}" cannot be written to ({error.strerror})'
        raise Problem(503, "machine-lacks", detail) from None
    serving.feed.tell(f"story.{'created' if new else 'replaced'}", story=story)
    where = {"Location": f"/stories/{story}"} if new else {}
    return said(_whole(call, story), 201 if new else 200, where)


async def get_story(call: Call) -> Response:
    return said(await anyio.to_thread.run_sync(_whole, call, call.path["story"]))


async def get_file(call: Call) -> Response:
    path = call.serving.library.file(call.path["story"], call.path["file"])
    return await send_file(call.request, path)


async def delete_story(call: Call) -> Response:
    serving, story = call.serving, call.path["story"]
    serving.library.check_open()
    serving.library.path(story)
    serving.queue.check_idle(story, [QUEUED, RUNNING])
    gone = serving.library.delete(story)
    serving.feed.tell("story.deleted", story=story)
    await anyio.to_thread.run_sync(remove, gone)
    return Response(None, 204)


def _whole(call: Call, story: str) -> WholeStory:
    library = call.serving.library
    files = [path.as_posix() for path in library.files(story)]
    return WholeStory(**_said(library.listed(story)).model_dump(), files=files)


def _said(story: Listed) -> StorySaid:
    return StorySaid(id=story.id, title=story.title, scenes=story.scenes, changed=story.changed)


UPLOAD = (400, 409, 413, 415, 422, 503, 507)
DOORS = (
    Door("GET", "/stories", "List the stories, by id.", list_stories, {200: Stories}, query=StoriesQuery),
    Door(
        "POST",
        "/stories",
        "Send a new story: a zip of story.toml and its pictures, or these as the parts of a form.",
        create_story,
        {201: WholeStory},
        UPLOAD,
        query=NewStoryQuery,
        takes=TAKES,
    ),
    Door("GET", "/stories/{story}", "A story and its files.", get_story, {200: WholeStory}, (404,)),
    Door(
        "PUT",
        "/stories/{story}",
        "Send a story under this id, new or in place of the whole of the old one; kept work stays.",
        replace_story,
        {200: WholeStory, 201: WholeStory},
        (*UPLOAD, 404),
        takes=TAKES,
    ),
    Door(
        "DELETE", "/stories/{story}", "Delete a story with its kept work.", delete_story, {204: None}, (404, 409, 507)
    ),
    Door(
        "GET",
        "/stories/{story}/files/{file}",
        "The story's text, a picture or a sound.",
        get_file,
        {200: FILES, 206: FILES, 304: None},
        (404, 416, 422),
        headers=RANGES,
    ),
)
