"""What is refused when a story is sent: paths that escape, bombs, links, weights, what is too large."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from storyboard.mistakes import StoryError
from storyboard.serve.access import Access
from storyboard.serve.app import application
from storyboard.serve.limits import Limits
from storyboard.serve.names import NameRefused, check_apart, usable
from storyboard.serve.stories import Library
from storyboard.starter import write_starter
from storyboard.story import read_story
from tests.serving import Served, ended, png, put, served, story_text, two_scenes, zipped
from tests.stories import scene, write_picture, write_story

ZIP = {"Content-Type": "application/zip"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("uploads") / "stories") as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[httpx2.Client]:
    with server.client() as client:
        yield client


def refused(client: httpx2.Client, content: bytes, status: int = 422) -> str:
    answer = client.put("/stories/bad", content=content, headers=ZIP)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/stories/bad").status_code == 404
    return str(answer.json()["detail"])


@pytest.mark.parametrize(
    "name",
    [
        "../a.png", "/etc/a.png", "x/../../a.png", "a\\..\\b.png", "C:a.png", "./a.png", "x//a.png", "CON.png",
        "aux/a.png", "a.png.", " a.png", ".hidden.png", "~root/a.png", "out/a.png", "OUT/a.png",
        ".storyboard/clips/a.png",
        "w.safetensors", "w.gguf", "w.pth", "model_index.json", "run.sh", "a.png\x7f", "a\u202egnp.png",
        "x" * 300 + ".png",
        "/".join("abcdefghij") + "/a.png", "STORY.TOML",
    ],
)  # fmt: skip
def test_names_that_escape_or_are_no_storys_are_refused(client: httpx2.Client, name: str):
    refused(client, zipped({"story.toml": two_scenes(), "a.png": png(), name: png(2)}))
    answer = client.put("/stories/bad", files=[("files", ("story.toml", two_scenes())), ("files", (name, png()))])
    # A form's file name cannot carry some characters at all; what arrives is another name then.
    assert answer.status_code in (422, 400), answer.text


@given(st.text(max_size=40))
def test_a_usable_name_stays_inside(name: str):
    folder = Path("/stories/one")
    for given_name in (name, f"{name}.png"):
        try:
            kept = usable(given_name)
        except NameRefused:
            continue
        assert (folder / kept).resolve().is_relative_to(folder)
        assert not kept.startswith((".", "/", "~"))


@pytest.mark.parametrize(
    "names",
    [
        ("a.png", "A.png"), ("x/a.png", "X/b.png"), ("a.png", "a.png/b.png"), ("e\u0301.png", "\u00e9.png"),
        ("ß.png", "SS.png"),
    ],
)  # fmt: skip
def test_names_that_are_one_on_some_system_are_refused(names: tuple[str, str]):
    with pytest.raises(NameRefused):
        check_apart(names)


def test_links_and_devices_in_a_zip_are_refused(client: httpx2.Client):
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("story.toml", two_scenes())
            info = zipfile.ZipInfo("a.png")
            info.create_system = 3
            info.external_attr = (kind | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
        assert "link or a device" in refused(client, out.getvalue())


def test_zip_bombs_are_refused(client: httpx2.Client):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("story.toml", two_scenes())
        with archive.open("a.png", "w", force_zip64=True) as entry:
            for _ in range(600):
                entry.write(bytes(2**20))
    assert len(out.getvalue()) < 2**20
    refused(client, out.getvalue(), 413)
    # The same, and it says that it is small.
    lying = bytearray(out.getvalue())
    at = lying.rfind(b"PK\x01\x02")
    lying[at + 24 : at + 28] = struct.pack("<I", 100)
    refused(client, bytes(lying))
    refused(client, zipped({"story.toml": two_scenes(), **{f"{n}.png": b"" for n in range(600)}}), 413)
    refused(client, zipped({"story.toml": "#" * (3 * 2**20), "a.png": png()}), 413)


def test_a_zip_of_endless_files_is_refused_before_they_are_counted(client: httpx2.Client):
    assert "list of files is too long" in refused(client, zipped({f"{n}.png": b"" for n in range(25_000)}))


def test_zips_that_are_broken_encrypted_or_strange_are_refused(client: httpx2.Client):
    whole = zipped({"story.toml": two_scenes(), "a.png": png()})
    for broken in (b"", b"PK\x05\x06" + bytes(18), whole[:-30], whole[: len(whole) // 2], whole[30:]):
        refused(client, broken)
    for index in range(0, len(whole), 7):
        bent = bytearray(whole)
        bent[index] ^= 0xFF
        answer = client.put("/stories/bent", content=bytes(bent), headers=ZIP)
        assert answer.status_code in (200, 201, 413, 422), (index, answer.text)
    encrypted = bytearray(whole)
    at = encrypted.find(b"PK\x01\x02")
    encrypted[at + 8] |= 1
    refused(client, bytes(encrypted))
    refused(client, zipped({"story.toml": two_scenes(), "a.png": png(), "b.png": png()}).replace(b"b.png", b"a.png"))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("story.toml", two_scenes())
    assert "deflate" in refused(client, out.getvalue())
    refused(client, zipped({"a.png": png()}))


def huge_png(width: int, height: int) -> bytes:
    """A picture's head alone, that says how large it is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(9000, 9000), (60000, 60000), (2**31 - 1, 1)])
def test_huge_pictures_are_refused_before_they_are_decoded(client: httpx2.Client, size: tuple[int, int]):
    for name in ("a.png", "unused.png"):
        refused(client, zipped({"story.toml": two_scenes(), "a.png": png(), name: huge_png(*size)}))


def test_what_is_no_picture_is_refused(client: httpx2.Client):
    assert "unused.png" in refused(
        client, zipped({"story.toml": two_scenes(), "a.png": png(), "unused.png": b"#!/bin/sh\n"})
    )
    refused(client, zipped({"story.toml": two_scenes(), "a.png": png()[:-200]}))


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "~/a.png", "~root/x", "x/../../../y", ".."])
@pytest.mark.parametrize(
    "key",
    [
        'image = "{}"', 'image = "a.png"\nend_image = "{}"', 'image = "a.png"\nloras = [{{ file = "{}" }}]',
        'image = "a.png"\nloras = [{{ high_file = "{}", low_file = "a" }}]',
    ],
)  # fmt: skip
def test_a_sent_story_names_no_file_outside_its_folder(client: httpx2.Client, key: str, name: str):
    text = f'[[scene]]\nname = "x"\nprompt = "x"\n{key.format(name)}\n'
    detail = client.put("/stories/bad", content=zipped({"story.toml": text, "a.png": png()}), headers=ZIP)
    assert detail.status_code == 422
    assert any("outside the story's folder" in mistake["message"] for mistake in detail.json()["mistakes"]), detail.text


@pytest.mark.parametrize("name", ["../x", "/x", "~/x"])
@pytest.mark.parametrize(
    "table",
    [
        '[look]\nmodel = "{}"', '[look]\nmodel = {{ high = "{}", low = "b", vae = "c", text_encoder = "d" }}',
        '[finish]\nsoundtrack = "{}.wav"', '[finish]\nfilm = "{}.mp4"', '[finish]\nupscale = {{ model = "{}.pth" }}',
        '[recipe.mine]\nsteps = 4\nloras = [{{ file = "{}" }}]',
    ],
)  # fmt: skip
def test_nor_do_its_tables(tmp_path: Path, table: str, name: str):
    write_picture(tmp_path, "a.png")
    path = write_story(tmp_path, scene("a", image="a.png"))
    path.write_text(f"{table.format(name)}\n" + scene("a", image="a.png"))
    with pytest.raises(StoryError, match="outside the story's folder"):
        read_story(path, confined=True)


def test_limits_hold_whatever_is_said_of_the_size(tmp_path: Path):
    limits = Limits(upload=20_000, unpacked=30_000, files=5, json=100, queued=2)
    app = application(Library(tmp_path / "stories"), Access(None, ["testserver"]), limits=limits)
    (tmp_path / "stories").mkdir()

    def chunks(size: int) -> Iterator[bytes]:
        for _ in range(size // 1000):
            yield bytes(1000)

    with TestClient(app, base_url="http://localhost") as client:
        assert client.put("/stories/x", content=bytes(21_000), headers=ZIP).status_code == 413
        assert client.put("/stories/x", content=chunks(21_000), headers=ZIP).status_code == 413
        files = [("files", ("story.toml", bytes(21_000)))]
        assert client.put("/stories/x", files=files).status_code == 413
        form = {"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"}
        assert client.put("/stories/x", content=chunks(25_000), headers=form).status_code in (400, 413)
        many = [("files", (f"{n}.png", b"x")) for n in range(9)]
        assert client.put("/stories/x", files=many).status_code in (400, 413, 422)
        assert put(client, "x", {"story.toml": two_scenes(), "a.png": png()}).status_code == 201  # type: ignore[arg-type]
        long = {"draft": True, "scenes": ["a" * 80] * 10}
        assert client.post("/stories/x/render", json=long).status_code == 413
        codes = [client.post("/stories/x/render", json={"draft": True}).status_code for _ in range(5)]
        assert codes.count(429) >= 2, codes
        full = client.post("/stories/x/render", json={"draft": True})
        assert full.status_code == 202 or full.headers["retry-after"]
        assert not list((tmp_path / "stories" / ".server" / "uploads").iterdir())


def test_devices_work_side_by_side_and_a_story_on_one_at_a_time(tmp_path: Path):
    (tmp_path / "stories").mkdir()
    app = application(Library(tmp_path / "stories"), Access(None), devices=(None, "cpu"))
    with TestClient(app, base_url="http://localhost") as client:
        for name in ("x", "y"):
            assert put(client, name, {"story.toml": two_scenes(), "a.png": png()}).status_code == 201  # type: ignore[arg-type]
        asked = {"draft": True, "force": True}
        names = [client.post(f"/stories/{name}/render", json=asked).json()["id"] for name in ("x", "x", "y")]
        jobs = [ended(client, name, 120) for name in names]  # type: ignore[arg-type]
    assert [job["state"] for job in jobs] == ["done"] * 3, jobs
    first, second, other = jobs
    assert {first["device"], other["device"]} == {None, "cpu"}
    assert other["started"] < first["ended"], "two devices work at once"
    assert second["started"] >= first["ended"], "one story is rendered by one job at a time"


def test_what_cannot_be_written_as_utf8_is_answered(client: httpx2.Client):
    put(client, "odd", {"story.toml": two_scenes(), "a.png": png()})
    headers = {"Content-Type": "application/json"}
    for body in (
        b'{"\\ud800": 1}',
        b'{"scenes": ["\\ud800"]}',
        b"\xff",
        b"[" * 100_000,
        b'{"seed": 1' + b"0" * 5000 + b"}",
    ):
        answer = client.post("/stories/odd/render", content=body, headers=headers)
        assert answer.status_code in (400, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    for path in ("/stories/%ff", "/stories/a%2f..%2fb", "/stories/", "/jobs/%00", "/stories?after=%ff"):
        assert client.get(path).status_code in (400, 404, 422)


def test_a_story_that_is_half_replaced_is_whole_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Stops at every rename of a replacement in turn."""
    old = {"story.toml": "old", "a.png": "old", "deep/b.png": "old"}
    new = {"story.toml": "new", "a.png": "new", "c.png": "new"}

    def written(folder: Path, files: dict[str, str]) -> None:
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    real, seen = Path.rename, set[str]()
    for nth in range(1, 12):
        library = Library(tmp_path / str(nth))
        library.open()
        place = library.folder / "one"
        written(place, old)
        written(place, {".storyboard/clips/x": "kept", "out/film.mp4": "film"})
        calls = 0

        def stopping(path: Path, target: Path, stop: int = nth) -> Path:
            nonlocal calls
            calls += 1
            if calls == stop:
                raise KeyboardInterrupt
            return real(path, target)

        with library.aside() as aside:
            written(aside, new)
            monkeypatch.setattr(Path, "rename", stopping)
            try:
                library.publish("one", aside)
            except KeyboardInterrupt:
                monkeypatch.setattr(Path, "rename", real)
                text = place / "story.toml"
                found = text.read_text() if text.exists() else "none"
                pictures = {p.read_text() for p in place.glob("*.png")}
                assert found == "none" or pictures == {found}, "no text beside the other one's pictures"
        monkeypatch.setattr(Path, "rename", real)
        Library(library.folder).open()
        files = {p.as_posix(): (place / p).read_text() for p in library.files("one")}
        assert files in (old, new)
        seen.add(files["story.toml"])
        assert (place / ".storyboard/clips/x").read_text() == "kept"
        assert (place / "out/film.mp4").read_text() == "film"
        assert not any(any((library.own / name).iterdir()) for name in ("coming", "going", "uploads"))
    assert seen == {"old", "new"}


def test_what_init_writes_can_be_sent_as_it_is(client: httpx2.Client, tmp_path: Path):
    write_starter(tmp_path / "mine")
    files = {f"mine/{path.name}": path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    answer = put(client, "mine", {**files})
    assert answer.status_code == 201, answer.text
    assert answer.json()["files"] == ["opening.png", "story.schema.json", "story.toml"]


def test_a_folder_that_is_no_story_is_never_replaced(client: httpx2.Client, server: Served):
    diary = server.folder / "Documents" / "diary.txt"
    diary.parent.mkdir(parents=True)
    diary.write_text("precious")
    answer = put(client, "Documents", {"story.toml": two_scenes(), "a.png": png()})
    assert answer.status_code == 409
    assert "no story.toml" in answer.json()["detail"]
    assert diary.read_text() == "precious"
    assert [path.name for path in diary.parent.iterdir()] == ["diary.txt"]
    kept = server.folder / "emptied" / ".storyboard"
    kept.mkdir(parents=True)
    files = zipped({"story.toml": two_scenes(), "a.png": png()})
    answer = client.post("/stories?id=emptied", content=files, headers=ZIP)
    assert answer.status_code == 201, "what only holds kept work is free"
    assert kept.is_dir()


def test_a_replacement_that_fails_leaves_the_old_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "stories").mkdir()
    app = application(Library(tmp_path / "stories"), Access(None))
    real = Path.rename
    with TestClient(app, base_url="http://localhost") as client:
        assert put(client, "one", {"story.toml": two_scenes(), "a.png": png()}).status_code == 201  # type: ignore[arg-type]

        def refusing(path: Path, target: Path) -> Path:
            if path.parent.name == "one":
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            return real(path, target)

        monkeypatch.setattr(Path, "rename", refusing)
        answer = put(client, "one", {"story.toml": two_scenes(), "a.png": png(), "b.png": png()})  # type: ignore[arg-type]
        assert answer.status_code == 503, answer.text
        assert 'the folder "one" cannot be written to' in answer.json()["detail"]
        monkeypatch.setattr(Path, "rename", real)
        assert client.get("/stories/one").json()["files"] == ["a.png", "story.toml"]
        answer = put(client, "one", {"story.toml": two_scenes(), "a.png": png(), "c.png": png()})  # type: ignore[arg-type]
        assert answer.json()["files"] == ["a.png", "c.png", "story.toml"]


def test_a_story_that_cannot_be_settled_keeps_no_other_from_being_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    library = Library(tmp_path / "stories")
    library.open()
    (library.own / "coming" / "stuck" / "ready").mkdir(parents=True)
    (library.own / "coming" / "stuck" / "ready" / "story.toml").write_text("x")
    Library(library.folder).open()
    assert "stuck is replaced by half" in capsys.readouterr().err  # its folder is gone
    assert (library.own / "coming" / "stuck" / "ready" / "story.toml").is_file()


def test_a_library_of_one_file_is_read_and_not_replaced(tmp_path: Path):
    write_picture(tmp_path, "a.png")
    path = write_story(tmp_path, scene("a", image="a.png"))
    library = Library(tmp_path, path)
    app = application(library, Access(None))
    with TestClient(app, base_url="http://localhost") as client:
        (story,) = client.get("/stories").json()["stories"]
        assert client.get(f"/stories/{story['id']}/scenes?draft=true").json()["scenes"][0]["name"] == "a"
        assert put(client, story["id"], {"story.toml": story_text()}).status_code == 409  # type: ignore[arg-type]
        assert client.delete(f"/stories/{story['id']}").status_code == 409
        job = client.post(f"/stories/{story['id']}/render?wait=true", json={"draft": True}).json()
        assert job["state"] == "done", job
        assert client.get(f"/stories/{story['id']}/film.mp4").status_code == 200
    assert (tmp_path / "out").is_dir()
