"""How a CSV is written, told from its beginning and from what its contract asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from penstock.core.contract.model import Column
from penstock.core.errors import SourceError
from penstock.core.proof import pattern_of
from penstock.core.text_lines import AUTO, CsvFormat, csv_values, open_csv

HEAD_BYTES: Final = 1 << 20
DELIMITERS: Final = (",", ";", "\t", "|")
OLD_ENCODING: Final = "cp1252"


def told_dialect(head: bytes, columns: Sequence[Column], form: CsvFormat) -> CsvFormat:
    """Fill in what is to be told of how a CSV is written.

    The delimiter is the one by which the header names most of the contract's fields. If it names none by any, and the
    first line has as many values as the contract has columns, and all those of typed columns look like values, then
    the file has no header: its fields are the contract's, in their order.

    Args:
        head: The first bytes of the file, unpacked.
        columns: The columns that the source sends, in the contract's order.
        form: What is known.

    Raises:
        SourceError: The file has no line.
    """
    text = head[: head.rfind(b"\n") + 1] or head
    form = replace(form, encoding=encoding_of(text)) if form.encoding == AUTO else form
    delimiters = DELIMITERS if form.delimiter == AUTO else (form.delimiter,)
    forms = [replace(form, delimiter=delimiter) for delimiter in delimiters]
    if form.header is False:
        named = [replace(one, names=_names(columns)) for one in forms]
        return max(named, key=lambda one: len(_first_line(text, one) or ()))
    wanted = set(_names(columns))
    best = max(forms, key=lambda one: len(wanted.intersection(_header(text, one))))
    if form.header is None and not wanted.intersection(_header(text, best)):
        for one in forms:
            if _are_values(_first_line(text, one), columns):
                return replace(one, header=False, names=_names(columns))
    return replace(best, header=True)


def encoding_of(text: bytes) -> str:
    """Take a file for one of Windows' where most of the lines that need an encoding are not UTF-8."""
    odd = [line for line in text.split(b"\n") if not line.isascii()]
    broken = sum(map(_is_broken, odd))
    return OLD_ENCODING if 2 * broken > len(odd) else "utf-8"


def _is_broken(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _names(columns: Sequence[Column]) -> tuple[str, ...]:
    return tuple(column.source_name for column in columns)


def _header(text: bytes, form: CsvFormat) -> tuple[str, ...]:
    try:
        return open_csv([text], replace(form, header=True, names=())).header
    except SourceError:
        return ()


def _first_line(text: bytes, form: CsvFormat) -> list[str | None] | None:
    """Return the values of the first line, whose number is not known yet."""
    line = next((line for line in text.split(b"\n") if line.strip()), b"")
    width = line.count(form.delimiter.encode()) + 1
    try:
        file = open_csv([line], replace(form, header=False, names=tuple(map(str, range(width)))))
    except SourceError:
        return None
    return next(csv_values(file), None)


def _are_values(values: list[str | None] | None, columns: Sequence[Column]) -> bool:
    """Tell whether a line holds a row: each value of a typed column looks like one, and there is at least one."""
    if values is None or len(values) != len(columns):
        return False
    pairs = [(value, column) for value, column in zip(values, columns, strict=True) if value and column.type != "text"]
    return bool(pairs) and all(_looks_like(value, column) for value, column in pairs)


def _looks_like(value: str, column: Column) -> bool:
    pattern = pattern_of(column)
    plainly = pattern is not None and re.fullmatch(pattern, value) is not None
    return plainly or value.lstrip("+-")[:1].isdigit()
