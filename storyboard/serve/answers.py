"""What the API takes and gives: these models check the requests, write the answers, and are the OpenAPI document's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from storyboard.serve.ledger import Job
from storyboard.serve.names import SCENE_NAME, STORY_ID

StoryId = Annotated[str, StringConstraints(pattern=STORY_ID)]
SceneName = Annotated[str, StringConstraints(pattern=SCENE_NAME)]
State = Literal["queued", "running", "done", "failed", "partly", "cancelled"]


class Asked(BaseModel):
    """Requests say nothing that is not known."""

    model_config = ConfigDict(extra="forbid")


class Nothing(Asked):
    """No query."""


class ModeQuery(Asked):
    draft: bool = Field(default=False, description="the draft's; without it, the mode last rendered")


class PlanQuery(ModeQuery):
    scene: list[SceneName] = Field(default=[], max_length=1000, description="only these and what they need")


class GraphQuery(Asked):
    form: Literal["text", "mermaid", "svg"] = Field(default="text", description="how it is drawn")


class StoriesQuery(Asked):
    after: StoryId | None = Field(default=None, description="the last id of the page before")
    limit: int = Field(default=100, ge=1, le=1000)


class NewStoryQuery(Asked):
    id: StoryId | None = Field(default=None, description="the story's id; made of its title where it is left out")


class JobsQuery(Asked):
    story: StoryId | None = None
    state: list[State] = Field(default=[], max_length=10)
    before: int | None = Field(default=None, ge=1, le=2**53, description="the last number of the page before")
    limit: int = Field(default=100, ge=1, le=1000)


class RenderQuery(Asked):
    wait: bool = Field(default=False, description="answer when the job has ended")


class EventsQuery(Asked):
    after: int | None = Field(
        default=None, ge=0, le=2**53, description="events past this number; as the header Last-Event-ID, which wins"
    )


class EnterQuery(Asked):
    code: str = Field(min_length=1, max_length=200, description="of a link that opens once")


class Render(Asked):
    """As the options of `storyboard render`."""

    scenes: list[SceneName] | None = Field(
        default=None, min_length=1, max_length=1000, description="only these and what they need; default: all"
    )
    draft: bool = Field(default=False, description="draw with the animatic: no GPU, no weights")
    force: bool = Field(default=False, description="make the named scenes (or all) anew; the old are kept as takes")
    seed: int | None = Field(
        default=None, ge=0, le=2**63 - 1, description="a new seed for one scene, written into the story"
    )
    reroll: bool = Field(default=False, description="a new random seed for one scene")
    hold: bool = Field(
        default=False,
        description="with a new seed for one scene: drawn up to the frame it ends on now, so that what follows stays",
    )
    takes: int | None = Field(
        default=None, ge=2, le=99, description="so many takes of one scene, to choose from; no film is joined"
    )
    keep_going: bool = Field(default=False, description="go on with other scenes when one fails")


class MistakeSaid(BaseModel):
    """`line` and `column` count from 1; 0 where there is no text."""

    message: str
    file: str
    line: int
    column: int
    scene: str | None = None
    source: str = ""
    width: int = 1


class ProblemSaid(BaseModel):
    """RFC 9457. `mistakes`: those of a story, as `validate --json` gives them."""

    type: str
    title: str
    status: int
    detail: str
    mistakes: list[MistakeSaid | dict[str, Any]] | None = None


class StorySaid(BaseModel):
    """`title` and `scenes` are null where its file cannot be read. `changed`: seconds since 1970."""

    id: str
    title: str | None
    scenes: int | None
    changed: float


class WholeStory(StorySaid):
    files: list[str]


class Stories(BaseModel):
    stories: list[StorySaid]
    next: str | None = Field(default=None, description="`after` of the next page")


class PlannedScene(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    state: Literal["kept", "render", "mend", "waits", "broken"]
    why: str
    frames: int
    seconds: float
    seed: int
    segment: Literal["kept", "make", "waits"]
    notes: list[str]


class PlanSaid(BaseModel):
    """As `plan --json` gives it, which has more."""

    model_config = ConfigDict(extra="allow")

    story: str
    mode: Literal["draft", "real"]
    scenes: list[PlannedScene]
    stand_ins: list[str]
    lacks: list[str]
    notes: list[str]
    at_least: int
    at_most: int
    film: str
    film_frames: int
    film_seconds: float


class Link(BaseModel):
    scene: str | None = None
    picture: str | None = None


class SceneSaid(BaseModel):
    """`clip` and `segment`: keys of kept work that is current, null where there is none."""

    name: str
    state: Literal["kept", "render", "mend", "waits", "broken"]
    why: str
    prompt: str
    negative_prompt: str
    seed: int
    frames: int
    seconds: float
    recipe: str
    opens_on: Link
    ends_on: Link | None
    chained: bool
    seam: str
    clip: str | None
    segment: str | None
    notes: list[str]


class Scenes(BaseModel):
    mode: Literal["draft", "real"]
    scenes: list[SceneSaid]


class JobSaid(BaseModel):
    """`part`: how much is done, 0 to 1. `code`: as the command line exits. Times: seconds since 1970."""

    id: str
    number: int
    story: str
    state: State
    asked: dict[str, Any]
    part: float
    device: str | None
    attempt: int
    created: float
    started: float | None
    ended: float | None
    code: int | None
    error: str | None
    cancel: bool


class Jobs(BaseModel):
    jobs: list[JobSaid]
    next: int | None = Field(default=None, description="`before` of the next page")


class Health(BaseModel):
    status: Literal["ok"]
    version: str


class LinkSaid(BaseModel):
    """A path that lets a browser in, once and for ten minutes."""

    path: str


def job_said(job: Job) -> JobSaid:
    asked = {key: value for key, value in job.asked.items() if key != "forced"}
    facts = {name: getattr(job, name) for name in JobSaid.model_fields if name != "asked"}
    return JobSaid(**facts, asked=asked)
