"""Facts of the machine: flags, else STORYBOARD_* variables, else the user's config file; never the story."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from storyboard.mistakes import did_you_mean, written
from storyboard.room import parse_bytes

KEYS = ("models", "store", "device", "finish_on", "vram", "ram", "attention", "compile")
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
ATTENTION = ("native", "cudnn", "flash-2", "flash-3", "flash-4", "sage")
"""The kernels that scenes.wan.attention knows, named here so that a mistake is told without torch."""


class SettingsError(Exception):
    """A variable or the user's config file is at fault; the message names it and what to change."""


class FlagError(SettingsError):
    """A flag is at fault."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`models`: folders of weights; `store`: kept work, None for .storyboard beside the story; `finish_on`: the device
    that finishes, None for the best choice. The rest is how WAN may work: `vram` and `ram` in bytes, None for what is
    free; `attention`: a kernel's name, None for the best there is."""

    models: tuple[Path, ...]
    store: Path | None
    device: str | None
    vram: int | None = None
    ram: int | None = None
    attention: str | None = None
    compile: bool = True
    finish_on: str | None = None


def config_path() -> Path:
    from platformdirs import user_config_path

    return user_config_path("storyboard") / "config.toml"


def settings(
    store: Path | None = None,
    device: str | None = None,
    *,
    vram: str | None = None,
    ram: str | None = None,
    attention: str | None = None,
    compile: bool | None = None,  # named as the flag is
    finish_on: str | None = None,
) -> Settings:
    """Each as given, else as its variable says, else the user's file. Raises SettingsError."""
    path = config_path()
    file = _config(path)
    named = os.environ.get("STORYBOARD_MODELS")
    folders = named.split(os.pathsep) if named else _texts(file, "models", path)
    where = store or os.environ.get("STORYBOARD_STORE") or _text(file, "store", path)
    return Settings(
        models=tuple(_folder(folder) for folder in folders if folder),
        store=_folder(where) if where else None,
        device=device or os.environ.get("STORYBOARD_DEVICE") or _text(file, "device", path),
        vram=_size("vram", vram, file, path),
        ram=_size("ram", ram, file, path),
        attention=_attention(attention, file, path),
        compile=_compile(file, path) if compile is None else compile,
        finish_on=finish_on or os.environ.get("STORYBOARD_FINISH_ON") or _text(file, "finish_on", path),
    )


def _size(name: str, flag: str | None, file: dict[str, object], path: Path) -> int | None:
    """Bytes, from a flag, a variable, or the file: there a bare number is bytes too."""
    known = file.get(name)
    kept = None if known is None else known if isinstance(known, str) else written(known)
    where, size = _said(name, flag, kept, path)
    try:
        return None if size is None else parse_bytes(size)
    except ValueError as error:
        raise _fault(where, flag, str(error)) from None


def _attention(flag: str | None, file: dict[str, object], path: Path) -> str | None:
    where, name = _said("attention", flag, _text(file, "attention", path), path)
    if name is not None and name not in ATTENTION:
        hint = did_you_mean(name, ATTENTION) or f" (there are: {', '.join(ATTENTION)})"
        raise _fault(where, flag, f"there is no kernel {written(name)}{hint}")
    return name


def _said(name: str, flag: str | None, kept: str | None, path: Path) -> tuple[str, str | None]:
    """Where a setting is said, and as what: by its flag, else its variable, else in the user's file."""
    variable = f"STORYBOARD_{name.upper()}"
    said = ((f"--{name}", flag), (variable, os.environ.get(variable)), (f"{path}: {name}", kept))
    return next(((where, value) for where, value in said if value), ("", None))


def _fault(where: str, flag: str | None, why: str) -> SettingsError:
    return (FlagError if flag else SettingsError)(f"{where}: {why}")


def _compile(file: dict[str, object], path: Path) -> bool:
    asked = os.environ.get("STORYBOARD_COMPILE", "").strip().lower()
    if asked and asked not in (*YES, *NO):
        raise SettingsError(f"STORYBOARD_COMPILE={asked} must be 1 or 0")
    known = file.get("compile", True)
    if not isinstance(known, bool):
        raise SettingsError(f"{path}: compile must be true or false, not {written(known)}")
    return asked in YES if asked else known


def _folder(name: str | Path) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise SettingsError(f"{name} leads nowhere: write the whole path") from None


def _text(file: dict[str, object], key: str, path: Path) -> str | None:
    value = file.get(key)
    if value is None or isinstance(value, str):
        return value
    raise SettingsError(f"{path}: {key} must be text in quotes, not {written(value)}")


def _texts(file: dict[str, object], key: str, path: Path) -> list[str]:
    """One text, or a list of them."""
    value = file.get(key, [])
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    wrong = next((item for item in values if not isinstance(item, str)), None)
    if wrong is not None:
        raise SettingsError(f"{path}: {key} must be folders in quotes, not {written(wrong)}")
    return [str(item) for item in values]


def _config(path: Path) -> dict[str, object]:
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text: save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    unknown = sorted(set(facts) - set(KEYS))
    if unknown:
        hint = did_you_mean(unknown[0], KEYS) or f" (there are: {', '.join(KEYS)})"
        raise SettingsError(f"{path}: unknown key {written(unknown[0])}{hint}")
    return facts
