"""What a job may ask for, what it is refused, and where its film goes: the handler in this process."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import re
import struct
import tempfile
import time
import tomllib
import urllib.request
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from post.devices import gpus
from post.encode import FORMATS
from storyboard.serverless import bucket as buckets
from storyboard.serverless import job as jobs
from storyboard.serverless.bucket import Bucket, bucket_of
from storyboard.serverless.job import SUFFIX
from storyboard.serverless.order import Format, OrderError, read_order
from storyboard.serverless.places import places, publish, story_id, sweep
from storyboard.serverless.telling import Course, Telling
from storyboard.serverless.toml import toml_text
from tests.runpod_worker import ROOT, picture, story
from tests.stories import scene

pytest.importorskip("runpod")

from storyboard.runpod import handler

Volume = Path


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    for name in (*buckets.VARIABLES, "BUCKET_NAME", "STORYBOARD_STORE", "STORYBOARD_MODELS", "STORYBOARD_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STORYBOARD_VOLUME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def do(job: str = "job", **order: Any) -> dict[str, Any]:
    return asyncio.run(handler({"id": job, "input": order}))


def draft(job: str = "job", **more: Any) -> dict[str, Any]:
    return do(job, **{"story": story("a", "b"), "pictures": {"a.png": picture(1)}, "draft": True, **more})


def tables() -> dict[str, Any]:
    return tomllib.loads(story("a", "b"))


# What is asked for


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (None, "the input must be an object"),
        ([], "the input must be an object"),
        ({}, "input.story is missing"),
        ({"story": 7}, "input.story: input should be a valid string"),
        ({"story": "x" * 1_000_001}, "input.story: is longer than 1000000 characters"),
        ({"story": "", "pictures": []}, "input.pictures: input should be a valid dictionary"),
        ({"story": "", "pictures": {"a.png": 7}}, "input.pictures.a.png: input should be a valid string"),
        ({"story": "", "pictures": {f"{n}.png": "" for n in range(201)}}, "at most 200 items"),
        ({"story": "", "sceens": []}, 'input has no key "sceens" (did you mean "scenes"?)'),
        ({"story": "", "scenes": "boat"}, "input.scenes: input should be a valid list"),
        ({"story": "", "draft": "yes"}, "input.draft: input should be a valid boolean"),
        ({"story": "", "seed": -1, "scenes": ["a"]}, "input.seed: input should be greater than or equal to 0"),
        ({"story": "", "seed": 1.5, "scenes": ["a"]}, "input.seed: input should be a valid integer"),
        ({"story": "", "seed": 1}, "seed and reroll need exactly one scene"),
        ({"story": "", "reroll": True, "scenes": ["a", "b"]}, "seed and reroll need exactly one scene"),
        ({"story": "", "seed": 1, "reroll": True, "scenes": ["a"]}, "give one of seed and reroll"),
        ({"story": "", "format": "gif"}, "input.format: input should be 'h264', 'hevc'"),
    ],
)
def test_what_is_no_order_is_told(order: object, said: str):
    with pytest.raises(OrderError, match=re.escape(said)):
        read_order(order)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            ".",
            "..",
            "../a.png",
            "a/../b.png",
            "/etc/passwd",
            "a//b.png",
            "a/",
            "~/a.png",
            "~root/a.png",
            "C:\\a.png",
        ),
        *(
            "a\\b.png",
            "a\0.png",
            "a\n.png",
            ".hidden",
            "a/.storyboard/x",
            "a.png ",
            "a.",
            "x" * 101,
            "夜" * 90 + ".png",
            "a/b/c/d/e.png",
        ),
        *("out/film.mp4", "story.toml", "STORY.toml", "Out/a.png", "a:b.png", "*.png"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str):
    with pytest.raises(OrderError, match=r"is no name for a picture|is where the story keeps its own"):
        read_order({"story": "", "pictures": {name: ""}})


@pytest.mark.parametrize("names", [("a.png", "A.png"), ("é.png", "É.png"), ("a", "a/b.png")])
def test_names_that_clash_are_refused(names: tuple[str, str]):
    with pytest.raises(OrderError, match=r"differ in case alone|is a picture and a folder"):
        read_order({"story": "", "pictures": dict.fromkeys(names, "")})


@pytest.mark.parametrize("name", ["dock.png", "day 1/dock.png", "Übergang_2-(neu).webp", "a+b,c=d@e.png", "夜.png"])
def test_plain_names_are_taken(name: str):
    assert name in read_order({"story": "", "pictures": {name: ""}}).pictures


def test_a_job_that_is_tried_again_rerolls_to_the_same_seed():
    order = read_order({"story": "", "scenes": ["a"], "reroll": True})
    other = read_order({"story": "", "scenes": ["b"], "reroll": True})
    assert order.new_seed("one") == order.new_seed("one")
    assert len({order.new_seed("one"), order.new_seed("two"), other.new_seed("one")}) == 3


def test_formats_are_those_of_export():
    assert set(get_args(Format)) == FORMATS.keys()
    assert {name: SUFFIX.get(name, ".mp4") for name in FORMATS} == {name: form.suffix for name, form in FORMATS.items()}


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_any_tables_are_written_as_the_toml_that_says_them(data: dict[str, Any]):
    assert tomllib.loads(toml_text(data)) == data


def test_null_is_what_is_not_said():
    assert tomllib.loads(toml_text({"title": None, "look": {"seed": None, "size": "auto"}})) == {
        "look": {"size": "auto"}
    }


@pytest.mark.parametrize("data", [{"a": [None]}, {"a": "\ud800"}, {"a": {"b": object()}}])
def test_what_toml_cannot_say_is_told(data: dict[str, Any]):
    with pytest.raises(ValueError, match=r"null in a list|half of a character"):
        toml_text(data)


def test_tables_in_tables_without_end_are_told():
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="nested too deep"):
        toml_text(deep)
    while deep:  # else Python's own clearing of it would recurse
        deep = deep["a"]


# What is refused


@pytest.mark.parametrize(
    "wrong",
    [
        'image = "~/a.png"',
        'image = "../a.png"',
        'image = "/etc/passwd"',
        'image = "a.png"\nend_image = "../../b.png"',
        'image = "a.png"\nloras = [{ file = "~/x.safetensors" }]',
        'image = "a.png"\nloras = [{ file = "/x.safetensors" }]',
        'image = "a.png"\n[look]\nmodel = "~/models"',
        'image = "a.png"\n[look]\nmodel = { high = "../h.safetensors", low = "l.safetensors" }',
        'image = "a.png"\n[finish]\nsoundtrack = "/etc/hostname"',
        'image = "a.png"\n[finish]\nfilm = "../film.mp4"',
        'image = "a.png"\n[finish]\nfilm = "~/film.mp4"',
        'image = "a.png"\n[finish]\nupscale = { model = "~/net.pth" }',
    ],
)
def test_a_story_names_no_file_outside_its_folder(volume: Volume, wrong: str):
    answer = draft(story=f'[[scene]]\nname = "a"\nprompt = "x"\n{wrong}\n')
    assert "leads outside the story's folder" in answer["error"]
    assert all(mistake["line"] for mistake in answer["mistakes"])
    assert not list((volume / "storyboard/stories").iterdir())


def claiming(width: int, height: int) -> str:
    """A small PNG whose head claims that size."""
    whole = base64.b64decode(picture())
    head = b"IHDR" + struct.pack(">II", width, height) + whole[24:29]
    return base64.b64encode(whole[:12] + head + struct.pack(">I", zlib.crc32(head)) + whole[33:]).decode()


def test_pictures_are_known_by_their_bytes(volume: Volume):
    given = {
        "a.png": base64.b64encode(b"#!/bin/sh\nrm -rf /\n").decode(),
        "b.jpg": picture(form="WEBP"),
        "c.png": base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(),
        "d.png": claiming(20_000, 20_000),
        "e.png": "",
    }
    assert draft(pictures=given)["error"].splitlines() == [
        'picture "a.png" is not a picture that can be opened '
        "(PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF, TGA, PPM, JPEG 2000 or ICO)",
        'picture "c.png" is an SVG drawing: export it as PNG',
        'picture "d.png" has more than 178 megapixels: scale it down first',
        'picture "e.png" is an empty file',
    ]


def test_pictures_of_more_than_a_hundred_megapixels_are_refused(volume: Volume):
    answer = draft(pictures={"a.png": claiming(10_000, 10_001)})
    assert answer["error"] == 'picture "a.png" is 10000x10001: the most is 100 megapixels'


def test_pictures_that_are_cut_off_are_refused(volume: Volume):
    whole = base64.b64decode(picture(1))
    answer = draft(pictures={"a.png": base64.b64encode(whole[: len(whole) // 2]).decode()})
    assert "cannot be decoded" in answer["error"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/a.png", "http://169.254.169.254/latest/meta-data", "http://[::1]/"]
)
def test_addresses_of_the_inside_are_refused(volume: Volume, url: str):
    assert "is not on the public internet" in draft(pictures={"a.png": url})["error"]


def test_scenes_that_are_not_there_are_told(volume: Volume):
    assert draft(scenes=["bb"])["error"] == 'input.scenes: no scene is named "bb" (did you mean "b"?)'


@pytest.mark.skipif(bool(gpus()), reason="has a GPU")
def test_the_gpu_is_looked_at_before_anything_else(volume: Volume):
    """And a worker without one is stopped, so that the next job gets another."""
    answer = draft(draft=False, pictures={"a.png": "http://127.0.0.1/"})
    assert answer["error"].startswith("no CUDA device")
    assert answer["refresh_worker"] is True


def test_what_the_model_lacks_is_told_as_the_command_does(volume: Volume, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STORYBOARD_DEVICE", "cpu")
    answer = draft(draft=False)
    assert "storyboard models pull wan2.2-i2v-a14b" in answer["error"]
    assert "refresh_worker" not in answer


def test_a_volume_that_may_not_be_written_is_told(volume: Volume, monkeypatch: pytest.MonkeyPatch):
    (volume / "file").write_text("")
    monkeypatch.setenv("STORYBOARD_STORE", str(volume / "file" / "store"))
    assert re.search(r"file.store cannot be made \(.*\), and kept work belongs there", draft()["error"])


# What is given


def test_a_story_may_be_tables(volume: Volume):
    assert draft(story=tables())["made"] == ["a", "b"]
    wrong = tables()
    wrong["scene"][1]["promt"] = "x"
    (mistake,) = draft(story=wrong)["mistakes"]
    assert (mistake["scene"], mistake["source"]) == ("b", 'promt = "x"')


def test_only_what_changed_is_made_again_whatever_the_job(volume: Volume):
    """Kept work is shared by all stories of the volume."""
    assert draft("one")["made"] == ["a", "b"]
    changed = story("a", "b").replace('name = "b"\n', 'name = "b"\ncamera = "pan left"\n')
    assert draft("two", story=changed)["made"] == ["b"]
    assert len(list((volume / "storyboard/stories").iterdir())) == 2


def test_scenes_that_are_named_come_with_the_film_where_it_is_whole(volume: Volume):
    first = draft(scenes=["a"])
    assert [video["name"] for video in first["videos"]] == ["a.draft.mp4"]
    both = draft(scenes=["b"])
    assert [video["name"] for video in both["videos"]] == ["b.draft.mp4", "story.draft.mp4"]


def test_a_new_seed_is_told_and_does_not_stay_in_the_story(volume: Volume):
    draft()
    answer = draft(scenes=["b"], seed=5)
    assert answer["seed"] == 5
    assert answer["made"] == ["b"]
    assert draft(scenes=["b"], seed=5)["made"] == []  # as a retry does
    assert draft()["made"] == []  # without the seed it is the story as it was
    first = draft("x", scenes=["b"], reroll=True)
    again = draft("x", scenes=["b"], reroll=True)
    assert again["made"] == []
    assert again["seed"] == first["seed"] != 5


def test_other_formats_come_from_the_lossless_frames(volume: Volume):
    (video,) = draft(format="prores")["videos"]
    assert (video["name"], video["type"], video["frames"]) == ("story.draft.prores.mov", "video/quicktime", 9)


def test_a_film_that_is_too_large_for_an_answer_wants_a_bucket(volume: Volume, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(buckets, "INLINE", 1000)
    error = draft()["error"]
    assert "configure a bucket (BUCKET_ENDPOINT_URL" in error
    monkeypatch.setattr(buckets, "INLINE", 10_000_000)
    assert draft()["made"] == []  # nothing was lost


def test_without_a_volume_it_is_said_that_nothing_stays(volume: Volume, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(volume))
    monkeypatch.setenv("STORYBOARD_VOLUME", str(volume / "none"))
    assert "no volume is attached: what was kept goes with this worker" in draft()["notes"]


def test_folders_are_named_by_what_is_in_them(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.png").write_bytes(b"a")
    named = story_id("story", tmp_path, None)
    assert named == story_id("story", tmp_path, None)
    others = [story_id("other", tmp_path, None), story_id("story", tmp_path, ("a", 1))]
    (tmp_path / "a.png").rename(tmp_path / "sub/a.png")
    others.append(story_id("story", tmp_path, None))
    (tmp_path / "sub/a.png").write_bytes(b"b")
    others.append(story_id("story", tmp_path, None))
    assert len({named, *others}) == 5


def test_what_killed_workers_left_is_swept_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "made").mkdir()
    (tmp_path / "made/a.png").write_bytes(b"a")
    stories = tmp_path / "stories"
    path = publish("text", tmp_path / "made", stories / "x")
    assert path.read_text() == "text"
    (stories / ".x.left.tmp").mkdir()
    sweep(stories)
    assert len(list(stories.iterdir())) == 2
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * 24 * 3600)
    sweep(stories)
    assert list(stories.iterdir()) == [stories / "x"]


def test_variables_say_where_things_lie(tmp_path: Path):
    plain = places({"STORYBOARD_VOLUME": str(tmp_path)})
    assert plain.lasting
    assert plain.stories == tmp_path / "storyboard/stories"
    assert plain.environment["STORYBOARD_STORE"] == str(tmp_path / "storyboard/store")
    assert plain.environment["STORYBOARD_MODELS"] == str(tmp_path / "models")
    own = {"STORYBOARD_LIBRARY": "/l", "STORYBOARD_STORE": "/s", "STORYBOARD_MODELS": "/m"}
    other = places({"STORYBOARD_VOLUME": str(tmp_path), **own})
    assert other.stories == Path("/l")
    assert {name: other.environment[name] for name in own} == own


# Where it goes


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket's endpoint on loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def films(s3: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    import boto3

    client = boto3.client(
        "s3", endpoint_url=s3, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )
    client.create_bucket(Bucket="films")
    values = {"BUCKET_ENDPOINT_URL": s3, "BUCKET_ACCESS_KEY_ID": "key", "BUCKET_SECRET_ACCESS_KEY": "secret"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return client


def test_the_bucket_holds_the_film_with_its_type(volume: Volume, films: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BUCKET_NAME", "films")
    (video,) = draft("job-7")["videos"]
    assert "data" not in video
    held = films.get_object(Bucket="films", Key="job-7/story.draft.mp4")
    body = held["Body"].read()
    assert (held["ContentType"], len(body)) == ("video/mp4", video["bytes"])
    (film,) = volume.glob("storyboard/stories/*/out/story.draft.mp4")
    assert body == film.read_bytes()
    with urllib.request.urlopen(video["url"]) as response:
        assert response.headers["Content-Type"] == "video/mp4"
        assert response.read() == body


def test_large_films_go_up_in_parts(tmp_path: Path, s3: str, films: Any):
    path = tmp_path / "film.mov"
    path.write_bytes(bytes(2 * buckets.PART + 1))
    Bucket(s3, "key", "secret", "films").upload(path, "x/film.mov")
    held = films.head_object(Bucket="films", Key="x/film.mov")
    assert held["ETag"].endswith('-3"')
    assert held["ContentType"] == "video/quicktime"


def test_a_bucket_that_is_not_there_is_told_and_the_film_kept(
    volume: Volume, films: Any, monkeypatch: pytest.MonkeyPatch
):
    error = draft()["error"]  # the month, as RunPod's SDK has it
    assert "BUCKET_NAME is not set, so it was the month: set it" in error
    monkeypatch.setenv("BUCKET_NAME", "films")
    assert draft()["made"] == []


def test_a_bucket_that_does_not_answer_is_told(volume: Volume, films: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BUCKET_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "could not be uploaded to bucket" in draft()["error"]


def test_half_a_bucket_is_told_before_anything_is_rendered(volume: Volume, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BUCKET_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "set BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY too" in draft()["error"]
    assert not (volume / "storyboard").exists()
    assert bucket_of({}) is None


# How it is told


def test_how_much_is_done_is_told():
    course = Course()
    told = [
        course.hear({"event": event, **facts})["done"]
        for event, facts in (
            ("note", {"text": "early"}),
            ("run.started", {"render": ["a"], "finish": ["a"]}),
            ("scene.kept", {"scene": "b"}),
            ("scene.progress", {"scene": "a", "done": 0.5}),
            ("scene.done", {"scene": "a", "seconds": 1.0}),
            ("segment.done", {"scene": "a", "seconds": 1.0}),
        )
    ]
    assert told == [0.0, 0.0, 0.0, 0.25, 0.5, 1.0]
    assert course.finished == {"a"}
    assert course.hear({"event": "run.started", "render": [], "finish": []})["done"] == 1.0, "nothing is left to do"


def test_the_newest_of_each_interval_is_told():
    told: list[tuple[float, int]] = []

    async def tell() -> None:
        telling = Telling(lambda facts: told.append((time.monotonic(), facts["n"])), interval=0.1)
        for n in range(30):
            telling.tell(n=n)
            await asyncio.sleep(0.01)
        while told[-1][1] != 29:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.15)
        telling.tell(n=30)
        telling.tell(n=31)
        telling.close()
        await asyncio.sleep(0.15)

    asyncio.run(asyncio.wait_for(tell(), 60))  # what waited is told though nothing came after it
    numbers = [n for _, n in told]
    assert numbers[0] == 0
    assert numbers[-1] == 30  # and dropped where it ends
    assert all(later - before >= 0.099 for (before, _), (later, _) in pairwise(told))


def test_what_libraries_print_is_no_event(volume: Volume, monkeypatch: pytest.MonkeyPatch):
    real = jobs.storyboard

    async def chatty(*command: str, hear: Any = None, **more: Any) -> Any:
        if hear is not None:
            for line in ("loading kernels...\n", "[1, 2]\n", '{"a": 1}\n', "\n"):
                hear(line)
        return await real(*command, hear=hear, **more)

    monkeypatch.setattr(jobs, "storyboard", chatty)
    assert draft()["made"] == ["a", "b"]


def test_a_full_disk_is_told(volume: Volume, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/runpod-volume/x")

    monkeypatch.setattr(jobs, "publish", full)
    answer = draft()
    assert answer.keys() == {"error"}
    assert "No space left on device" in answer["error"]
    assert "send the job again" in answer["error"]


def test_a_child_that_was_killed_is_told_with_what_to_do():
    from storyboard.serverless.child import Ended

    failed = jobs._failed("render", Ended(-9, "", "loading"))
    assert failed.machine
    assert "was ended by signal 9, as when memory runs out; what was finished is kept: send the job again" in str(
        failed
    )


# What the Hub reads


def hub(name: str) -> dict[str, Any]:
    return json.loads((ROOT / ".runpod" / name).read_text())


def test_hub_json_has_the_published_format():
    """docs.runpod.io/hub/publishing-guide."""
    facts = hub("hub.json")
    assert facts.keys() == {"title", "description", "type", "category", "config"}
    assert (facts["type"], facts["category"]) == ("serverless", "video")
    config = facts["config"]
    assert config["runsOn"] == "GPU"
    assert all(isinstance(config[name], int) for name in ("containerDiskInGb", "gpuCount"))
    assert re.fullmatch(r"[A-Z0-9_]+(,[A-Z0-9_]+)*", config["gpuIds"])
    image = re.search(r"nvidia/cuda:(\d+\.\d+)", (ROOT / "Dockerfile").read_text())
    assert image is not None
    assert image[1] in config["allowedCudaVersions"]
    for variable in config["env"]:
        assert variable.keys() == {"key", "input"}
        assert {"name", "type", "description", "default"} <= variable["input"].keys()
        assert variable["input"]["type"] in ("string", "number", "boolean", "huggingface")
        assert variable["key"] in (ROOT / "docs/runpod.md").read_text()


@pytest.mark.parametrize("number", range(len(hub("tests.json")["tests"])))
def test_the_hubs_own_tests_pass(volume: Volume, number: int):
    test = hub("tests.json")["tests"][number]
    assert test.keys() == {"name", "input", "timeout"}
    assert test["input"]["draft"]  # the Hub's machine has no weights
    answer = do(**test["input"])
    assert answer["made"] == ["dawn", "noon"]
    assert answer["videos"]


def test_a_scene_of_a_story_from_the_wire_may_be_anything_that_a_file_may(volume: Volume):
    lines = scene("x", image="day 1/ü.webp", camera="push in", caption=True)
    answer = do(
        story=f'[look]\nsize = "64x48"\nframes = 5\n{lines}',
        pictures={"day 1/ü.webp": picture(form="WEBP")},
        draft=True,
    )
    assert answer["made"] == ["x"]
