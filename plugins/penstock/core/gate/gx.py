"""Ask Great Expectations itself, for rules that the gate plan does not cover.

It runs in the calling process over a connection of its own, in memory: no files, no analytics, no progress bars.
Importing it takes seconds, which only slices with such rules pay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psycopg2.extensions import parse_dsn
from psycopg2.sql import Identifier

from penstock.core.contract.model import Rule, Severity
from penstock.core.contract.suite import RULE_META, compile_expectation
from penstock.core.errors import ContractError, PenstockError, SourceUnavailable
from penstock.core.gate.custom import import_custom
from penstock.core.gate.expectations import mostly_of
from penstock.core.gate.plan import Verdict

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.datasource.fluent.interfaces import Batch

_URL_VARIABLE: Final = "penstock_warehouse_url"
_DRIVER: Final = re.compile(r"^postgres(ql)?(\+\w+)?://")  # libpq knows no SQLAlchemy drivers
_COUNTS_ONLY: Final = {"result_format": "BASIC", "partial_unexpected_count": 0}  # no values leave the database
_LONGEST_OBSERVED: Final = 1000  # characters
_ROW: Final = "_ctid"
MOST_ROWS: Final = 100_000
"""Of a rule that more rows break, Great Expectations is not asked which they are; they would all be in memory."""


def _tcp_url(dsn_or_url: str) -> tuple[str, str]:
    """Return the SQLAlchemy URL of a Postgres and the password in it.

    Raises:
        PenstockError: The connection is through a unix socket, which Great Expectations refuses.
    """
    from sqlalchemy import URL

    parts = parse_dsn(_DRIVER.sub("postgresql://", dsn_or_url))
    host = parts.pop("host", "")
    if not host or host.startswith("/"):
        raise PenstockError(
            "The contract has rules that only Great Expectations can judge, and it needs the warehouse over TCP.",
            next_step="give the warehouse's connection a host, such as 127.0.0.1.",
        )
    password = parts.pop("password", "")
    url = URL.create(
        "postgresql+psycopg2",  # stated: SQLAlchemy 2.1 would take psycopg 3
        username=parts.pop("user", None),
        password=password or None,
        host=host,
        port=int(parts.pop("port", "5432")),
        database=parts.pop("dbname", None),
        # Bounds and observed times are UTC, as in the gate's own sessions.
        query={**parts, "options": f"{parts.get('options', '')} -c timezone=UTC".strip()},
    )
    return url.render_as_string(hide_password=False), password


@contextmanager
def _open_batch(dsn_or_url: str, table: Identifier, *, with_rows: bool) -> Iterator[Batch]:
    """Give a table to Great Expectations; its connections are closed at the end.

    Args:
        dsn_or_url: The warehouse.
        table: Schema and name.
        with_rows: Whether to add the `ctid` of each row as a column.

    Raises:
        PenstockError: The connection is through a unix socket.
        SourceUnavailable: Great Expectations could not read the table.
    """
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    url, password = _tcp_url(dsn_or_url)
    schema, name = table.strings
    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            progress_bars={"globally": False},
            analytics_enabled=False,
        ),
        # The datasource holds the variable's name, so that no repr or log of it shows the password.
        runtime_environment={_URL_VARIABLE: url},
    )
    engines = []
    try:
        try:
            source = context.data_sources.add_postgres("warehouse", connection_string=f"${{{_URL_VARIABLE}}}")
            engines.append(source.get_engine())
            if with_rows:
                query = f'SELECT ctid::text AS "{_ROW}", * FROM {_quoted(schema)}.{_quoted(name)}'  # noqa: S608
                asset = source.add_query_asset(name, query=query)
            else:
                asset = source.add_table_asset(name, table_name=name, schema_name=schema)
            batch = asset.add_batch_definition_whole_table("slice").get_batch()
            engines.append(batch.data.execution_engine.engine)
        except Exception as error:
            text = " ".join(_without(password, str(error)).split())
            # `from None`: the original may carry the URL.
            raise SourceUnavailable(f"Great Expectations could not read {schema}.{name}: {text}") from None
        yield batch
    finally:
        for engine in engines:
            engine.dispose()


def judge_with_gx(
    dsn_or_url: str, table: Identifier, rules: Sequence[Rule], custom: Path | None = None
) -> list[Verdict]:
    """Judge rules in Great Expectations; bound to its first argument, this is a `gate.judge.Judge`.

    The rows that break a critical rule about rows are asked for in a second pass, up to `MOST_ROWS`. Where there are
    more, or where the rule is about the slice, a critical rule that fails refuses the slice.

    Args:
        dsn_or_url: The warehouse, over TCP.
        table: Schema and name of a table whose rows are committed.
        rules: The rules.
        custom: Folder of the project's own expectations, or None.

    Returns:
        One verdict per rule, in the order of the rules.

    Raises:
        ContractError: With a line per rule that Great Expectations cannot judge.
        PenstockError: The connection is through a unix socket.
        SourceUnavailable: Great Expectations could not read the table, or the connection was lost.
    """
    if custom is not None:
        import_custom(custom)
    results = _validate(dsn_or_url, table, rules, _COUNTS_ONLY)
    verdicts = [_verdict_of(rule, results[rule.id]) for rule in rules]
    wanted = [verdict for verdict in verdicts if _can_be_split(verdict)]
    if not wanted:
        return verdicts
    found = _rows_of(dsn_or_url, table, wanted)
    return [_with_rows(verdict, found.get(verdict.rule.id, ())) for verdict in verdicts]


def _validate(
    dsn_or_url: str,
    table: Identifier,
    rules: Sequence[Rule],
    result_format: Mapping[str, Any],
    *,
    with_rows: bool = False,
) -> dict[str, ExpectationValidationResult]:
    """Return Great Expectations' results by rule.

    Raises:
        ContractError: With a line per rule that Great Expectations cannot judge.
        SourceUnavailable: The connection was lost.
    """
    from great_expectations import ExpectationSuite

    expectations = [compile_expectation(rule) for rule in rules]
    with _open_batch(dsn_or_url, table, with_rows=with_rows) as batch:
        suite = ExpectationSuite(name=".".join(table.strings), expectations=expectations)
        found = batch.validate(suite, result_format=dict(result_format))
    results = {result.expectation_config.meta[RULE_META]: result for result in found.results}
    _, password = _tcp_url(dsn_or_url)
    problems = [
        f"rule {rule.id}: Great Expectations cannot judge it: {_without(password, message)}"
        for rule in rules
        if (message := _exception_of(results[rule.id]))
    ]
    if any("psycopg2.OperationalError" in problem for problem in problems):  # the server went away
        raise SourceUnavailable("; ".join(problems))
    if problems:
        raise ContractError(problems)
    return results


def _can_be_split(verdict: Verdict) -> bool:
    return verdict.rule.severity is Severity.CRITICAL and 0 < (verdict.unexpected or 0) <= MOST_ROWS


def _rows_of(dsn_or_url: str, table: Identifier, verdicts: Sequence[Verdict]) -> dict[str, tuple[str, ...]]:
    """Return the `ctid` of the rows that break each rule, by the rule's id; of some rules GX says nothing."""
    listing = {
        "result_format": "SUMMARY",
        "partial_unexpected_count": max(verdict.unexpected or 0 for verdict in verdicts),
        "unexpected_index_column_names": [_ROW],
    }
    results = _validate(dsn_or_url, table, [verdict.rule for verdict in verdicts], listing, with_rows=True)
    return {
        id_: tuple(item[_ROW] for item in result.result.get("partial_unexpected_index_list") or ())
        for id_, result in results.items()
    }


def _with_rows(verdict: Verdict, rows: tuple[str, ...]) -> Verdict:
    """Return the verdict of a rule whose broken rows can be set aside; all of them, or the rule refuses the slice."""
    if len(set(rows)) != verdict.unexpected or not rows:
        return verdict
    refuses = verdict.refuses and mostly_of(verdict.rule) < 1
    return replace(verdict, rows=tuple(dict.fromkeys(rows)), refuses=refuses)


def _verdict_of(rule: Rule, result: ExpectationValidationResult) -> Verdict:
    """Turn a result in which nothing was raised into a verdict.

    A result with an `element_count` is about rows: `considered` are those that its `mostly` is a share of.
    """
    success = bool(result.success)
    refuses = not success and rule.severity is Severity.CRITICAL
    counts: Mapping[str, Any] = result.result
    if "element_count" not in counts:
        return Verdict(rule, success, observed=_observed(counts), refuses=refuses)
    considered = counts["element_count"] - counts.get("missing_count", 0)
    unexpected = counts["unexpected_count"] or 0  # of a table without rows GX gives no count
    return Verdict(rule, success, considered=considered, unexpected=unexpected, refuses=refuses)


def _observed(counts: Mapping[str, Any]) -> str | None:
    value = counts.get("observed_value")
    if value is None:
        kinds = ("unexpected", "missing")  # of a set of values GX counts those that should not be, or are not, there
        counted = [f"{counts[f'{kind}_count']} {kind}" for kind in kinds if f"{kind}_count" in counts]
        return ", ".join(counted) or None
    if isinstance(value, dict) and "quantiles" in value:
        value = value["values"]
    if isinstance(value, list):
        if all(item is None for item in value):
            return None
        text = ", ".join(map(str, value))
    else:
        text = json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, dict) else str(value)
    return text[:_LONGEST_OBSERVED]


def _exception_of(result: ExpectationValidationResult) -> str | None:
    """Return what was raised while a rule was judged, on one line; None where nothing was.

    GX gives either one `exception_info` or one for each metric that raised.
    """
    info: Mapping[str, Any] = result.exception_info or {}
    for item in (info, *(value for value in info.values() if isinstance(value, dict))):
        if item.get("raised_exception"):
            return " ".join(str(item.get("exception_message")).split())
    return None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _without(password: str, text: str) -> str:
    return text.replace(password, "***") if password else text
