"""Facts of the machine: flags, else STORYBOARD_* variables, else the user's config file; never the story."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

KEYS = ("models", "store", "device")


class SettingsError(Exception):
    """The user's config file is at fault; the message names it and what to change."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`models`: folders of weights; `store`: kept work, None for .storyboard beside the story."""

    models: tuple[Path, ...]
    store: Path | None
    device: str | None


def config_path() -> Path:
    from platformdirs import user_config_path

    return user_config_path("storyboard") / "config.toml"


def settings(store: Path | None = None, device: str | None = None) -> Settings:
    """Raises SettingsError."""
    file = _config(config_path())
    named = os.environ.get("STORYBOARD_MODELS")
    listed = file.get("models", [])
    folders = (
        named.split(os.pathsep) if named else cast("list[object]", listed if isinstance(listed, list) else [listed])
    )
    where = store or os.environ.get("STORYBOARD_STORE") or file.get("store")
    return Settings(
        models=tuple(Path(str(folder)).expanduser() for folder in folders if folder),
        store=Path(str(where)).expanduser() if where else None,
        device=device or os.environ.get("STORYBOARD_DEVICE") or _text(file.get("device")),
    )


def _text(value: object) -> str | None:
    return str(value) if value is not None else None


def _config(path: Path) -> dict[str, object]:
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error
    unknown = sorted(set(facts) - set(KEYS))
    if unknown:
        raise SettingsError(f'{path}: unknown key "{unknown[0]}" (there are: {", ".join(KEYS)})')
    return facts
