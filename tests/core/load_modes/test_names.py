"""A contract may call its columns what it likes: also what Penstock's own SQL calls things."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from penstock.core.quarantine import mend
from penstock.core.redrive import redrive
from penstock.core.slice import day_slice
from tests.core.load_modes.reference import MODES, Mode, Row, Variant
from tests.core.load_modes.tables import DAYS, document, select, staged_sql

CORE = Path(__file__).parents[3] / "plugins" / "penstock" / "core"
DAY, NEXT, _ = DAYS
RESERVED = {"valid_from", "valid_to"}


def own_names() -> list[str]:
    """Every alias, and every name of a platform table's column, that the SQL of core uses."""
    found = {"id", "key", "moment", "dataset", "slice_key", "rules", "details", "payload", "mended", "state", "run_id"}
    for path in CORE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"\b(?:AS|JOIN \{\} AS|FROM) ([a-z][a-z_]*)\b", text))
    return sorted(name for name in found - RESERVED if not name.startswith("pg_"))


def hostile(variant: Variant) -> dict[str, Any]:
    """The tests' contract with a further column of each of these names; some of them are part of the key."""
    made = document(variant)
    table = made["schema"][0]
    taken = {column["name"] for column in table["properties"]}
    table["properties"] += [
        {
            "name": name,
            "logicalType": "string",
            "physicalType": "text",
            "primaryKey": variant.key and name in ("n", "c", "version", "next", "key", "moment"),
        }
        for name in own_names()
        if name not in taken
    ]
    return made


def query(variant: Variant, rows: list[Row]) -> str:
    """A query that gives the rows with all those columns."""
    taken = {column["name"] for column in document(variant)["schema"][0]["properties"]}
    more = ", ".join(f"'x'::text AS \"{name}\"" for name in own_names() if name not in taken)
    return f"SELECT r.*, {more} FROM ({select(rows)}) AS r"


CASES = [(mode, deletes, True) for mode in MODES for deletes in ("hard", None)] + [
    ("replace_partition", "hard", False),
    ("replace_partition", None, False),
    ("append", None, False),
    ("snapshot", "hard", False),
    ("snapshot", None, False),
]


@pytest.mark.parametrize(("mode", "deletes", "keyed"), CASES)
def test_no_name_of_a_column_is_in_the_way(bench: Any, build: Any, mode: Mode, deletes: Any, keyed: bool) -> None:
    """Loads, repeats, duplicates, deletions and a re-drive work whatever the columns are called."""
    variant = Variant(mode, key=keyed, cursor=keyed, tombstone=deletes)
    contract = build.contract(hostile(variant))
    first = [Row(1, "A", f"{DAY} 07:00", False), Row(2, "?", f"{DAY} 07:00", False), Row(3, "A", f"{DAY} 07:00", True)]
    again = [Row(1, "B", f"{DAY} 23:00", True), *first, Row(4, "C", f"{DAY} 07:00", False), first[0]]
    for number, (key, rows) in enumerate([(DAY, first), (DAY, again), (NEXT, []), (DAY, first)]):
        staged_sql(bench.conn, contract, key, query(variant, rows), f"run-{number}", publishes=True)
    with bench.conn, bench.conn.cursor() as cur:
        cur.execute("SELECT id FROM ops.quarantine")
        mend(cur, contract, [id_ for (id_,) in cur.fetchall()], {"grade": "B"}, by="ann")
    done = redrive(bench.conn, contract, day_slice(DAY), run_id="again", by="ann")
    assert (done.loaded, done.still_open) == (1, 0)
    assert bench.one("SELECT grade FROM test.items WHERE id = 2") == "B"
