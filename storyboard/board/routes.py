"""The board's routes, for the server's application."""

from __future__ import annotations

from starlette.routing import BaseRoute

from storyboard.board.assets import asset
from storyboard.board.editing import edit, save
from storyboard.board.page import route
from storyboard.board.pages import board, home, now, stories
from storyboard.board.playing import clip, film, player, seam, still
from storyboard.board.stream import events
from storyboard.board.taking import take, takes, use
from storyboard.board.working import cancel, plan, render

STORY = "/board/{story}"
SCENE = f"{STORY}/scenes/{{scene}}"
STATIC = "/board/static/{name}"


def board_routes() -> list[BaseRoute]:
    return [
        route("/", home),
        route("/board", stories),
        route(STATIC, asset),
        route(STORY, board),
        route(f"{STORY}/now", now),
        route(f"{STORY}/events", events),
        route(f"{STORY}/stills/{{digest}}.jpg", still),
        route(f"{STORY}/film.mp4", film),
        route(f"{STORY}/play/{{what}}", player),
        route(f"{STORY}/plan", plan),
        route(f"{STORY}/render", render, "POST"),
        route(f"{STORY}/cancel", cancel, "POST"),
        route(f"{SCENE}/clip.mp4", clip),
        route(f"{SCENE}/seam.mp4", seam),
        route(f"{SCENE}/edit", edit),
        route(f"{SCENE}/save", save, "POST"),
        route(f"{SCENE}/takes", takes),
        route(f"{SCENE}/takes/{{number:int}}.mp4", take),
        route(f"{SCENE}/use", use, "POST"),
    ]
