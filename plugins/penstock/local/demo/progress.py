"""The demo's live progress: a bar per dataset on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

LINE_SECONDS = 5.0


class View(Protocol):
    """Something that shows how far the datasets are."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...
    def show(self, done: Mapping[str, int], failed: Mapping[str, int]) -> None:
        """Show the slices done and failed for each dataset."""

    def say(self, text: str) -> None:
        """Show a line that stays."""


def make_view(total: Mapping[str, int], say: Callable[[str], None]) -> View:
    """The view that suits where standard output goes; without a terminal, lines go through `say`."""
    return BarView(total) if sys.stdout.isatty() else LineView(total, say)


class BarView:
    """A bar per dataset."""

    def __init__(self, total: Mapping[str, int]) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=Console(),
        )
        self._bars = {
            dataset: self._progress.add_task(dataset, total=count, note="") for dataset, count in total.items()
        }
        self._total = dict(total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, done: Mapping[str, int], failed: Mapping[str, int]) -> None:
        """Move the bars."""
        for dataset, bar in self._bars.items():
            note = f"[red]{failed[dataset]} failed[/red]" if failed.get(dataset) else ""
            self._progress.update(bar, completed=done[dataset], note=note)
            if done[dataset] + failed.get(dataset, 0) >= self._total[dataset]:
                self._progress.stop_task(bar)

    def say(self, text: str) -> None:
        """Print above the bars."""
        self._progress.console.print(Text(text))


class LineView:
    """A line now and then, when something has changed."""

    def __init__(self, total: Mapping[str, int], say: Callable[[str], None]) -> None:
        self._total = dict(total)
        self.say = say
        self._next = 0.0
        self._shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, done: Mapping[str, int], failed: Mapping[str, int]) -> None:
        """Print where each dataset is, unless it was said a moment ago."""
        parts = [
            f"{dataset} {done[dataset]}/{count}" + (f" ({failed[dataset]} failed)" if failed.get(dataset) else "")
            for dataset, count in self._total.items()
        ]
        text = " · ".join(parts)
        now = time.monotonic()
        is_last = all(done[dataset] >= count for dataset, count in self._total.items())
        if text != self._shown and (now >= self._next or is_last):
            self.say(text)
            self._shown, self._next = text, now + LINE_SECONDS
