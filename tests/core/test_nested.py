"""Nested records become rows by the paths of the contract, and lists in them become rows of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import SourceError
from penstock.core.nested import Shape, held_by, shape_of

ORDER = {
    "id": "7",
    "customer": {"name": "A", "address": {"city": "Bern"}},
    "lines": [{"sku": "a", "price": {"net": "1.50"}}, {"sku": "b"}],
}


def test_fields_at_paths_stand_beside_the_record() -> None:
    """What the source sent stays whole; a path that leads nowhere is a missing field, one that ends in null is null."""
    (row,) = Shape(("customer.address.city", "customer.zip", "id.x", "customer.address")).rows([ORDER])
    assert row == {**ORDER, "customer.address.city": "Bern", "customer.address": {"city": "Bern"}}
    assert Shape(("a.b",)).rows([{"a": {"b": None}}]) == [{"a": {"b": None}, "a.b": None}]


def test_a_name_with_a_dot_is_taken_first() -> None:
    """A source may have a field that is called so."""
    assert Shape(("a.b",)).rows([{"a.b": "own", "a": {"b": "inner"}}])[0]["a.b"] == "own"


def test_a_list_becomes_rows_with_fields_of_their_record() -> None:
    """In order; a record whose list is empty, null or missing makes none."""
    shape = Shape(("$parent.customer.name", "$parent.id", "price.net"), "lines")
    rows = shape.rows([ORDER, {"id": "8", "lines": []}, {"id": "9", "lines": None}, {"id": "10"}])
    assert [(row["$parent.id"], row["$parent.customer.name"], row["sku"], row.get("price.net")) for row in rows] == [
        ("7", "A", "a", "1.50"),
        ("7", "A", "b", None),
    ]


@pytest.mark.parametrize("lines", ["x", {"a": "b"}, ["x"], [[]]])
def test_what_is_no_list_of_objects_is_an_error(lines: Any) -> None:
    """No row is lost in silence."""
    with pytest.raises(SourceError, match="'lines' is no list of objects"):
        Shape((), "lines").rows([{"lines": lines}])


def test_the_contract_names_the_paths(bench: Any, build: Any, tmp_path: Path) -> None:
    """From the contract to the table: nested values arrive, and the objects that hold them are no unknown fields."""

    def nest(document: Any) -> None:
        properties = document["schema"][0]["properties"]
        properties[1]["physicalName"] = "customer.code"
        properties[2]["physicalName"] = "$parent.total"

    contract = build.contract(build.ORDERS, nest, build.set_custom("schemaPolicy", "freeze"))
    shape = shape_of(contract, "orders")
    assert shape == Shape(("$parent.total", "customer.code"), "orders")
    assert held_by(contract) == {"customer", "$parent"}
    order = {"order_id": "1", "customer": {"code": "A100"}, "sold_at": "2026-01-01T12:00:00Z"}
    rows = shape.rows([{"total": "5", "orders": [order]}])
    stage = bench.land(contract, "2026-01-01", rows, tmp_path)
    bench.judge(contract, stage)
    assert bench.publish(contract, stage).loaded == 1
    assert bench.run("SELECT code, amount FROM test.orders") == [("A100", 5)]
