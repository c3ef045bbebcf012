"""Rules that Great Expectations does not have, or that follow from the contract alone: their SQL.

The types whose names begin with `penstock_` are Penstock's own; they are described in docs/coverage.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.gate.covered import gx_type, text_type
from penstock.core.gate.placeholders import parts_of
from penstock.core.gate.row_tests import (
    ALL_ROWS,
    Predicate,
    Selected,
    TableTest,
    Test,
    count_where,
    filled,
)
from penstock.core.gate.slice_tests import other_table
from penstock.core.gate.spans import read_span
from penstock.core.gate.thresholds import keeps, stated

_NO_END: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Context:
    """What some rules need to know beside their kwargs.

    Attributes:
        types: Canonical type of each column.
        end: First instant after the slice.
    """

    types: Mapping[str, str] = field(default_factory=dict)
    end: datetime = _NO_END


def filled_in(template: str, **values: Composable) -> Composed:
    """Return a query of the contract with its placeholders filled in; `check` has seen that each has a value."""
    return Composed([values[text] if is_name else SQL(text) for text, is_name in parts_of(template)])


def _typed(key: str) -> Callable[[Mapping[str, Any], Context], TableTest]:
    """Make a compiler for the expectations about a column's type; `key` holds the types allowed."""

    def compile_(kwargs: Mapping[str, Any], context: Context) -> TableTest:
        allowed = [kwargs[key]] if isinstance(kwargs[key], str) else kwargs[key]
        names = {name.casefold() for name in allowed}
        name = gx_type(context.types.get(kwargs["column"], ""))
        return TableTest(lambda _: Literal(name), holds=lambda found: found.casefold() in names)

    return compile_


def _exist_in(kwargs: Mapping[str, Any], _: Context) -> Selected:
    names = kwargs.get("column_list") or [kwargs["column"]]
    targets = [kwargs["to"]] if isinstance(kwargs["to"], str) else kwargs["to"]
    complete = SQL(" AND ").join(filled(name) for name in names)

    def rows(table: Composable) -> Composed:
        return SQL(
            "SELECT t.ctid FROM (SELECT ctid, {columns} FROM {table} WHERE {complete}) AS t"
            " WHERE NOT EXISTS (SELECT FROM {other} AS o WHERE {same})"
        ).format(
            columns=SQL(", ").join(map(Identifier, names)),
            table=table,
            complete=complete,
            other=other_table(kwargs["dataset"]),
            same=SQL(" AND ").join(
                SQL("o.{} = t.{}").format(Identifier(to), Identifier(name))
                for name, to in zip(names, targets, strict=True)
            ),
        )

    return Selected(rows, count_where(complete), complete)


def _listed(column: str, values: list[Any], type_: str) -> Composed:
    """Return the condition that a column holds one of the values, NULL among them; texts are compared as text."""
    name = Identifier(column)
    parts: list[Composable] = [SQL("{} IS NULL").format(name)] if None in values else []
    numbers = [value for value in values if value is not None and not isinstance(value, str)]
    texts = [value for value in values if isinstance(value, str)]
    if text_type(type_):
        texts, numbers = [*texts, *map(str, numbers)], []
    if texts:
        parts.append(SQL("{}::text IN ({})").format(name, SQL(", ").join(map(Literal, texts))))
    if numbers:
        parts.append(SQL("{} IN ({})").format(name, SQL(", ").join(map(Literal, numbers))))
    return SQL("({})").format(SQL(" OR ").join(parts))


def _not_missing(kwargs: Mapping[str, Any], context: Context) -> Predicate:
    column = kwargs["column"]
    return Predicate(_listed(column, kwargs["missing_values"], context.types.get(column, "text")), ALL_ROWS)


def _fresh(kwargs: Mapping[str, Any], context: Context) -> TableTest:
    column, type_ = kwargs["column"], context.types.get(kwargs["column"], "timestamp with time zone")
    since = context.end - read_span(kwargs["within"])
    name, bound = Identifier(column), Literal(since.strftime("%Y-%m-%d %H:%M:%S.%f"))
    latest = SQL("max({})").format(name)
    if type_ == "date":  # a date stands for its whole day
        latest = SQL("max({} + 1)").format(name)

    def observed(table: Composable) -> Composed:
        return SQL(
            "(SELECT jsonb_build_object('latest', max({name})::text, 'fresh', {latest} >= {bound}) FROM {table})"
        ).format(name=name, latest=latest, bound=bound, table=table)

    return TableTest(observed, holds=lambda found: bool(found["fresh"]), shown=lambda found: found["latest"])


def _bad(kwargs: Mapping[str, Any], context: Context) -> Composable:
    """Return the condition of the rows that a metric counts."""
    metric, column = kwargs["metric"], kwargs["column"]
    if metric == "nullValues":
        return SQL("{} IS NULL").format(Identifier(column))
    if metric == "missingValues":
        return _listed(column, kwargs["missing_values"], context.types.get(column, "text"))
    if "valid_values" in kwargs:
        values = [value for value in kwargs["valid_values"] if value is not None]
        return SQL("({} AND NOT {})").format(filled(column), _listed(column, values, context.types.get(column, "text")))
    return SQL("{}::text !~ {}").format(Identifier(column), Literal(kwargs["pattern"]))


def _metric(kwargs: Mapping[str, Any], context: Context) -> TableTest:
    thresholds = stated(kwargs)

    def count(table: Composable) -> Composable:
        if kwargs["metric"] == "rowCount":
            return ALL_ROWS
        if kwargs["metric"] == "duplicateValues":
            # All rows but the first of each group of equals.
            names = kwargs.get("column_list") or [kwargs["column"]]
            complete = SQL(" AND ").join(filled(name) for name in names)
            return SQL(
                "(SELECT coalesce(sum(n - 1), 0)::bigint FROM (SELECT count(*) AS n FROM {} WHERE {} GROUP BY {}) AS g)"
            ).format(table, complete, SQL(", ").join(map(Identifier, names)))
        return count_where(_bad(kwargs, context))

    def observed(table: Composable) -> Composable:
        if kwargs.get("unit") != "percent":
            return count(table)
        return SQL("coalesce(100.0 * {} / nullif(count(*), 0), 0)").format(count(table))

    return TableTest(observed, holds=lambda value: keeps(value, thresholds))


def _query(kwargs: Mapping[str, Any], _: Context) -> TableTest:
    thresholds, query = stated(kwargs), kwargs["query"].rstrip("; \t\r\n\v\f")
    column: dict[str, Composable] = {}
    if "column" in kwargs:
        column = dict.fromkeys(("property", "column"), Identifier(kwargs["column"]))

    def observed(table: Composable) -> Composed:
        return SQL("({}\n)").format(filled_in(query, object=table, table=table, **column))

    return TableTest(observed, holds=lambda value: keeps(value, thresholds))


COMPILERS: Final[Mapping[str, Callable[[Mapping[str, Any], Context], Test]]] = {
    "expect_column_values_to_be_of_type": _typed("type_"),
    "expect_column_values_to_be_in_type_list": _typed("type_list"),
    "expect_column_type_to_be": _typed("type_"),
    "penstock_values_exist_in": _exist_in,
    "penstock_values_not_missing": _not_missing,
    "penstock_column_is_fresh": _fresh,
    "penstock_metric": _metric,
    "penstock_query": _query,
}
"""The test that each of these types compiles to."""
