"""What the fault runs print: a table by kind of fault and load mode, and docs/reliability.md around it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.datasets import DATASETS
from tests.faults.faults import KINDS

TEMPLATE: Final = Path(__file__).with_name("reliability.template.md")
MODES: Final = tuple(found.mode for found in DATASETS)


@dataclass(slots=True)
class Tally:
    """What became of the faults of one kind in one load mode."""

    injected: int = 0
    survived: int = 0
    lost: int = 0
    doubled: int = 0


Results = dict[tuple[str, str], Tally]


def table(results: Results) -> str:
    """Return the table: in each cell the faults survived of those injected; rows lost and doubled beside them."""
    lines = [("fault", *MODES, "rows lost", "rows doubled"), ("---", *("---:" for _ in range(len(MODES) + 2)))]
    for kind, words in KINDS.items():
        lines.append(_line(words, [results.get((kind, mode), Tally()) for mode in MODES]))
    lines.append(_line("all", [_sum(results, mode) for mode in MODES]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _sum(results: Results, mode: str) -> Tally:
    found = [tally for (_, of), tally in results.items() if of == mode]
    return Tally(
        sum(tally.injected for tally in found),
        sum(tally.survived for tally in found),
        sum(tally.lost for tally in found),
        sum(tally.doubled for tally in found),
    )


def _line(words: str, found: Sequence[Tally]) -> tuple[str, ...]:
    cells = [f"{tally.survived} of {tally.injected}" for tally in found]
    return (words, *cells, str(sum(tally.lost for tally in found)), str(sum(tally.doubled for tally in found)))


def read_table(text: str) -> Results:
    """Return the results that a table in a text shows; rows lost and doubled are put to the first load mode.

    Raises:
        ValueError: There is no such table.
    """
    kinds = {words: kind for kind, words in KINDS.items()}
    results: Results = {}
    for line in text.splitlines():
        words, *cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if words not in kinds or len(cells) != len(MODES) + 2:
            continue
        for mode, cell in zip(MODES, cells, strict=False):
            found = re.fullmatch(r"(\d+) of (\d+)", cell)
            if not found:
                raise ValueError(f"{cell!r} is no count of faults")
            results[kinds[words], mode] = Tally(injected=int(found[2]), survived=int(found[1]))
        first = results[kinds[words], MODES[0]]
        first.lost, first.doubled = int(cells[-2]), int(cells[-1])
    if len(results) != len(kinds) * len(MODES):
        raise ValueError("the text holds no table of all kinds of fault")
    return results


def document(results: Results, facts: Mapping[str, str]) -> str:
    """Return docs/reliability.md: what was done, what became of it, and where and when."""
    return TEMPLATE.read_text(encoding="utf-8").format(
        injected=sum(tally.injected for tally in results.values()),
        survived=sum(tally.survived for tally in results.values()),
        table=table(results),
        facts="\n".join(f"- {name}: {value}" for name, value in facts.items()),
    )


def read_facts(text: str) -> dict[str, str]:
    """Return the facts about the run that a document states."""
    return dict(re.findall(r"^- ([a-z ]+): (.*)$", text.partition("## The run")[2], flags=re.MULTILINE))
