"""What is asked of a database for a slice: a table, cut by the contract's slice column, or a query of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from penstock.core.contract.model import Contract, LoadMode
from penstock.core.errors import SchemaMismatch
from penstock.core.slice import Slice
from penstock.core.stage import Stage
from penstock.core.watermark import Watermark

_PARAMETER: Final = re.compile(r"%(?:\((\w*)\)s|(%)|)")
_REPEATABLE: Final = frozenset((LoadMode.MERGE, LoadMode.SCD2))
WATERMARK: Final = "watermark"
"""The parameter of a query that takes it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a database.

    Attributes:
        table: `schema.table`, or a table of the connection's own schema; empty where a query is asked.
        query: A query, in which `%(slice_key)s`, `%(slice_start)s` and `%(slice_end)s` stand for the slice, and `%%`
            for a percent sign, and `%(watermark)s` for the newest published row; empty where a table is asked.
        lookback: How long before its slice a slice's window on a table begins.
        watermark: What stands for `%(watermark)s` in a query (see `penstock.core.watermark`).

    Raises:
        ValueError: Neither or both of table and query are stated, or the lookback has no window that it could widen.
    """

    table: str = ""
    query: str = ""
    lookback: timedelta = timedelta()
    watermark: Watermark | None = None

    def __post_init__(self) -> None:
        if bool(self.table) == bool(self.query):
            raise ValueError("state either a table or a query")
        if self.lookback < timedelta() or (self.lookback and self.query):
            raise ValueError("lookback is a time that a table's window begins earlier")

    @property
    def name(self) -> str:
        """The table's name; `query` for a query."""
        return self.table or "query"

    @property
    def accountable(self) -> bool:
        """Whether the rows are just those that the source can be asked for again, slice by slice."""
        return bool(self.table) and not self.lookback

    @property
    def path(self) -> Sequence[str]:
        """The parts of the table's name."""
        return self.table.split(".")

    def window(self, contract: Contract, slice_: Slice, stage: Stage) -> Slice:
        """Return the slice as the table is cut by it.

        Raises:
            SchemaMismatch: The slice's load would not bear rows of earlier slices.
        """
        if not self.lookback:
            return slice_
        if contract.load_mode not in _REPEATABLE or contract.partition_by is not None:
            raise SchemaMismatch(
                f"A lookback gives a slice rows of earlier ones, which {contract.load_mode} would take for its own.",
                dataset=stage.dataset,
                slice_key=stage.slice_key,
                next_step="set `loadMode` merge or scd2 with a `cursor` and no `partitionBy`, or take the lookback out"
                " of the DAG.",
            )
        return replace(slice_, start=slice_.start - self.lookback)


def parts_of_query(query: str, known: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the text and the parameters of a query in turn: `(text, "")` or `("", name)`.

    Raises:
        KeyError: It names a parameter that is not known.
        ValueError: It holds a `%` that stands for no parameter.
    """
    end = 0
    for match in _PARAMETER.finditer(query):
        yield query[end : match.start()], ""
        end = match.end()
        name, percent = match.groups()
        if percent:
            yield "%", ""
        elif name is None:
            raise ValueError(f"a % before {query[end : end + 10]!r} stands for no parameter")
        elif name not in known:
            raise KeyError(name)
        else:
            yield "", name
    yield query[end:], ""
