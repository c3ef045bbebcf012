"""Verdicts of past slices, and the same in the format of Great Expectations.

`ops.rule_result` holds one row for each rule and judged run. From these, `as_validation` makes what
`ExpectationSuiteValidationResult.to_json_dict()` of great-expectations 1.24 gives, without importing it. Rules of
Penstock's own, which Great Expectations does not know, appear there as custom SQL expectations that are described by
the rule's name.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812

OWN: Final = "penstock_"
"""Prefix of expectation types that Great Expectations does not know."""

_SINGLE: Final = 1
_NOTHING_RAISED: Final = {"raised_exception": False, "exception_message": None, "exception_traceback": None}


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What was found of one rule; counts in rows, None for a rule about the whole slice."""

    rule: str
    expectation: str
    kwargs: Mapping[str, Any]
    severity: str
    success: bool
    judged: int | None
    considered: int | None
    unexpected: int | None
    observed: str | None
    samples: Sequence[Mapping[str, str | None]]


@dataclass(frozen=True, slots=True)
class Validation:
    """All verdicts of one run over one slice."""

    dataset: str
    slice_key: str
    run_id: str
    contract_version: str | None
    judged_at: datetime
    results: tuple[RuleResult, ...]

    @property
    def success(self) -> bool:
        """Whether every rule was kept."""
        return all(result.success for result in self.results)


def read_validations(cur: Cursor, dataset: str, limit: int) -> list[Validation]:
    """Return the latest validations of a dataset, the newest first.

    Args:
        cur: Cursor on the warehouse.
        dataset: The dataset.
        limit: The most validations to return.
    """
    cur.execute(
        "WITH latest AS (SELECT slice_key, run_id, max(judged_at) AS judged_at, max(contract_version) AS version"
        " FROM ops.rule_result WHERE dataset = %(dataset)s GROUP BY slice_key, run_id"
        " ORDER BY judged_at DESC LIMIT %(limit)s)"
        " SELECT l.slice_key, l.run_id, l.version, l.judged_at, r.rule, r.expectation, r.kwargs, r.severity,"
        " r.success, r.judged, r.considered, r.unexpected, r.observed, r.samples"
        " FROM latest AS l JOIN ops.rule_result AS r ON r.dataset = %(dataset)s"
        " AND (r.slice_key, r.run_id) = (l.slice_key, l.run_id) ORDER BY l.judged_at DESC, r.id",
        {"dataset": dataset, "limit": limit},
    )
    found: dict[tuple[str, str], list[Any]] = {}
    for slice_key, run_id, version, judged_at, *rest in cur.fetchall():
        found.setdefault((slice_key, run_id), [version, judged_at, []])[2].append(RuleResult(*rest))
    return [
        Validation(dataset, slice_key, run_id, version, judged_at, tuple(results))
        for (slice_key, run_id), (version, judged_at, results) in found.items()
    ]


def suite_name(dataset: str) -> str:
    """Return the name under which Great Expectations files a dataset's suite."""
    return dataset.replace("/", ".")


def as_validation(validation: Validation) -> dict[str, Any]:
    """Return a validation as Great Expectations writes it in JSON."""
    kept = sum(result.success for result in validation.results)
    count = len(validation.results)
    return {
        "success": validation.success,
        "suite_name": suite_name(validation.dataset),
        "suite_parameters": {},
        "id": None,
        "results": [_result(result) for result in validation.results],
        "statistics": {
            "evaluated_expectations": count,
            "successful_expectations": kept,
            "unsuccessful_expectations": count - kept,
            "success_percent": 100.0 * kept / count if count else None,
        },
        "meta": {
            "great_expectations_version": importlib.metadata.version("great-expectations"),
            "run_id": {"run_name": validation.run_id, "run_time": validation.judged_at.isoformat()},
            "validation_time": validation.judged_at.isoformat(),
            "batch_spec": {"data_asset_name": validation.dataset, "slice": validation.slice_key},
            "checkpoint_name": None,
            "contract_version": validation.contract_version,
        },
    }


def _result(result: RuleResult) -> dict[str, Any]:
    return {
        "success": result.success,
        "expectation_config": _config(result),
        "result": _counts(result),
        "meta": {},
        "exception_info": dict(_NOTHING_RAISED),
    }


def _config(result: RuleResult) -> dict[str, Any]:
    config: dict[str, Any] = {
        "type": result.expectation,
        "kwargs": dict(result.kwargs),
        "meta": {"penstock_rule": result.rule, "penstock_expectation": result.expectation},
        "severity": result.severity,
    }
    if result.expectation.startswith(OWN):
        config["type"] = "unexpected_rows_expectation"
        config["kwargs"] = {"unexpected_rows_query": "SELECT * FROM {batch} -- a rule of Penstock's own"}
        config["description"] = result.rule
    return config


def _counts(result: RuleResult) -> dict[str, Any]:
    if result.unexpected is None:
        return {"observed_value": result.observed}
    considered = result.considered or 0
    judged = considered if result.judged is None else result.judged
    missing = max(judged - considered, 0)
    return {
        "element_count": judged,
        "unexpected_count": result.unexpected,
        "missing_count": missing,
        "missing_percent": _percent(missing, judged),
        "unexpected_percent": _percent(result.unexpected, considered),
        "unexpected_percent_total": _percent(result.unexpected, judged),
        "unexpected_percent_nonmissing": _percent(result.unexpected, considered),
        "partial_unexpected_list": [_sample(sample) for sample in result.samples],
    }


def _sample(sample: Mapping[str, str | None]) -> Any:
    """Return the value of a rule about one column, or the values of one about several."""
    return next(iter(sample.values())) if len(sample) == _SINGLE else dict(sample)


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None
