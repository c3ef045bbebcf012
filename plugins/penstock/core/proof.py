"""Which columns of texts are sure to be values of the contract's types, found before Postgres sees them.

What is proved can be copied into columns of the contract's own types: each text is just what Postgres writes for its
value, so that the gate would cast it to the same, and a row in quarantine reads the same, whichever way it came. What
is not proved is staged as text; `gate.text_values` decides on it, text by text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from penstock.core.contract.model import SLICE_FIELD, Column, Contract
from penstock.core.slice import Slice
from penstock.core.stage import Stage, create_stage, default_to_slice

if TYPE_CHECKING:
    import pyarrow

_YEAR: Final = "[1-9][0-9]{3}"
_LEAP_YEAR: Final = "(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
_DAY: Final = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{0,5}[1-9])?"
_PATTERNS: Final = {
    "smallint": "0|-?[1-9][0-9]{0,3}",
    "integer": "0|-?[1-9][0-9]{0,8}",
    "bigint": "0|-?[1-9][0-9]{0,17}",
    "numeric": r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,100})?",
    "boolean": "true|false",
    "date": _DAY,
    "timestamp without time zone": f"{_DAY} {_TIME}",
    "timestamp with time zone": rf"{_DAY} {_TIME}\+00",
    "time without time zone": _TIME,
    "uuid": "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
}
"""Regular expressions (RE2) by type; what matches is what Postgres writes for a value, in UTC."""
_NUMERIC: Final = re.compile(r"numeric\((\d+),(\d+)\)")
_MINUS_ZERO: Final = r"\A-0(?:\.0*)?\z"
_TURNS: Final = 3


class NotProved(Exception):
    """Some texts may not be values of their columns.

    Attributes:
        columns: Those columns; empty where a row cannot be copied at all as it is.
    """

    def __init__(self, columns: Collection[str] = ()) -> None:
        super().__init__(", ".join(columns))
        self.columns = frozenset(columns)


def pattern_of(column: Column) -> str | None:
    """Return the regular expression (RE2) of texts that are proved to be values of a column; None where none are."""
    if column.unit or column.format:
        return None
    if sized := _NUMERIC.fullmatch(column.type):
        digits, scale = int(sized[1]) - int(sized[2]), int(sized[2])
        fraction = rf"\.[0-9]{{{scale}}}" if scale else ""
        return f"-?(?:0|[1-9][0-9]{{0,{digits - 1}}}){fraction}" if digits > 0 else None
    return _PATTERNS.get(column.type)


def unproved(columns: Sequence[Column], texts: pyarrow.Table) -> list[str]:
    """Return the names of the columns of which any text is not sure to be a value.

    Args:
        columns: Columns of the contract, each with a pattern.
        texts: A column of strings for each, by its name; null is no text.
    """
    return [column.name for column in columns if not _is_proved(column, texts.column(column.name))]


def _is_proved(column: Column, texts: pyarrow.ChunkedArray) -> bool:
    from pyarrow import compute

    pattern = pattern_of(column)
    matches = compute.match_substring_regex(texts, rf"\A(?:{pattern})\z")
    if compute.all(matches).as_py() is False:
        return False
    if not column.type.startswith("numeric"):
        return True
    return compute.any(compute.match_substring_regex(texts, _MINUS_ZERO)).as_py() is not True


def stage_proved(
    cur: Cursor,
    stage: Stage,
    contract: Contract,
    slice_: Slice,
    sent: Sequence[Column],
    copy: Callable[[Sequence[Column]], int],
) -> int | None:
    """Make and fill a stage in which the columns are of the contract's types that are proved, and the others text.

    Which they are turns out as the rows are read: where a column is not proved any more, it begins anew without it.

    Args:
        cur: Cursor on the warehouse, in a transaction.
        stage: The stage; what an earlier attempt left in it is replaced.
        contract: The contract.
        slice_: The slice.
        sent: The columns that the source sends.
        copy: Copies all rows, and returns their number; it is given the columns that must be proved, and raises
            `NotProved` where they are not, or where a row cannot be copied.

    Returns:
        The number of rows; None where nothing but text is proved, or a row cannot be copied. Then nothing is staged.
    """
    proved = [column for column in sent if column.type != "text" and pattern_of(column) is not None]
    for _ in range(_TURNS):
        if not proved:
            return None
        names = {column.name for column in proved}
        types = [
            (c.name, c.type if c.name in names or c.source_name == SLICE_FIELD else "text") for c in contract.columns
        ]
        cur.execute("SAVEPOINT proved")
        try:
            create_stage(cur, stage, types, contract)
            default_to_slice(cur, stage, contract, slice_)
            rows = copy(proved)
        except NotProved as error:
            cur.execute("ROLLBACK TO SAVEPOINT proved")
            if not error.columns:
                return None
            proved = [column for column in proved if column.name not in error.columns]
        except psycopg2.DataError:
            cur.execute("ROLLBACK TO SAVEPOINT proved")
            return None
        else:
            default_to_slice(cur, stage, contract, None)
            return rows
    return None
