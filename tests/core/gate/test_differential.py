"""The gate plan against Great Expectations itself, over random tables.

Every expectation that the plan covers is judged by both, on the same table in Postgres, and must come out alike. The
tables and rules follow from a seed, which a failure prints; `PENSTOCK_DIFF_SEED` and `PENSTOCK_DIFF_TABLES` choose
other ones and more of them, `PENSTOCK_DIFF_ONLY` the tables of these numbers (1,2) only.
"""

from __future__ import annotations

import math
import os
import random
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extras import execute_values
from psycopg2.sql import SQL, Identifier

from penstock.core.contract.model import Rule
from penstock.core.contract.suite import compile_expectation
from penstock.core.gate import expectations, row_tests
from penstock.core.gate.check import problems_of
from penstock.core.gate.covered import COVERED, OWN_PREFIX, gx_type
from penstock.core.gate.expectations import Context, compile_rule
from penstock.core.gate.gx import judge_with_gx
from penstock.core.gate.plan import GatePlan, RowRule, TableRule, Verdict, any_broken, reasons
from penstock.core.gate.row_tests import Predicate, TableTest
from penstock.core.stage import open_session

SEED = int(os.environ.get("PENSTOCK_DIFF_SEED", "20100920"))
TABLES = int(os.environ.get("PENSTOCK_DIFF_TABLES", "12"))
ONLY = [int(number) for number in os.environ.get("PENSTOCK_DIFF_ONLY", "").split(",") if number]
RULES_PER_EXPECTATION = 2

TYPES = {
    "i": "integer",
    "j": "integer",
    "big": "bigint",
    "n": "numeric(8,2)",
    "m": "numeric(8,2)",
    "f": "double precision",
    "r": "real",
    "user": "text",  # a reserved word
    "v": "character varying(12)",
    "d": "date",
    "t": "timestamp without time zone",
    "z": "timestamp with time zone",
    "b": "boolean",
}
"""The columns of every table and their types."""

INTEGERS, DECIMALS, FLOATS = ("i", "j", "big"), ("n", "m"), ("f", "r")
NUMBERS = (*INTEGERS, *DECIMALS, *FLOATS)
TEXTS = ("user", "v")
TIMES = ("d", "t", "z")
PAIRS = (("i", "j"), ("n", "m"), ("f", "r"), ("i", "n"), ("user", "v"), ("d", "t"), ("big", "f"))
WORDS = (
    "",
    " ",
    "A123",
    "a123",
    "it's",
    'say "so"',
    "100%",
    "50_50",
    "%s",
    "%(x)s",
    "back\\slash",
    "Ünïcödé",
    "日本",
    "x\ny",
)
PATTERNS = ("^[A-Z][0-9]{3}$", "", "[0-9]", "%", "'", "^$", r"\\", "^.{2,5}$", "(?i)a", "ü|Ü", "日", "s$")
LIKES = ("", "%", "A%", "_123", "%'%", "100\\%", "%\\%", "50\\_50", '%"%', "日_", "%\\\\%", "%s")
DAY = date(2010, 9, 20)
NOON = datetime(2010, 9, 20, 12, tzinfo=UTC)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


@dataclass
class Table:
    """The rows of one random table, column by column."""

    rng: random.Random
    columns: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.columns["i"])

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows."""
        return list(zip(*self.columns.values(), strict=True))

    def present(self, name: str) -> list[Any]:
        """The values of a column that are not NULL or NaN, or a stand-in where there is none."""
        values = [value for value in self.columns[name] if value is not None and not _is_nan(value)]
        return values or VALUES[name](self.rng, 1)


def _some(rng: random.Random, pool: list[Any], size: int) -> list[Any]:
    """Values from a pool of random width, so that columns differ in how often values repeat."""
    narrow = rng.sample(pool, min(len(pool), rng.choice((1, 2, 5, len(pool)))))
    return [rng.choice(narrow) for _ in range(size)]


def _unique_or_some(rng: random.Random, pool: list[Any], size: int) -> list[Any]:
    return rng.sample(pool, size) if len(pool) >= size and rng.random() < 0.3 else _some(rng, pool, size)


def _cents(rng: random.Random, size: int) -> list[Any]:
    return _unique_or_some(rng, [Decimal(cents) / 100 for cents in range(-200, 400, 5)], size)


def _floats(rng: random.Random, size: int) -> list[Any]:
    pool = [rng.uniform(-5, 5) for _ in range(30)] + [0.1, 0.2, 0.5, 1.0, -0.0, 2.0, 1e10]
    if rng.random() < 0.25:
        pool += [math.nan, math.inf]
    return _some(rng, pool, size)


def _texts(rng: random.Random, size: int) -> list[Any]:
    words = [*WORDS, *(f"{rng.choice('ABab')}{rng.randint(0, 999):03}" for _ in range(40))]
    return _unique_or_some(rng, words, size)


VALUES: Mapping[str, Callable[[random.Random, int], list[Any]]] = {
    "i": lambda rng, size: _unique_or_some(rng, list(range(-40, 41)), size),
    "j": lambda rng, size: _some(rng, list(range(-5, 6)), size),
    "big": lambda rng, size: _some(rng, [*range(-3, 4), 2**40, -(2**40), 2**53 - 2], size),
    "n": _cents,
    "m": _cents,
    "f": _floats,
    "r": lambda rng, size: _some(rng, [-1.5, 0.0, 0.25, 0.1, 1.0, 3.0], size),
    "user": _texts,
    "v": lambda rng, size: [text[:12] for text in _texts(rng, size)],
    "d": lambda rng, size: _unique_or_some(rng, [DAY + timedelta(days=n) for n in range(-40, 41)], size),
    "t": lambda rng, size: _some(rng, [NOON.replace(tzinfo=None) + timedelta(hours=7 * n) for n in range(12)], size),
    "z": lambda rng, size: _some(rng, [NOON + timedelta(hours=7 * n, microseconds=n) for n in range(12)], size),
    "b": lambda rng, size: _some(rng, [True, False], size),
}


def random_table(rng: random.Random, number: int) -> Table:
    """A table; the first has no rows and the second one."""
    size = number if number < 2 else rng.choice((2, 3, 10, rng.randint(4, 60), 60))
    table = Table(rng)
    for name, values in VALUES.items():
        nulls = rng.choice((0, 0, 0.1, 0.5, 1 if number % 3 == 0 else 0.3))
        table.columns[name] = [None if rng.random() < nulls else value for value in values(rng, size)]
    if size > 4 and rng.random() < 0.5:  # equal columns in places, and sums that come out
        for a, b in (("i", "j"), ("n", "m"), ("user", "v")):
            table.columns[b] = [
                (x[:12] if isinstance(x, str) else x) if rng.random() < 0.8 else y
                for x, y in zip(table.columns[a], table.columns[b], strict=True)
            ]
    return table


Kwargs = dict[str, Any]


def _as_json(value: Any) -> Any:
    """A value as YAML and JSON would bring it."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def _bounds(rng: random.Random, values: list[Any]) -> Kwargs:
    """Bounds at, or next to, values that occur."""
    finite = [value for value in values if not isinstance(value, float) or math.isfinite(value)] or [0]
    low, high = sorted((_near(rng, rng.choice(finite)), _near(rng, rng.choice(finite))))
    kwargs: Kwargs = {"min_value": _as_json(low), "max_value": _as_json(high)}
    if rng.random() < 0.4:
        kwargs.pop(rng.choice(("min_value", "max_value")))
    for flag in ("strict_min", "strict_max"):
        if rng.random() < 0.4:
            kwargs[flag] = rng.random() < 0.7
    return kwargs


def _near(rng: random.Random, value: Any) -> Any:
    step = rng.choice((0, 0, 0, 1, -1))
    if isinstance(value, date):  # a datetime too
        return value + timedelta(days=step)
    return value + (Decimal(step) / 100 if isinstance(value, Decimal) else step)


def _ordered(rng: random.Random, table: Table) -> Kwargs:
    name = rng.choice((*NUMBERS, *TIMES))
    values = table.present(name)
    if name in ("t", "z") and rng.random() < 0.5:  # bounds that are days
        values = [value.date() for value in values]
    return {"column": name, **_bounds(rng, values)}


def _of_texts(key: str, pool: tuple[str, ...]) -> Callable[[random.Random, Table], Kwargs]:
    return lambda rng, _: {"column": rng.choice(TEXTS), key: rng.choice(pool)}


def _of_text_lists(key: str, pool: tuple[str, ...], *, matching: bool) -> Callable[[random.Random, Table], Kwargs]:
    def make(rng: random.Random, table: Table) -> Kwargs:
        kwargs: Kwargs = {"column": rng.choice(TEXTS), key: rng.sample(pool, rng.randint(1, 3))}
        if matching and rng.random() < 0.7:
            kwargs["match_on"] = rng.choice(("any", "all"))
        return kwargs

    return make


def _set_of(rng: random.Random, table: Table) -> Kwargs:
    name = rng.choice([name for name in TYPES if name not in FLOATS])
    values = list(dict.fromkeys(table.present(name)))
    chosen = [_as_json(value) for value in rng.sample(values, rng.choice((1, min(3, len(values)), len(values))))]
    return {"column": name, "value_set": [*chosen, None] if rng.random() < 0.2 else chosen}


def _column(rng: random.Random, table: Table) -> Kwargs:
    return {"column": rng.choice(tuple(TYPES))}


def _pair(rng: random.Random, table: Table) -> Kwargs:
    kwargs: Kwargs = dict(zip(("column_A", "column_B"), rng.choice(PAIRS), strict=True))
    if rng.random() < 0.7:
        kwargs["ignore_row_if"] = rng.choice(("both_values_are_missing", "either_value_is_missing", "neither"))
    return kwargs


def _greater(rng: random.Random, table: Table) -> Kwargs:
    return _pair(rng, table) | ({"or_equal": rng.random() < 0.7} if rng.random() < 0.6 else {})


def _several(rng: random.Random, kwargs: Kwargs) -> Kwargs:
    if rng.random() < 0.7:
        kwargs["ignore_row_if"] = rng.choice(("all_values_are_missing", "any_value_is_missing", "never"))
    return kwargs


def _compound(rng: random.Random, table: Table) -> Kwargs:
    return _several(rng, {"column_list": rng.sample(tuple(TYPES), rng.randint(2, 3))})


def _sum(rng: random.Random, table: Table) -> Kwargs:
    names = rng.choice((["i", "j"], ["n", "m"], ["i", "n", "j"], ["j", "r"]))
    row = rng.choice([[_as_json(table.columns[name][at]) or 0 for name in names] for at in range(table.size)] or [[0]])
    return _several(rng, {"column_list": names, "sum_total": round(sum(row), 2)})


def _counted(rng: random.Random, count: int) -> Kwargs:
    return _bounds(rng, [count, count, count + 1, max(0, count - 1)])


def _aggregate(rng: random.Random, table: Table, observe: Callable[[list[float]], float]) -> Kwargs:
    name = rng.choice(NUMBERS)
    values = [float(value) for value in table.present(name) if math.isfinite(value)] or [0.0]
    # Not at the edge where the last digit is not certain.
    edge = round(observe(values)) + 0.37 if name in FLOATS else observe(values)
    return {"column": name, **_bounds(rng, [edge, min(values), max(values)])}


def _share(rng: random.Random, table: Table) -> Kwargs:
    parts = max(1, table.size)
    return {**_column(rng, table), **_bounds_of_share(rng, [n / parts for n in range(parts + 1)])}


def _bounds_of_share(rng: random.Random, shares: list[float]) -> Kwargs:
    bounds = _bounds(rng, shares)
    return {key: value if isinstance(value, bool) else min(1.0, max(0.0, value)) for key, value in bounds.items()}


def _pairs_in_set(rng: random.Random, table: Table) -> Kwargs:
    a, b = rng.choice([pair for pair in PAIRS if "f" not in pair])
    rows = list(dict.fromkeys(zip(table.columns[a], table.columns[b], strict=True)))
    rows = rows or [(table.present(a)[0], table.present(b)[0])]
    chosen = rng.sample(rows, rng.choice((1, min(4, len(rows)), len(rows))))
    kwargs: Kwargs = {"column_A": a, "column_B": b}
    kwargs["value_pairs_set"] = [[_as_json(x), _as_json(y)] for x, y in chosen]
    if rng.random() < 0.7:
        kwargs["ignore_row_if"] = rng.choice(("both_values_are_missing", "either_value_is_missing", "neither"))
    return kwargs


ALIKE = (["i", "j"], ["n", "m", "i"], ["user", "v"], ["d", "t"], ["i", "n", "big"], ["f", "r"])


def _alike(rng: random.Random, table: Table) -> Kwargs:
    return _several(rng, {"column_list": rng.choice(ALIKE)})


def _z_scores(rng: random.Random, table: Table) -> Kwargs:
    threshold = rng.choice((-1, 0.5, 1, 1.37, 2, 3))
    return {"column": rng.choice(NUMBERS), "threshold": threshold, "double_sided": rng.random() < 0.5}


def _outliers(rng: random.Random, table: Table) -> Kwargs:
    kwargs: Kwargs = {"column": rng.choice(NUMBERS)}
    if rng.random() < 0.7:
        method = rng.choice(("iqr", "std"))
        # Equal decimals differ from their own mean in GX, which compares a decimal with a binary number.
        kwargs["method"] = "iqr" if kwargs["column"] in DECIMALS else method
    return kwargs | ({"multiplier": rng.choice((0.51, 1.03, 2.5))} if rng.random() < 0.7 else {})


def _quantiles(rng: random.Random, table: Table) -> Kwargs:
    name = rng.choice(NUMBERS)
    values = sorted(float(value) for value in table.present(name) if math.isfinite(value)) or [0.0]
    shares = rng.sample((0, 0.05, 0.25, 0.5, 0.75, 0.95, 1), rng.randint(1, 3))
    ranges: list[list[float | None]] = []
    for share in shares:
        at = values[min(len(values) - 1, int(share * len(values)))]
        low, high = sorted((at + rng.choice((0, -1, 0.5)), at + rng.choice((0, 1, -0.5, 3))))
        ranges.append([rng.choice((low, low, None)), rng.choice((high, high, None))])
    return {"column": name, "quantile_ranges": {"quantiles": shares, "value_ranges": ranges}}


def _median(rng: random.Random, table: Table) -> Kwargs:
    name = rng.choice(NUMBERS)
    values = sorted(float(value) for value in table.present(name) if math.isfinite(value)) or [0.0]
    # Off the edge for decimals: of 3.40 and 3.4 Great Expectations compares a decimal with a binary number.
    middle = statistics.median(values) + (0.003 if name in DECIMALS else 0)
    return {"column": name, **_bounds(rng, [middle, middle, middle - 1.001, middle + 2.001])}


def _common(rng: random.Random, table: Table) -> Kwargs:
    name = rng.choice((*INTEGERS, *TEXTS, "b"))
    counts = Counter(table.present(name)).most_common()
    chosen = [value for value, _ in counts[: rng.choice((1, 2, 5))]] or [table.present(name)[0]]
    kwargs: Kwargs = {"column": name, "value_set": rng.sample(chosen, rng.randint(1, len(chosen)))}
    return kwargs | ({"ties_okay": rng.random() < 0.7} if rng.random() < 0.6 else {})


def _whole_set(rng: random.Random, table: Table) -> Kwargs:
    """All of a column's values, one less, or one more; GX counts what is in the set, which text finds in no float."""
    name = rng.choice([name for name in TYPES if name not in FLOATS])
    values = [_as_json(value) for value in dict.fromkeys(table.present(name))]
    extra = [_as_json(value) for value in VALUES[name](rng, 1) if _as_json(value) not in values]
    which = rng.random()
    if which < 0.3 and len(values) > 1:
        values.pop(rng.randrange(len(values)))
    elif which < 0.5:
        values += extra
    return {"column": name, "value_set": values}


def _type_of(key: str) -> Callable[[random.Random, Table], Kwargs]:
    def make(rng: random.Random, table: Table) -> Kwargs:
        name = rng.choice(tuple(TYPES))
        type_ = rng.choice((str.upper, str.lower))(gx_type(TYPES[name]))
        return {"column": name, key: type_ if key == "type_" else [type_, "JSONB"]}

    return make


QUERIES = (
    "SELECT * FROM {batch} WHERE i > 3",
    "select * from {batch} where n < m /* a comment */",
    "SELECT * FROM {batch} WHERE n > (SELECT avg(n) FROM {batch}) AND \"user\" LIKE '%1%';",
    "SELECT * FROM {batch} WHERE j = 2 ORDER BY i LIMIT 2",
    "SELECT i FROM {batch} WHERE i > 38",
    "SELECT j, count(*) FROM {batch} WHERE j IS NOT NULL GROUP BY j HAVING count(*) > 20",
    "SELECT * FROM {batch} WHERE v ~ '^a{{3}}$'",
)

Maker = Callable[[random.Random, Table], Kwargs]
MAKERS: Mapping[str, Maker] = {
    "expect_column_values_to_not_be_null": _column,
    "expect_column_values_to_be_null": _column,
    "expect_column_values_to_be_unique": _column,
    "expect_compound_columns_to_be_unique": _compound,
    "expect_column_values_to_be_between": _ordered,
    "expect_column_values_to_be_in_set": _set_of,
    "expect_column_values_to_not_be_in_set": _set_of,
    "expect_column_values_to_match_regex": _of_texts("regex", PATTERNS),
    "expect_column_values_to_not_match_regex": _of_texts("regex", PATTERNS),
    "expect_column_values_to_match_regex_list": _of_text_lists("regex_list", PATTERNS, matching=True),
    "expect_column_values_to_not_match_regex_list": _of_text_lists("regex_list", PATTERNS, matching=False),
    "expect_column_values_to_match_like_pattern": _of_texts("like_pattern", LIKES),
    "expect_column_values_to_not_match_like_pattern": _of_texts("like_pattern", LIKES),
    "expect_column_values_to_match_like_pattern_list": _of_text_lists("like_pattern_list", LIKES, matching=True),
    "expect_column_values_to_not_match_like_pattern_list": _of_text_lists("like_pattern_list", LIKES, matching=False),
    "expect_column_value_lengths_to_be_between": lambda rng, table: {
        "column": (name := rng.choice(TEXTS)),
        **_bounds(rng, [len(text) for text in table.present(name)]),
    },
    "expect_column_value_lengths_to_equal": lambda rng, table: {
        "column": (name := rng.choice(TEXTS)),
        "value": len(rng.choice(table.present(name))),
    },
    "expect_column_pair_values_a_to_be_greater_than_b": _greater,
    "expect_column_pair_values_to_be_equal": _pair,
    "expect_multicolumn_sum_to_equal": _sum,
    "expect_table_row_count_to_equal": lambda rng, table: {"value": table.size + rng.choice((0, 0, 1))},
    "expect_table_row_count_to_be_between": lambda rng, table: _counted(rng, table.size),
    "expect_column_min_to_be_between": _ordered,
    "expect_column_max_to_be_between": _ordered,
    "expect_column_mean_to_be_between": lambda rng, table: _aggregate(
        rng, table, lambda values: sum(values) / len(values)
    ),
    "expect_column_sum_to_be_between": lambda rng, table: _aggregate(rng, table, sum),
    "expect_column_stdev_to_be_between": lambda rng, table: _aggregate(rng, table, lambda _: 2.0),
    "expect_column_unique_value_count_to_be_between": lambda rng, table: {
        "column": (name := rng.choice(tuple(TYPES))),
        **_counted(rng, len({value for value in table.columns[name] if value is not None})),
    },
    "expect_column_proportion_of_unique_values_to_be_between": _share,
    "expect_column_proportion_of_non_null_values_to_be_between": _share,
    "expect_column_pair_values_to_be_in_set": _pairs_in_set,
    "expect_select_column_values_to_be_unique_within_record": _alike,
    "expect_multicolumn_values_to_be_equal": _alike,
    "expect_column_value_z_scores_to_be_less_than": _z_scores,
    "expect_column_values_to_not_be_outliers": _outliers,
    "expect_column_median_to_be_between": _median,
    "expect_column_quantile_values_to_be_between": _quantiles,
    "expect_column_most_common_value_to_be_in_set": _common,
    "expect_column_distinct_values_to_be_in_set": _whole_set,
    "expect_column_distinct_values_to_contain_set": _whole_set,
    "expect_column_distinct_values_to_equal_set": _whole_set,
    "expect_column_values_to_be_of_type": _type_of("type_"),
    "expect_column_values_to_be_in_type_list": _type_of("type_list"),
    "expect_column_type_to_be": _type_of("type_"),
    "expect_table_row_count_to_equal_other_table": lambda rng, _: {"other_table_name": rng.choice(("none", "ten"))},
    "unexpected_rows_expectation": lambda rng, _: {"unexpected_rows_query": rng.choice(QUERIES)},
}
"""Random kwargs for each expectation."""


def _comparison(rng: random.Random, table: Table) -> Any:
    """One condition on a row, as text or as a mapping."""
    name = rng.choice([name for name in TYPES if name not in ("b", "f")])
    if rng.random() < 0.25:
        return {"type": "nullity", "column": {"name": name}, "is_null": rng.random() < 0.5}
    value = _as_json(rng.choice(table.present(name)))
    if rng.random() < 0.25 and name != "r":
        set_ = [_as_json(each) for each in table.present(name)[: rng.randint(1, 4)]]
        operator = rng.choice(("IN", "NOT_IN"))
        return {"type": "comparison", "column": {"name": name}, "operator": operator, "parameter": set_}
    operator = rng.choice(("==", "!=", "<", "<=", ">", ">="))
    return {"type": "comparison", "column": {"name": name}, "operator": operator, "parameter": value}


UNCONDITIONAL = re.compile("expect_column_(distinct|most_common|quantile|median|pair_values_to_be_in_set).*")
"""Under a `row_condition` Great Expectations raises on these, or counts rows that the condition leaves out; it raises
too where every row is considered. `test_a_condition_judges_only_its_rows` holds these against the plan itself."""


def _with_condition(rng: random.Random, table: Table, expectation: str, make: Maker) -> Kwargs:
    """Random kwargs, with a `row_condition` for some of the rules that Great Expectations can judge under one."""
    kwargs = make(rng, table)
    raises = UNCONDITIONAL.match(expectation) or kwargs.get("ignore_row_if") in ("neither", "never")
    if raises or not COVERED[expectation].conditional or rng.random() < 0.6:
        return kwargs
    return kwargs | some_condition(rng, table)


def some_condition(rng: random.Random, table: Table) -> Kwargs:
    """A `row_condition` as text or as a mapping."""
    if rng.random() < 0.3:
        name, value = rng.choice(("i", "n")), rng.choice((-1, 0, 2, 2.5))
        texts = (
            f'col("{name}") > {value}',
            f'col("{name}").notNull()',
            "col(\"user\") == 'A123'",
            'col("v") != "a123"',
        )
        return {"row_condition": rng.choice(texts), "condition_parser": "great_expectations"}
    parts = [_comparison(rng, table) for _ in range(rng.randint(1, 3))]
    if len(parts) == 1:
        return {"row_condition": parts[0]}
    return {"row_condition": {"type": rng.choice(("and", "or")), "conditions": parts}}


def random_rules(rng: random.Random, table: Table) -> list[Rule]:
    """Rules of all expectations for a table, all of them sound."""
    rules = [
        Rule(
            f"{expectation}.{number}",
            expectation,
            _with_condition(rng, table, expectation, make),
        )
        for expectation, make in MAKERS.items()
        for number in range(1 if "quantile" in expectation else RULES_PER_EXPECTATION)  # two on a column confuse GX
    ]
    assert {rule.id: problems for rule in rules if (problems := problems_of(rule, TYPES))} == {}
    return rules


def plan_of(rules: list[Rule]) -> GatePlan:
    """The gate plan of rules without a contract."""
    row_rules, table_rules = [], []
    for rule in rules:
        test = compile_rule(rule, Context(TYPES))
        assert test is not None, f"the plan does not cover {rule}"
        if isinstance(test, TableTest):
            table_rules.append(TableRule(rule, test))
        else:
            row_rules.append(RowRule(rule, test))
    return GatePlan(tuple(row_rules), tuple(table_rules), ())


def scan(cur: Cursor, plan: GatePlan, table: Identifier) -> dict[str, Verdict]:
    """The plan's verdicts by rule."""
    cur.execute(plan.scan(table))
    row = cur.fetchone()
    assert row is not None
    return {verdict.rule.id: verdict for verdict in plan.read_scan(row)}


def at_the_edge(rng: random.Random, rules: list[Rule], verdicts: Mapping[str, Verdict]) -> list[Rule]:
    """The rules, some row-level ones with a `mostly` that is just, or just not, reached."""
    found = []
    for rule in rules:
        verdict = verdicts[rule.id]
        if not COVERED[rule.expectation].about_rows or rng.random() < 0.4:
            found.append(rule)
            continue
        share = (verdict.considered - (verdict.unexpected or 0)) / (verdict.considered or 1)
        mostly = rng.choice((share, math.nextafter(share, 2), math.nextafter(share, -1), rng.random(), 0, 1))
        found.append(Rule(rule.id, rule.expectation, {**rule.kwargs, "mostly": min(1.0, max(0.0, mostly))}))
    return found


def _same_value(ours: str | None, theirs: str | None) -> bool:
    """Whether two observed values are the same.

    Sums of floats differ in the last digits by the order of the rows, which is Postgres' choice; a sum of `real` is a
    `real` with some six digits, of which large terms that cancel each other leave five. Of a time that it
    compared with a day Great Expectations gives the day.
    """
    if ours is None or theirs is None:
        return ours == theirs
    if ours.endswith(" more") or len(theirs) >= 1000:  # cut short
        return True
    pairs = zip(sorted(ours.split(", ")), sorted(theirs.split(", ")), strict=False)
    return ours.count(", ") == theirs.count(", ") and all(_same_item(*pair) for pair in pairs)


def _same_item(ours: str, theirs: str) -> bool:
    try:
        return ours == theirs or math.isclose(float(ours), float(theirs), rel_tol=1e-5, abs_tol=1e-5)
    except ValueError:
        return ours.replace(" ", "T").startswith(theirs.replace(" ", "T"))


def alike(ours: Verdict, theirs: Verdict) -> bool:
    """Whether two verdicts say the same; of a query for unexpected rows Great Expectations observes their number."""
    if ours.rule.expectation == "unexpected_rows_expectation" and ours.unexpected is not None:
        return (ours.success, str(ours.unexpected)) == (theirs.success, theirs.observed)
    counts = [(verdict.success, verdict.considered, verdict.unexpected) for verdict in (ours, theirs)]
    return counts[0] == counts[1] and _same_value(ours.observed, theirs.observed)


def unexpected_of(theirs: Verdict) -> int | None:
    """The rows that Great Expectations found unexpected."""
    by_query = theirs.rule.expectation == "unexpected_rows_expectation"
    return int(theirs.observed or 0) if by_query else theirs.unexpected


def told(verdict: Verdict) -> str:
    """A verdict in a line."""
    outcome = "kept" if verdict.success else "broken"
    return f"{outcome}, {verdict.unexpected} of {verdict.considered}, observed {verdict.observed}"


def fill(cur: Cursor, name: Identifier, table: Table) -> None:
    """Make a table in Postgres."""
    columns = SQL(", ").join(SQL("{} {}").format(Identifier(name), SQL(type_)) for name, type_ in TYPES.items())
    cur.execute(SQL("CREATE TABLE {} ({})").format(name, columns))
    if table.size:
        execute_values(cur, SQL("INSERT INTO {} VALUES %s").format(name), table.rows())


def split(cur: Cursor, plan: GatePlan, name: Identifier) -> dict[str, int]:
    """How many rows the plan moves aside for each rule, when it moves all at once; the rows are put back."""
    rules = list(plan.row_rules)
    cur.execute("SAVEPOINT split")
    cur.execute(
        SQL("WITH gone AS (DELETE FROM {} WHERE {} RETURNING {} AS why) SELECT unnest(why) AS rule, count(*)"
            " FROM gone GROUP BY 1").format(name, any_broken(rules, name), reasons(rules, name))
    )  # fmt: skip
    moved = dict(cur.fetchall())
    cur.execute("ROLLBACK TO SAVEPOINT split")
    return {rule.rule.id: moved.get(rule.rule.id, 0) for rule in rules}


@dataclass
class Comparison:
    """What came of one table."""

    number: int
    rules: dict[str, Rule]
    ours: dict[str, Verdict]
    theirs: dict[str, Verdict]
    moved: dict[str, int]


@pytest.fixture(scope="module")
def comparisons(pg: Any) -> Iterator[list[Comparison]]:
    """All tables, judged by the plan and by Great Expectations."""
    print(f"PENSTOCK_DIFF_SEED={SEED} PENSTOCK_DIFF_TABLES={TABLES}")  # noqa: T201 - shown when a test fails
    dsn = pg.create_database()
    conn = psycopg2.connect(dsn)
    open_session(conn)
    with conn, conn.cursor() as cur:
        cur.execute("CREATE TABLE public.none (); CREATE TABLE public.ten AS SELECT * FROM generate_series(1, 10)")
    found = []
    for number in ONLY or range(TABLES):
        rng = random.Random(f"{SEED} {number}")  # noqa: S311 - not for secrets
        table, name = random_table(rng, number), Identifier("public", f"t{number}")
        with conn, conn.cursor() as cur:
            fill(cur, name, table)
            rules = random_rules(rng, table)
            rules = at_the_edge(rng, rules, scan(cur, plan_of(rules), name))
            plan = plan_of(rules)
            ours, moved = scan(cur, plan, name), split(cur, plan, name)
        theirs = {verdict.rule.id: verdict for verdict in judge_with_gx(dsn, name, rules)}
        found.append(Comparison(number, {rule.id: rule for rule in rules}, ours, theirs, moved))
    conn.close()
    yield found
    pg.drop_database(dsn.rsplit("/", 1)[1])


def test_every_covered_expectation_has_random_rules() -> None:
    """No expectation is covered by the plan without being held against Great Expectations here."""
    beyond_sql = {name for name in COVERED if "json_parseable" in name or "strftime" in name}  # see below
    own = {name for name in COVERED if name.startswith(OWN_PREFIX)}
    assert MAKERS.keys() == COVERED.keys() - own - beyond_sql


def test_plan_and_great_expectations_agree(comparisons: list[Comparison]) -> None:
    """Same success, same considered and unexpected rows, same observed value, for every rule on every table."""
    differences = [
        f"table {c.number}: {c.rules[id_].expectation} {dict(c.rules[id_].kwargs)}:"
        f" plan: {told(c.ours[id_])}; GX: {told(c.theirs[id_])}"
        for c in comparisons
        for id_ in c.rules
        if not alike(c.ours[id_], c.theirs[id_])
    ]
    assert not differences, f"seed {SEED}:\n" + "\n".join(differences)


def test_split_moves_exactly_the_unexpected_rows(comparisons: list[Comparison]) -> None:
    """For each row-level rule, as many rows are moved aside in its name as Great Expectations finds unexpected."""
    differences = [
        f"table {c.number}: {c.rules[id_]}: {moved} rows moved, {unexpected_of(c.theirs[id_])} unexpected"
        for c in comparisons
        for id_, moved in c.moved.items()
        if moved != unexpected_of(c.theirs[id_])
    ]
    assert not differences, f"seed {SEED}:\n" + "\n".join(differences)


JSON_TEXTS = (
    "{}",
    "[1, 2",
    '{"a": {"b": [null, 1e5]}}',
    "nul",
    "null",
    "",
    " ",
    "1",
    "01",
    '"x"',
    "'x'",
    "{a: 1}",
    "[]x",
)


def test_what_great_expectations_judges_in_pandas_only(bench: Any) -> None:
    """JSON and dates by format: the plan finds the rows that GX finds in a data frame, where it has no SQL."""
    import great_expectations as gx
    import pandas as pd

    texts = [*JSON_TEXTS, "2026-01-31", "2026-02-30", "2026-1-1", "31.12.2026", None]
    bench.fill("texts", '"user" text', [(text,) for text in texts])
    batch = (
        gx.get_context(mode="ephemeral")
        .data_sources.add_pandas("pandas")
        .add_dataframe_asset("texts")
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": pd.DataFrame({"user": texts})})
    )
    for rule in (
        Rule("json", "expect_column_values_to_be_json_parseable", {"column": "user"}),
        Rule("day", "expect_column_values_to_match_strftime_format", {"column": "user", "strftime_format": "%Y-%m-%d"}),
    ):
        theirs = batch.validate(compile_expectation(rule)).result
        with bench.conn, bench.conn.cursor() as cur:
            ours = scan(cur, plan_of([rule]), Identifier("src", "texts"))[rule.id]
        considered = theirs["element_count"] - theirs["missing_count"]
        assert (ours.unexpected, ours.considered) == (theirs["unexpected_count"], considered)


def test_a_condition_judges_only_its_rows(comparisons: list[Comparison], bench: Any) -> None:
    """Under a `row_condition` each rule says what it says of a table that holds the rows of the condition only."""
    for number in range(2, 8):
        rng = random.Random(f"{SEED} condition {number}")  # noqa: S311 - not for secrets
        table, name, part = random_table(rng, number), Identifier("src", "whole"), Identifier("src", "part")
        bench.run("DROP TABLE IF EXISTS src.whole, src.part")
        condition = some_condition(rng, table)
        rules = [Rule(e, e, make(rng, table)) for e, make in MAKERS.items() if COVERED[e].conditional]
        rules = [rule for rule in rules if "other_table" not in rule.expectation]
        with bench.conn, bench.conn.cursor() as cur:
            fill(cur, name, table)
            probe = compile_rule(Rule("c", "expect_column_values_to_be_null", {"column": "i", **condition}))
            assert isinstance(probe, Predicate)
            cur.execute(SQL("CREATE TABLE {} AS SELECT * FROM {} WHERE {}").format(part, name, probe.considers))
            of_part = scan(cur, plan_of(rules), part)
            plan = plan_of([Rule(rule.id, rule.expectation, {**rule.kwargs, **condition}) for rule in rules])
            under, moved = scan(cur, plan, name), split(cur, plan, name)
        differing = [f"{rule} {condition}" for rule in rules if not alike(under[rule.id], of_part[rule.id])]
        assert differing == []
        assert moved == {id_: verdict.unexpected for id_, verdict in under.items() if id_ in moved}


def test_a_flipped_comparison_is_found(comparisons: list[Comparison], bench: Any, monkeypatch: Any) -> None:
    """Were one comparison of the compiler the other way round, the comparison with Great Expectations would tell."""
    flips = {
        "expect_column_values_to_be_between": ("{} < {}", "{} <= {}"),
        "expect_column_values_to_be_in_set": ("NOT IN", "IN"),
        "expect_column_pair_values_a_to_be_greater_than_b": ("{a} <", "{a} >"),
        "expect_column_values_to_match_regex": ("!~", "~"),
        "expect_column_value_z_scores_to_be_less_than": ("NOT ({} < {})", "NOT ({} <= {} + 0.1)"),
        "expect_column_values_to_be_unique": ("HAVING count(*) > 1", "HAVING count(*) >= 1"),
    }
    for expectation, (right, wrong) in flips.items():
        with monkeypatch.context() as patch:
            for module in (expectations, row_tests):
                patch.setattr(module, "SQL", lambda text, r=right, w=wrong: SQL(text.replace(r, w)))
            assert any(_differs(bench, c, expectation) for c in comparisons), f"{expectation}: {wrong} is not found"


def _differs(bench: Any, compared: Comparison, expectation: str) -> bool:
    """Whether the compiler as it is now disagrees with what Great Expectations found on a table."""
    rules = [rule for rule in compared.rules.values() if rule.expectation == expectation]
    rng = random.Random(f"{SEED} {compared.number}")  # noqa: S311 - not for secrets
    bench.run("DROP TABLE IF EXISTS src.again")
    with bench.conn, bench.conn.cursor() as cur:
        fill(cur, Identifier("src", "again"), random_table(rng, compared.number))
        ours = scan(cur, plan_of(rules), Identifier("src", "again"))
    return not all(alike(ours[rule.id], compared.theirs[rule.id]) for rule in rules)


def test_every_expectation_was_kept_and_broken(comparisons: list[Comparison]) -> None:
    """The run saw each covered expectation succeed and fail, so that agreement means something."""
    seen = {(c.rules[id_].expectation, verdict.success) for c in comparisons for id_, verdict in c.theirs.items()}
    types = {name for name, entry in COVERED.items() if entry.note and "types" in entry.note}  # others are refused
    wanted = {(name, outcome) for name in MAKERS for outcome in (True, False) if outcome or name not in types}
    assert wanted - seen == set()
