"""What is being brought, on stderr: a bar with speed and time left on a terminal, a line every tenth elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from storyboard.room import gigabytes

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Transfer(Protocol):
    def says(self, text: str) -> None: ...
    def at(self, name: str, done: int, size: int) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def transfer() -> Transfer:
    return Bars() if sys.stderr.isatty() else Lines(sys.stderr)


class Lines:
    """A line when a file begins, and one a tenth of it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._told: dict[str, int] = {}

    def says(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()

    def at(self, name: str, done: int, size: int) -> None:
        tenth = 10 * done // size if size else 10
        if tenth > self._told.get(name, -1):
            self.says(f"{name}: {10 * tenth} % of {gigabytes(size)}")
        self._told[name] = tenth

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Every line is out already."""


class Bars:
    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as Speed

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), Speed(), TimeRemainingColumn())
        self._progress: Progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._tasks: dict[str, TaskID] = {}

    def says(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)

    def at(self, name: str, done: int, size: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=float(size), completed=done)
        self._progress.update(self._tasks[name], completed=done)
        if done >= size:
            self._progress.remove_task(self._tasks.pop(name))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
