"""How far a simulation has come: a bar on a terminal, silence elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pdplan.cli.output import tell

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EVERY_S = 0.1


class Watch:
    """What a simulation calls as requests finish; remembers the last numbers it was told."""

    def __init__(self) -> None:
        self.done = 0
        self.total: int | None = None
        self._bar: tuple[Progress, TaskID] | None = None
        self._next_s = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        """Note the requests finished and wanted; draws ten times a second at most."""
        self.done, self.total = done, total
        if self._bar is None or (now := time.monotonic()) < self._next_s:
            return
        self._next_s = now + EVERY_S
        bar, task = self._bar
        bar.update(task, completed=done, total=total, refresh=True)

    def tell(self, text: str) -> None:
        """Write talk, above the bar if one is drawn."""
        if self._bar is None:
            tell(text)
        else:
            self._bar[0].console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the bar on stderr while within, if that is a terminal."""
        if not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
            self._bar = (bar, bar.add_task("simulating", total=None))
            try:
                yield
            finally:
                self._bar = None
