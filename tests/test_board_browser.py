"""The board as a creator uses it: headless Chromium against a server of its own, drafts on the animatic."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import FOUND, Browser, browser
from tests.serving import Served, boarded, png
from tests.stories import scene

pytestmark = pytest.mark.skipif(FOUND is None, reason="no Chromium here")

AXE = Path(__file__).parent / "data" / "axe-4.14.1.min.js"
FINISH = '[finish]\nupscale = { model = "none" }\ninterpolate = { model = "none" }\nencode = { preset = "ultrafast" }\n'
LONG = 241
READY = "document.querySelectorAll('.state.kept').length === {} && !document.querySelector('#cancel')"


def story_of(folder: Path, frames: int = 17) -> Path:
    folder.mkdir()
    (folder / "a.png").write_bytes(png(1, (320, 192)))
    (folder / "c.png").write_bytes(png(2, (320, 192)))
    scenes = scene("dock", image="a.png", camera="push in") + scene("storm", camera="pan left")
    scenes += scene("lamp", image="c.png", seam="dissolve 0.25s") + scene("calm", after="dock", end_on="lamp")
    path = folder / "story.toml"
    look = f'title = "The <em>dock</em>"\n[look]\nsize = "320x192"\nframes = {frames}\n'
    path.write_text(f"# a comment that stays\n{look}{scenes}{FINISH}")
    return path


class Page:
    """What a person does on the board."""

    def __init__(self, driven: Browser, server: Served) -> None:
        self.driven, self.server = driven, server

    def click(self, selector: str) -> None:
        self.driven.wait(f"!!document.querySelector({json.dumps(selector)})")
        # What htmx has just put there does nothing yet: it listens once all is in its place.
        self.driven.wait("!document.querySelector('.htmx-swapping, .htmx-settling, .htmx-added')")
        self.driven.value(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, text: str) -> None:
        self.driven.value(f"document.querySelector({json.dumps(selector)}).select()")
        self.driven.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        code, text = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, "")}[key]
        facts = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.driven.call("Input.dispatchKeyEvent", type="keyDown", text=text, **facts)
        self.driven.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def hold_down(self, selector: str, until: str) -> None:
        """The mouse pressed there, and released once something holds."""
        place = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.value(f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({place})")
        mouse = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.driven.call("Input.dispatchMouseEvent", type="mousePressed", **mouse)
        self.wait(until)
        self.driven.call("Input.dispatchMouseEvent", type="mouseReleased", **mouse)

    def wait(self, script: str) -> None:
        self.driven.wait(script)

    def value(self, script: str) -> Any:
        return self.driven.value(script)

    def focus(self) -> str:
        return self.driven.value("document.activeElement.id")

    def render(self, button: str) -> None:
        self.click(button)
        self.wait("document.querySelector('#plan').open")
        self.click("#start")
        self.wait("!document.querySelector('#plan').open")

    def faults(self) -> list[str]:
        """What axe finds that is serious."""
        self.driven.call("Runtime.evaluate", expression=AXE.read_text())
        found = self.driven.value("axe.run(document).then((said) => said.violations)")
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in serious]

    def check(self) -> None:
        assert self.faults() == []
        refused = "responded with a status of 4"  # of a form with mistakes, as it should be
        assert [each for each in self.driven.complaints() if refused not in each] == []
        others = [url for url in self.driven.asked() if not url.startswith((self.server.url, "about:"))]
        assert others == [], "no request leaves the machine"
        width = self.value("innerWidth")
        assert self.value("document.documentElement.scrollWidth") <= width


@pytest.fixture
def page(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    frames = getattr(request, "param", 17)
    with boarded(story_of(tmp_path / "story", frames), "--draft") as server, browser(tmp_path / "profile") as driven:
        driven.look(1280, 900)
        driven.visit(server.link[1], "!!document.querySelector('.card')")  # type: ignore[index]  # a board says one
        yield Page(driven, server)


def text_of(page: Page) -> str:
    return page.server.folder.read_text()


def jobs(page: Page) -> list[dict[str, Any]]:
    said = page.value("fetch('/jobs').then((answer) => answer.json())")
    return said["jobs"]


@pytest.mark.slow
def test_a_story_is_edited_rendered_and_played(page: Page, tmp_path: Path):
    assert page.value("document.querySelector('h1').textContent") == "The <em>dock</em>"
    page.check()
    # Edit, by keyboard alone.
    page.value("document.querySelector('#open-dock').focus()")
    page.press("Enter")
    page.wait("document.activeElement.id === 'prompt-dock'")
    page.type("#prompt-dock", 'boats in "mist"')
    page.type("#seed-dock", "many")
    page.click("#save-dock")
    page.wait("document.activeElement.id === 'seed-dock' && document.activeElement.ariaInvalid === 'true'")
    page.check()
    assert "boats" not in text_of(page), "nothing is written while something is wrong"
    page.type("#seed-dock", "12")
    page.click("#save-dock")
    page.wait("document.activeElement.id === 'open-dock'")
    assert 'prompt = "boats in \\"mist\\""' in text_of(page)
    assert text_of(page).startswith("# a comment that stays\n")
    page.wait("document.querySelector('#now-dock').textContent.includes('boats in \"mist\"')")
    # Render what is missing, the plan first.
    page.click("#render-all")
    page.wait("document.querySelector('#plan').open")
    assert "not known yet" in page.value("document.querySelector('#plan').textContent")
    page.check()
    page.click("#start")
    page.wait(READY.format(4))
    assert "All 4 scenes are there" in page.value("document.querySelector('#summary').textContent")
    page.value("[...document.images].forEach((image) => (image.loading = 'eager'))")
    page.wait("document.images.length === 8 && [...document.images].every((image) => image.naturalWidth > 0)")
    page.check()
    # Play: a seam, a clip, the film.
    for button, seconds in (("#seam-storm", 2), ("#play-lamp", 1), ("#play-film", 4)):
        page.click(button)
        page.wait("document.querySelector('#player').open && document.querySelector('#video').readyState >= 2")
        page.wait("document.querySelector('#video').currentTime > 0.1")
        assert page.value("document.querySelector('#video').duration") == pytest.approx(seconds, abs=0.5)
        page.check()
        page.click("#player [data-close]")
        page.wait("!document.querySelector('#player').open && !document.querySelector('#video')")
    # Reroll: a seed is written, and the scene is made again.
    before = len(jobs(page))
    page.render("#reroll-dock")
    page.wait("!!document.querySelector('#cancel')")
    page.wait(READY.format(4))
    assert "seed = 12\n" not in text_of(page)
    assert len(jobs(page)) == before + 1
    assert jobs(page)[0]["state"] == "done"
    for width, dark in ((1280, False), (390, True)):
        page.driven.look(width, 844, dark=dark)
        page.click("#open-storm")
        page.wait("!!document.querySelector('#prompt-storm')")
        page.check()
        page.driven.screenshot(tmp_path / f"board-{width}.png")
        page.click("[data-empty=edit-storm]")
        assert page.focus() == "open-storm"


@pytest.mark.slow
@pytest.mark.parametrize("page", [LONG], indirect=True)
def test_progress_cancel_and_a_restart(page: Page, tmp_path: Path):
    page.render("#render-all")
    page.wait("!!document.querySelector('.doing progress') && !!document.querySelector('#job-now progress')")
    page.wait("document.querySelector('#job-now progress').value > 0")
    page.wait("/% rendered/.test(document.querySelector('#aloud').textContent)")
    page.driven.screenshot(tmp_path / "progress.png")
    page.check()
    assert "Traceback" not in page.server.log.read_text()
    # Pressed as slowly as people do: progress comes meanwhile, and the button stays the one it was.
    before = page.value("document.querySelector('#job-doing').textContent")
    page.hold_down("#cancel", until=f"document.querySelector('#job-doing').textContent !== {json.dumps(before)}")
    page.wait("document.querySelector('#job-now').textContent.includes('was cancelled')")
    assert jobs(page)[0]["state"] == "cancelled"
    # The server goes away and comes back: the page goes on by itself, with what was typed.
    page.click("#open-calm")
    page.wait("!!document.querySelector('#prompt-calm')")
    page.type("#prompt-calm", "half a thought")
    left = "document.querySelector('.card [id^=render-]')"  # of a scene: which, depends on how far it came
    page.wait(f"!!{left}")
    page.render(f"#{page.value(f'{left}.id')}")
    page.wait("!!document.querySelector('#cancel')")
    page.server.kill()
    page.wait("document.querySelector('#link').textContent.includes('not there')")
    page.server.start()
    page.wait("document.querySelector('#link').textContent === ''")
    page.wait("!document.querySelector('#cancel')")
    assert jobs(page)[0]["state"] == "done"
    assert jobs(page)[0]["attempt"] == 2
    assert page.value("document.querySelector('#prompt-calm').value") == "half a thought"
    assert page.focus() == "prompt-calm" or page.value("!!document.querySelector('#prompt-calm')")


@pytest.mark.slow
def test_an_outside_edit_is_shown_and_not_overwritten(page: Page):
    page.click("#open-dock")
    page.wait("!!document.querySelector('#prompt-dock')")
    page.type("#prompt-dock", "mine")
    path = page.server.folder
    path.write_text(path.read_text().replace('"a dock"', '"theirs"') + "# by another editor\n")
    page.wait("document.querySelector('#now-dock').textContent.includes('theirs')")
    assert page.value("document.querySelector('#prompt-dock').value") == "mine", "what is typed stays"
    assert page.focus() == "prompt-dock"
    theirs = path.read_text()
    page.click("#save-dock")
    page.wait("document.querySelector('#edit-dock').textContent.includes('was changed meanwhile')")
    assert path.read_text() == theirs
    assert "theirs" in page.value("document.querySelector('#wrong-prompt-dock').textContent")
    page.check()
    page.click("#save-dock")
    page.wait("!document.querySelector('#prompt-dock')")
    assert 'prompt = "mine"' in path.read_text()
    assert path.read_text().endswith("# by another editor\n")
    # A scene more, and then a mistake: the page follows.
    path.write_text(path.read_text().replace("[finish]", scene("last") + "[finish]"))
    page.wait("!!document.querySelector('#scene-last')")
    path.write_text(path.read_text().replace("[finish]", "[finnish]"))
    page.wait("document.querySelector('#wrong').textContent.includes('did you mean')")
    page.click("#open-calm")
    page.wait("!!document.querySelector('#prompt-calm')")
    page.type("#prompt-calm", "half a thought")
    assert page.faults() == []
    # Gone altogether, and back: what is typed stays, and what was wrong is over.
    text = path.read_text()
    path.unlink()
    page.wait("document.querySelector('#said').textContent.includes('there is no story')")
    assert page.value("fetch(location.href).then((answer) => answer.status)") == 404
    path.write_text(text.replace("[finnish]", "[finish]"))
    page.wait("document.querySelector('#said').textContent === '' && !document.querySelector('#wrong h2')")
    assert page.value("document.querySelector('#prompt-calm').value") == "half a thought"
    # A picture that somebody else changed is seen as well.
    (path.parent / "c.png").write_bytes(b"no picture")
    page.wait("!!document.querySelector('#now-lamp .state.broken') || !!document.querySelector('#wrong h2')")
    assert page.faults() == []


@pytest.mark.slow
def test_takes_are_drawn_and_one_is_used_then_an_end_is_kept(page: Page, tmp_path: Path):
    page.value("document.querySelector('#list-takes-lamp').focus()")
    page.press("Enter")
    page.wait("document.activeElement.id === 'takes-heading-lamp'")
    page.render("#draw-takes-lamp")
    page.wait("document.querySelectorAll('#shown-takes-lamp li').length === 4 && !document.querySelector('#cancel')")
    page.wait("document.querySelector('#draw-takes-lamp').textContent === '4 more takes'")
    assert "seed" not in text_of(page)
    for width in (1280, 390):
        page.driven.look(width, 844, dark=width < 600)
        page.value("[...document.images].forEach((image) => (image.loading = 'eager'))")
        page.wait("[...document.images].every((image) => image.naturalWidth > 0)")
        page.driven.screenshot(tmp_path / f"takes-{width}.png")
        page.check()
    page.click("#play-lamp-take-2")
    page.wait("document.querySelector('#player').open && document.querySelector('#video').readyState >= 2")
    page.click("#player [data-close]")
    page.value("document.querySelector('#use-lamp-take-3').focus()")
    page.press("Enter")
    page.wait("document.activeElement.id === 'takes-heading-lamp'")
    page.wait("document.querySelector('#aloud').textContent.includes('Take 3 of lamp is used')")
    assert "seed = " in text_of(page)
    assert page.value("!!document.querySelector('#use-lamp-take-1')")
    assert not page.value("!!document.querySelector('#use-lamp-take-3')")
    # An end that cannot be kept says why; once there is one, what follows stays.
    page.render("#render-all")
    page.wait(READY.format(4))
    page.click("#hold-dock")
    page.wait("document.querySelector('#plan').open")
    assert "stays as it is: storm, calm" in page.value("document.querySelector('#plan').textContent")
    page.check()
    page.click("#start")
    page.wait(READY.format(4))
    page.wait("document.querySelector('#now-dock').textContent.includes('ends on held/dock.png')")
    assert 'hold = "held/dock.png"' in text_of(page)
    told = page.value(f"fetch('/jobs/{jobs(page)[0]['id']}/events').then((answer) => answer.text())")
    assert re.findall(r'event: scene.done\ndata: {"scene": "(\w+)"', told) == ["dock"]
