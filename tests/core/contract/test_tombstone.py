"""The mark of a deleted row."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg2.sql import SQL

from penstock.core.contract.tombstone import buries, is_deleted
from tests.core.load_modes.reference import Variant
from tests.core.load_modes.tables import document


@pytest.mark.parametrize(
    ("type_", "mark", "no_mark"),
    [("boolean", "true", "false"), ("date", "2026-01-01", None), ("timestamptz", "2026-01-01", None)],
)
def test_a_mark_is_true_or_any_moment(bench: Any, build: Any, type_: str, mark: str, no_mark: str | None) -> None:
    """Of a boolean true is the mark, of a date or a time any value; NULL never is."""
    stated = document(Variant("merge", tombstone="hard"))
    stated["schema"][0]["properties"][3] |= {"physicalType": type_}
    contract = build.contract(stated)
    for value, expected in ((mark, True), (no_mark, False), (None, False)):
        query = SQL("SELECT {} FROM (SELECT %s::{} AS gone) AS row").format(is_deleted(contract), SQL(type_))
        assert bench.one(query, (value,)) is expected


def test_only_hard_deletes_are_buried(bench: Any, build: Any) -> None:
    """A soft delete is a version like any other; without a tombstone nothing is deleted."""
    variants = [Variant("merge", tombstone="hard"), Variant("merge", tombstone="soft"), Variant("merge")]
    contracts = [build.contract(document(variant, table=f"t{n}")) for n, variant in enumerate(variants)]
    assert [buries(contract) for contract in contracts] == [True, False, False]
    assert bench.one(SQL("SELECT {}").format(is_deleted(contracts[2]))) is False
