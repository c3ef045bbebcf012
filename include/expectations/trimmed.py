"""An expectation of this project: texts without blanks at either end.

A contract names it like one of Great Expectations' own:

    quality:
      - name: city_trimmed
        type: custom
        engine: greatExpectations
        implementation: {type: expect_column_values_to_be_trimmed}

Every `.py` in this folder is read. An expectation over a *condition* of the column, as this one is, splits rows: those
that break it go to quarantine. See docs/coverage.md for what the gate judges without importing Great Expectations.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial


class ColumnValuesTrimmed(ColumnMapMetricProvider):
    """The condition in SQL; NULL values are left out by Great Expectations."""

    condition_metric_name = "column_values.trimmed"

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, **_: Any) -> Any:  # noqa: N805 - the decorator makes a class method of it
        return sa.func.btrim(column) == column


class ExpectColumnValuesToBeTrimmed(ColumnMapExpectation):
    """Expect that texts neither begin nor end with blanks."""

    map_metric = "column_values.trimmed"
    success_keys = ("mostly",)
