"""The classes of texts that do not cast are a closed set, and the document says what each means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.sql import SQL, Literal

from penstock.core.contract.model import Column
from penstock.core.gate.text_values import fails
from penstock.core.gate.value_class import MEANINGS, ValueClass, table_of_classes, value_class

COLUMNS = [
    Column("a", "a", "numeric(8,2)", unit="kWh"),
    Column("a", "a", "integer"),
    Column("a", "a", "double precision"),
    Column("a", "a", "date"),
    Column("a", "a", "timestamp without time zone"),
    Column("a", "a", "timestamp with time zone"),
    Column("a", "a", "timestamp with time zone", timezone="Europe/Berlin"),
    Column("a", "a", "timestamp with time zone", timezone="Europe/Berlin", format="dd/MM/yyyy HH:mm"),
    Column("a", "a", "date", format="d.M.yyyy"),
    Column("a", "a", "time without time zone"),
    Column("a", "a", "time with time zone"),
    Column("a", "a", "boolean"),
    Column("a", "a", "jsonb"),
    Column("a", "a", "integer[]"),
    Column("a", "a", "timestamp with time zone[]"),
    Column("a", "a", "character varying(3)"),
    Column("a", "a", "interval"),
    Column("a", "a", "uuid"),
]
texts = st.text(st.sampled_from("0123456789+-.:,eETZ /{}[]\"'natruewsk%\\\n"), max_size=20) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=9
)


def test_every_class_has_a_meaning_and_stands_in_the_document() -> None:
    """docs/types.md holds the table that the code gives."""
    assert list(MEANINGS) == list(ValueClass)
    text = (Path(__file__).parents[3] / "docs" / "types.md").read_text(encoding="utf-8")
    assert table_of_classes() in text


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: f"{column.type} {column.timezone} {column.format}")
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(texts, min_size=1, max_size=30))
def test_any_text_is_judged_without_an_error(bench: Any, column: Column, found: list[str]) -> None:
    """Whatever a text says, for every kind of column: it casts, or it has one of the classes."""
    text = SQL("v")
    rows = bench.run(
        SQL("SELECT CASE WHEN {} THEN {} END FROM unnest({}::text[]) AS u(v)").format(
            fails(column, text), value_class(column, text), Literal(found)
        )
    )
    assert {class_ for (class_,) in rows} <= {None, *(class_.value for class_ in ValueClass)}
