"""What commands print: results on standard output, remarks about them on standard error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import typer


def show(text: str) -> None:
    """Print a line of the result."""
    typer.echo(text)


def say(text: str) -> None:
    """Print a remark that is no part of the result."""
    typer.echo(text, err=True)


def show_json(value: Any) -> None:
    """Print the result for a machine: one JSON document; dates as ISO 8601 text."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def show_table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under their heads, the columns as wide as they must be."""
    texts = [[str(head) for head in heads], *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for line in texts:
        show("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value).replace("\n", "\\n")
