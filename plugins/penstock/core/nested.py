"""Rows out of nested records: fields by their path, and the records of a list within each record.

A contract names a field by its path in `physicalName`: `customer.address.city`. A field whose own name has that dot is
taken first. Where the rows are those of a list (`explode`), `$parent.id` is the field `id` of the record around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from penstock.core.contract.model import SLICE_FIELD, Contract
from penstock.core.errors import SourceError

PARENT: Final = "$parent."


@dataclass(frozen=True, slots=True)
class Shape:
    """How rows are made of records.

    Attributes:
        paths: The fields that stand within others, e.g. `customer.address.city`.
        explode: Path to a list in each record, whose objects are the rows; empty: the records are.
    """

    paths: tuple[str, ...] = ()
    explode: str = ""

    def rows(self, records: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Return the rows that records make; what they hold stays, and the fields at the paths stand beside it.

        Raises:
            SourceError: What should be exploded is no list of objects.
        """
        if not self.explode and not self.paths:
            return records
        own = [path for path in self.paths if not path.startswith(PARENT)]
        above = [path for path in self.paths if path.startswith(PARENT)]
        return [
            {**row, **_found(row, own), **_found(record, above, len(PARENT))}
            for record in records
            for row in self._inner(record)
        ]

    def _inner(self, record: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        if not self.explode:
            return (record,)
        found = _at(record, self.explode)
        if found is None or found is _MISSING:
            return ()
        if not isinstance(found, list) or not all(isinstance(row, Mapping) for row in found):
            raise SourceError(f"In a record {self.explode!r} is no list of objects but {str(found)[:80]!r}.")
        return found


_MISSING: Final = object()


def _at(record: Mapping[str, Any], path: str) -> Any:
    found: Any = record
    for step in [path] if path in record else path.split("."):
        found = found.get(step, _MISSING) if isinstance(found, Mapping) else _MISSING
    return found


def _found(record: Mapping[str, Any], paths: Iterable[str], skip: int = 0) -> dict[str, Any]:
    found = {path: _at(record, path[skip:]) for path in paths}
    return {path: value for path, value in found.items() if value is not _MISSING}


def shape_of(contract: Contract, explode: str = "") -> Shape:
    """Return how rows are made for a contract: every `physicalName` with a dot is a path."""
    names = {column.source_name for column in contract.columns if column.source_name != SLICE_FIELD}
    return Shape(tuple(sorted(name for name in names if "." in name)), explode)


def held_by(contract: Contract) -> frozenset[str]:
    """Return the fields that are known because the contract names something within them, as `customer` above."""
    names = {column.source_name for column in contract.columns}
    return frozenset(name.partition(".")[0] for name in names if "." in name) - names
