"""The page that says of each expectation how it is judged: docs/coverage.md is what `page()` returns.

To write it anew: `PYTHONPATH=plugins .venv/bin/python -m penstock.core.gate.coverage > docs/coverage.md`
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from penstock.core.gate.check import REFUSED, known_to_gx
from penstock.core.gate.covered import COVERED, OWN_PREFIX, Covered

_BOTH: Final = "unexpected_rows_expectation"
_HEAD: Final = """# What the gate can judge

*Made by `python -m penstock.core.gate.coverage`; a test holds it to the code and to the Great Expectations installed.*

A rule is **compiled** (a part of the gate's one scan; Great Expectations is not imported), **run in Great
Expectations** (imported by the task, which takes seconds), or **refused** when the contract is checked, with the
reason. A rule about *rows* of severity `critical` sends the rows that break it to quarantine; a critical rule about
the *slice* refuses it. `warning` and `info` are recorded. Rules about rows take `mostly`. "rows of a condition" means
that a `row_condition`, as text or as a mapping, is compiled too.

The compiled ones are held against Great Expectations itself on random tables (`tests/core/gate/test_differential.py`).
"""
_OWN: Final = """
## Penstock's own types

They are stated like the others: `type: custom`, `engine: greatExpectations`, with this `type` and `kwargs`. The last
two are what the standard's own quality items become.

| type | about | kwargs | what it asks |
| --- | --- | --- | --- |
"""
_STANDARD: Final = """
## The standard's quality items

| item | with `mustBe: 0` | with any other threshold |
| --- | --- | --- |
| `nullValues` | rows: `expect_column_values_to_not_be_null` | slice: number or percent of NULLs |
| `missingValues` | rows: `penstock_values_not_missing` | slice: values listed in `arguments.missingValues` |
| `invalidValues` | rows: `expect_column_values_to_be_in_set`, `…_match_regex` | slice: values neither valid nor NULL |
| `duplicateValues` | rows: `expect_column_values_to_be_unique`, `…_compound_…` | slice: rows after a value's first |
| `rowCount` | slice | slice: `expect_table_row_count_to_…` |
| `type: sql` | slice: `penstock_query` | slice: `penstock_query` |
| `relationships` | rows: `penstock_values_exist_in` | |

All eight operators (`mustBe`, `mustNotBe`, `mustBeGreaterThan`, `mustBeGreaterOrEqualTo`, `mustBeLessThan`,
`mustBeLessOrEqualTo`, `mustBeBetween`, `mustNotBeBetween`) and the units `rows` and `percent` are understood. In a
query, `{object}` (or `${table}`) is the slice that is judged and `{property}` (or `${column}`) the property it stands
in.

A property's `relationships: [{to: customers.customer_id}]` says that each value stands in a column of another dataset
of the domain (`domain.table.column` names another domain); its `customProperties` may hold `severity` and `name`.

## Expectations of your own

Every `.py` in `include/expectations` may define subclasses of Great Expectations' classes;
[trimmed.py](../include/expectations/trimmed.py) is an example. Contracts name them by their type in snake case. They
are run in Great Expectations; one about rows splits them like a compiled rule does, up to 100,000 rows, beyond which
the slice is refused.
"""


def _about(type_: str, entry: Covered) -> str:
    if type_ == _BOTH:
        return "rows or slice"
    return "rows" if entry.about_rows else "slice"


def how_judged(type_: str) -> tuple[str, str, str]:
    """Return how an expectation is judged, what it is about, and what there is to know."""
    if type_ in COVERED:
        entry = COVERED[type_]
        notes = [entry.note] if entry.note else []
        return "compiled", _about(type_, entry), "; ".join([*notes, *["rows of a condition"] * entry.conditional])
    if type_ in REFUSED:
        return "refused", "", REFUSED[type_].format(f"`{type_}`")
    return "run in Great Expectations", "slice", "no rows to set aside: a critical one refuses the slice"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _lines() -> Iterator[str]:
    types = sorted(known_to_gx())
    counts = [how_judged(type_)[0] for type_ in types]
    yield _HEAD
    yield "## Great Expectations' core expectations\n"
    summed = ", ".join(f"{counts.count(way)} {way}" for way in dict.fromkeys(sorted(counts)))
    yield f"{len(types)} there are: {summed}.\n"
    yield "| expectation | how | about | to know |\n| --- | --- | --- | --- |"
    for type_ in types:
        yield "| " + " | ".join([f"`{type_}`", *map(_escaped, how_judged(type_))]) + " |"
    yield _OWN.rstrip("\n")
    for type_, entry in COVERED.items():
        if type_.startswith(OWN_PREFIX):
            kwargs = ", ".join(f"`{key}`" for key in (*entry.needs, *entry.takes) if not key.startswith("must"))
            yield f"| `{type_}` | {_about(type_, entry)} | {kwargs} | {_escaped(entry.note or '')} |"
    yield _STANDARD.rstrip("\n")


def page() -> str:
    """Return the page."""
    return "\n".join(_lines()) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
