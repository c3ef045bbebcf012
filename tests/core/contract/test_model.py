"""What a contract says, without the YAML."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.contract import Budget, Column, Contract, LoadMode, SchemaPolicy


def contract(partition_by: str | None, cursor: str | None) -> Contract:
    """A contract of three columns."""
    return Contract(
        dataset="shop/orders",
        version="1",
        hash="h",
        columns=(Column("id", "ID", "bigint"), Column("day", "DAY", "date"), Column("at", "AT", "date")),
        key=("id",),
        load_mode=LoadMode.REPLACE_PARTITION,
        partition_by=partition_by,
        cursor=cursor,
        schema_policy=SchemaPolicy.DISCARD,
        budget=Budget(),
        rules=(),
    )


@pytest.mark.parametrize(
    ("partition_by", "cursor", "found"),
    [("day", "at", "day"), (None, "at", "at"), ("day", None, "day"), (None, None, None)],
)
def test_sources_are_cut_by_the_partition_else_by_the_cursor(
    partition_by: str | None, cursor: str | None, found: str | None
) -> None:
    """The slice column is `partitionBy`, else `cursor`, else there is none and the source is read whole."""
    column = contract(partition_by, cursor).slice_column
    assert (column.name if column else None) == found


def test_a_dataset_is_schema_and_table() -> None:
    """The two parts of the dataset's name are schema and table in the warehouse; columns are found by name."""
    orders = contract("day", None)
    assert (orders.domain, orders.table, orders.column("at").source_name) == ("shop", "orders", "AT")
    with pytest.raises(KeyError):
        orders.column("AT")


@given(
    share=st.none() | st.fractions(0, 1),
    count=st.none() | st.integers(0, 50),
    extracted=st.integers(0, 100),
    quarantined=st.integers(0, 100),
)
def test_a_budget_allows_what_is_within_both_bounds(
    share: Fraction | None, count: int | None, extracted: int, quarantined: int
) -> None:
    """Share and count must both hold, exactly: no float decides over a slice."""
    within = (share is None or Fraction(quarantined) <= share * extracted) and (count is None or quarantined <= count)
    assert Budget(share, count).allows(quarantined, extracted) is within


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (Budget(), "any number of rows"),
        (Budget(count=0), "0 rows"),
        (Budget(share=Fraction(1, 20)), "5.00% of the rows"),
        (Budget(Fraction(1, 3), 7), "33.33% of the rows and 7 rows"),
    ],
)
def test_a_budget_can_be_read(budget: Budget, text: str) -> None:
    """The text that a refusal quotes."""
    assert str(budget) == text
