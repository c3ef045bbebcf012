"""The text of a draft contract and of its DAG file, from a profile.

What the source's catalog states becomes a rule that acts; what only the sample shows becomes a warning, which is
counted and holds no row back. So the draft publishes every row that its types can hold, and its author decides later
what shall act. The same profile always gives the same text.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from penstock.core.contract.model import SLICE_FIELD, Mask, Severity
from penstock.core.drift import safe_name
from penstock.core.errors import SourceError
from penstock.core.gate.text_values import is_number
from penstock.core.profile import ENOUGH, ColumnProfile, Profile, is_key_name
from penstock.core.source_file import FileFormat, file_kind

SCHEMA_HEADER: Final = "# yaml-language-server: $schema=../odcs-3.2.schema.json"
_LINE: Final = 120
_SLICE_COLUMN: Final = "slice_day"
_SYSTEM_COLUMNS: Final = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
_BUDGET: Final = 0.05
_CHANGES: Final = re.compile(r"(^|_)(updated|modified|changed|edited|refreshed|last_\w+)(_|$)")
_HAPPENS: Final = re.compile(
    r"(^|_)(created|inserted|added|registered|ordered|placed|sold|booked|invoiced|paid|occurred|happened|received"
    r"|recorded|read|logged|event|sent|timestamp)(_|$)"
)
_PLANNED: Final = re.compile(
    r"(^|_)(birth|birthday|dob|due|valid|expir\w*|deadline|planned|scheduled|until|end|ends|deleted|closed)(_|$)"
)
_SHORT: Final = {"timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp"}
_LOGICAL: Final[Mapping[str, str]] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), "integer"),
    **dict.fromkeys(("numeric", "real", "double precision"), "number"),
    **dict.fromkeys(("json", "jsonb"), "object"),
    **{name: name for name in ("boolean", "date")},
    **dict.fromkeys(("timestamp with time zone", "timestamp without time zone"), "timestamp"),
    **dict.fromkeys(("time with time zone", "time without time zone"), "time"),
}


@dataclass(frozen=True, slots=True)
class TableSource:
    """A table, or view, of a Postgres behind an Airflow connection."""

    conn_id: str
    table: str


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file or URL; `path` as `FileExtractOperator` takes it."""

    path: str
    form: FileFormat


Source = TableSource | FileSource


@dataclass(frozen=True, slots=True)
class Drafted:
    """A draft.

    Attributes:
        contract: Text of the contract's file.
        dag: Text of the DAG's file.
        columns: Name, type and what the sample shows of each column.
        decisions: What was decided and why, a line each.
        last_day: The last day (ISO) of which the sample has rows, where slices are cut by the source's days.
    """

    contract: str
    dag: str
    columns: list[tuple[str, str, str]]
    decisions: list[str]
    last_day: str | None


@dataclass(frozen=True, slots=True)
class _Slicing:
    """How the source is cut; `field` None for a `$slice` column."""

    mode: str
    field: str | None
    why: str


def draft(dataset: str, profile: Profile, source: Source, *, owner: str | None = None) -> Drafted:
    """Write a contract and a DAG that run as they are.

    Args:
        dataset: `<domain>/<table>`.
        profile: What is known of the source.
        source: Where it is.
        owner: Channel of those who are to be told, e.g. `#shop-data`.

    Raises:
        SourceError: The source has no column.
    """
    if not profile.columns:
        raise SourceError("The source has no column.", dataset=dataset)
    profile, loosened = _loosened(profile)
    slicing = _slicing(profile, source)
    names = _names(profile)
    text = _Contract(dataset, profile, slicing, names, owner)
    return Drafted(
        contract=text.write(source),
        dag=_dag(dataset, slicing, source, owner),
        columns=[(names[column.field], column.type, text.seen(column)) for column in profile.columns],
        decisions=[*text.decisions(), *loosened],
        last_day=_last_day(profile, slicing),
    )


def _loosened(profile: Profile) -> tuple[Profile, list[str]]:
    """Take columns for text until what does not cast is well within the quarantine budget."""
    columns, told = list(profile.columns), []
    while sum(column.misfits for column in columns) > _BUDGET / 2 * profile.rows:
        worst = max(columns, key=lambda column: column.misfits)
        columns[columns.index(worst)] = replace(worst, type="text", format=None, misfits=0, least=None, greatest=None)
        told.append(f"{worst.field}: text, for too many rows would go to quarantine: {worst.remark}")
    return replace(profile, columns=tuple(columns)), told


# --- decisions ---------------------------------------------------------------------------------------------------


def _words(field: str) -> str:
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", field).lower()


def _slicing(profile: Profile, source: Source) -> _Slicing:
    if isinstance(source, FileSource):
        if "{slice}" in source.path:
            return _Slicing("replace_partition", None, "a slice is the file that carries its day in its name")
        return _Slicing("snapshot", None, "a slice is the whole file, as it is on that day")
    whole = [column for column in profile.columns if column.is_moment and (column.not_null or _always(column))]
    changes = [c for c in whole if _CHANGES.search(_words(c.field)) and c.type != "date" and c.field not in profile.key]
    if profile.key and changes:
        field = min(changes, key=lambda column: not column.not_null).field
        why = f"{field} tells when a row was changed last: a slice is the rows changed on its day, merged by the key"
        return _Slicing("merge", field, why)
    happens = [c for c in whole if not _PLANNED.search(_words(c.field)) and not _CHANGES.search(_words(c.field))]
    if happens:
        best = min(happens, key=lambda c: (not _HAPPENS.search(_words(c.field)), not c.not_null, c.type == "date"))
        why = f"a slice is the rows whose {best.field} is on its day; they replace what was loaded for that day"
        return _Slicing("replace_partition", best.field, why)
    why = "no column without nulls tells when a row came about: a slice is the whole table, as it is on that day"
    return _Slicing("snapshot", None, why)


def _always(column: ColumnProfile) -> bool:
    return column.rows > 0 and column.nulls == 0


def _names(profile: Profile) -> dict[str, str]:
    """Return the column's name by field."""
    names: dict[str, str] = {}
    for column in profile.columns:
        names[column.field] = safe_name(column.field, {*names.values(), *_SYSTEM_COLUMNS})
    return names


def _last_day(profile: Profile, slicing: _Slicing) -> str | None:
    last = next((column.greatest for column in profile.columns if column.field == slicing.field), None)
    return None if last is None else str(last)[:10]


# --- the contract ------------------------------------------------------------------------------------------------


def _flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf)
    line = text.removesuffix("\n").removesuffix("\n...")
    return json.dumps(value, ensure_ascii=False) if "\n" in line else line  # JSON is YAML, and escapes line ends


def _logical(pg_type: str) -> str:
    if pg_type.endswith("[]"):
        return "array"
    base = re.sub(r"\(.*\)", "", pg_type)
    return _LOGICAL.get(base, "string")


def _bounds(column: ColumnProfile) -> dict[str, int | float]:
    """Return the bounds of plausible numbers; empty where the sample has none. Zero is within."""
    if column.least is None:
        return {}
    least = _bound(Decimal(column.least), ROUND_FLOOR)
    greatest = _bound(Decimal(column.greatest), ROUND_CEILING)
    return {"min_value": min(least, 0), "max_value": max(greatest, 0)}


def _bound(value: Decimal, rounding: str) -> int | float:
    """Round to the leading digit, away from what was seen: 7342 to 8000."""
    if not value:
        return 0
    rounded = value.quantize(Decimal(1).scaleb(value.adjusted()), rounding)
    return int(rounded) if rounded == rounded.to_integral_value() else float(rounded)


class _Contract:
    """Writes one contract."""

    def __init__(
        self, dataset: str, profile: Profile, slicing: _Slicing, names: Mapping[str, str], owner: str | None
    ) -> None:
        self.domain, self.table = dataset.split("/")
        self.profile, self.slicing, self.names, self.owner = profile, slicing, names, owner
        self.slice_name = safe_name(_SLICE_COLUMN, set(names.values()))
        self.key = [names[field] for field in profile.key]
        if self.key and slicing.field is None:
            self.key = [self.slice_name, *self.key]

    def decisions(self) -> list[str]:
        """Return what was decided and why."""
        profile, slicing = self.profile, self.slicing
        told = [f"{slicing.mode} by {self._cut_by()}: {slicing.why}"]
        if slicing.field is None:
            told.append(f"{self.slice_name}: a column that the source does not send; it holds the slice's day")
        if self.key:
            told.append(f"key ({', '.join(profile.key)}): {profile.key_from}")
        else:
            told.append("no key: neither the catalog nor the sample tells one, so rows that repeat are all loaded")
        renamed = [f"{name} ({field})" for field, name in self.names.items() if name != field]
        if renamed:
            told.append(f"names that need no quotes in SQL: {', '.join(renamed)}")
        for column in profile.columns:
            name = self.names[column.field]
            if column.field == slicing.field:
                told += self._about_slice_column(column)
            if column.personal:
                told.append(f"{name}: masked wherever people read single rows: they seem to be {column.personal}")
            if column.remark:
                told.append(f"{name}: {column.remark}")
            if column.format:
                told.append(f"{name}: written {column.format}")
        if profile.skipped:
            told.append(f"{profile.skipped:,} lines of the sample are no rows; such lines go to quarantine")
        return told

    def _about_slice_column(self, column: ColumnProfile) -> Iterator[str]:
        name = self.names[column.field]
        if not column.not_null:
            yield f"{name}: the source allows it to be NULL, though no sampled row has none; such rows are never read"
        if column.type == "timestamp without time zone":
            yield (
                f"{name}: says no offset from UTC, so days are cut as if it were UTC; else state physicalType"
                " timestamptz and logicalTypeOptions.defaultTimezone"
            )

    def _cut_by(self) -> str:
        return self.slice_name if self.slicing.field is None else self.names[self.slicing.field]

    def write(self, source: Source) -> str:
        """Return the file's text."""
        placed = {"merge": "cursor", "replace_partition": "partitionBy"}.get(self.slicing.mode)
        profile = self.profile
        where = f"{source.conn_id}: {source.table}" if isinstance(source, TableSource) else source.path
        extent = "all" if profile.whole else "a sample of"
        lines = [
            SCHEMA_HEADER,
            f"# A draft by `penstock new`, from {extent} {profile.rows:,} rows of {_comment(where)}.",
            "# Rules of severity warning are what the sample shows: make them critical, or drop them.",
            "apiVersion: v3.2.0",
            "kind: DataContract",
            f"id: {self.domain}-{self.table.replace('_', '-')}",
            "version: 0.1.0",
            "status: draft",
            f"domain: {_flow(self.domain)}",
            "schema:",
            f"  - name: {_flow(self.table)}",
            "    physicalType: table",
            *([f"    description: {_flow(' '.join(profile.comment.split()))}"] if profile.comment else []),
            "    customProperties:",
            f"      - {{property: loadMode, value: {self.slicing.mode}}}",
            *([] if placed is None else [f"      - {{property: {placed}, value: {_flow(self._cut_by())}}}"]),
            f"      - {{property: quarantineBudget, value: {_BUDGET:.0%}}}",
            "      - {property: schemaPolicy, value: discard}",
            "    properties:",
            *(self._slice_property() if self.slicing.field is None else []),
        ]
        for column in profile.columns:
            lines += self._property(column)
        if self.owner:
            lines += ["support:", f"  - {_flow({'channel': self.owner, 'tool': 'slack'})}"]
        return "\n".join(lines) + "\n"

    def _slice_property(self) -> list[str]:
        about = {"name": self.slice_name, "physicalName": SLICE_FIELD, "logicalType": "date", "required": True}
        about |= self._key_part(self.slice_name)
        return [f"      - {_flow(about | {'description': 'UTC day of the slice that the row came with'})}"]

    def _key_part(self, name: str) -> dict[str, Any]:
        if name not in self.key:
            return {}
        position = {"primaryKeyPosition": self.key.index(name) + 1} if len(self.key) > 1 else {}
        return {"primaryKey": True, **position}

    def _property(self, column: ColumnProfile) -> list[str]:
        name = self.names[column.field]
        about: dict[str, Any] = {"name": name}
        if name != column.field:
            about["physicalName"] = column.field
        about["logicalType"] = _logical(column.type)
        if column.type != "text":
            about["physicalType"] = _SHORT.get(column.type, column.type)
        about |= self._key_part(name)
        if column.not_null or column.field == self.slicing.field:
            about["required"] = True
        if column.format:
            about["logicalTypeOptions"] = {"format": column.format}
        if column.comment:
            about["description"] = " ".join(column.comment.split())
        if column.personal:
            about["customProperties"] = [{"property": "mask", "value": Mask.REDACT.value}]
        rules = list(self._rules(column, name))
        seen = self.seen(column)
        lines = [f"      # {seen}"] if seen else []
        if not rules:
            return [*lines, f"      - {_flow(about)}"]
        first, *rest = [f"{key}: {_flow(value)}" for key, value in about.items()]
        lines += [f"      - {first}", *(f"        {line}" for line in rest), "        quality:"]
        return lines + [f"          - {_flow(rule)}" for rule in rules]

    def _rules(self, column: ColumnProfile, name: str) -> Iterator[dict[str, Any]]:
        """Yield what the sample shows; the catalog's word is in the property itself."""
        if column.rows < ENOUGH:
            return
        if _always(column) and not (column.not_null or name in self.key or column.field == self.slicing.field):
            about = {"name": f"{name}_present", "severity": Severity.WARNING.value}
            yield about | {"type": "library", "metric": "nullValues", "mustBe": 0}
        if name in self.key:
            return
        if column.values:
            yield _warning(f"{name}_known", "expect_column_values_to_be_in_set", value_set=list(column.values))
        elif column.lengths and column.distinct > 1 and column.lengths[0] == column.lengths[1]:
            yield _warning(f"{name}_length", "expect_column_value_lengths_to_equal", value=column.lengths[0])
        if is_number(column.type) and column.distinct > 1 and not (column.unique or is_key_name(column.field)):
            bounds = _bounds(column)
            if bounds:
                yield _warning(f"{name}_plausible", "expect_column_values_to_be_between", **bounds)

    def seen(self, column: ColumnProfile) -> str:
        """Say what the sample shows of a column; no value of one that is to be masked."""
        if not column.rows:
            return ""
        share = f"{column.nulls / column.rows:.1%} null" if column.nulls else "no null"
        parts = [share, f"{column.distinct:,} different" if column.distinct else ""]
        if column.least is not None and not column.personal:
            parts.append(f"{column.least} to {column.greatest}")
        if column.lengths:
            short, long = column.lengths
            parts.append(f"{short} characters" if short == long else f"{short} to {long} characters")
        return ", ".join(filter(None, parts))


def _warning(name: str, expectation: str, **kwargs: Any) -> dict[str, Any]:
    return {
        "name": name,
        "severity": Severity.WARNING.value,
        "type": "custom",
        "engine": "greatExpectations",
        "implementation": {"type": expectation, "kwargs": kwargs},
    }


def _comment(text: str) -> str:
    """Return a text for a comment of one line, without what a URL may hold of secrets."""
    parts = urlsplit(text)
    return _flow(parts._replace(query="", fragment="").geturl() if parts.scheme else text)


# --- the DAG -----------------------------------------------------------------------------------------------------

_DAG: Final = '''\
"""### {dataset}: {what}

{about}
"""

from airflow.sdk import dag

from penstock.defaults import DAG_DEFAULTS, daily_slices, dataset
from penstock.operators.{module} import {operator}
from penstock.operators.publish import PublishOperator
from penstock.operators.validate import ValidateOperator

{constant} = dataset("{dataset}")


@dag(schedule=daily_slices(), doc_md=__doc__, tags=["domain:{domain}"], **DAG_DEFAULTS)
def {function}() -> None:
    extract = {operator}(
        task_id="extract",
        dataset={constant},
{arguments}
    )
    validate = ValidateOperator(task_id="validate", dataset={constant})
    publish = PublishOperator(task_id="publish", dataset={constant})
    extract >> validate >> publish


{function}()
'''
_RUNBOOK: Final = (
    "Owner: {owner}. **Refused slice:** the log of `validate` names the rules and counts; look at the rows it set"
    " aside, then mend the source and clear `extract`, or change the contract and clear `validate`."
)


def _dag(dataset: str, slicing: _Slicing, source: Source, owner: str | None) -> str:
    domain, table = dataset.split("/")
    if isinstance(source, TableSource):
        module, operator = "extract_database", "DatabaseExtractOperator"
        arguments = {"conn_id": source.conn_id, "table": source.table}
        what = f"the rows of {source.table} that changed on one UTC day"
        if slicing.mode != "merge":
            what = f"one UTC day of {source.table}" if slicing.field else f"{source.table} as it is, day by day"
    else:
        module, operator = "extract_file", "FileExtractOperator"
        arguments = {"path": source.path, **_file_arguments(source)}
        what = "one file for each UTC day" if "{slice}" in source.path else "one file as it is, day by day"
    runbook = _RUNBOOK.format(owner=owner or "nobody yet, see `support` in the contract")
    rest = "**Anything else:** clear the failed task; every task replaces its own work."
    return _DAG.format(
        dataset=dataset,
        what=what[: _LINE - len(dataset) - 10],
        about="\n".join([*textwrap.wrap(runbook, _LINE, break_on_hyphens=False), rest]),
        module=module,
        operator=operator,
        constant=table.upper(),
        domain=domain,
        function=f"{domain}_{table}",
        arguments="\n".join(map(_argument, arguments, arguments.values())),
    )


def _file_arguments(source: FileSource) -> dict[str, Any]:
    """Return what the file's name does not tell of how it is read."""
    form = source.form
    arguments: dict[str, Any] = {}
    if not _tells_kind(source):
        arguments["format"] = form.kind
    if form.kind == "csv":
        usual = "\t" if source.path.lower().endswith(".tsv") else ","
        stated: dict[str, tuple[Any, Any]] = {
            "delimiter": (form.csv.delimiter, usual),
            "encoding": (form.csv.encoding, "utf-8"),
            "newlines_in_values": (form.csv.newlines_in_values, False),
        }
        arguments.update((name, value) for name, (value, default) in stated.items() if value != default)
    if form.records:
        arguments["records"] = form.records
    return arguments


def _tells_kind(source: FileSource) -> bool:
    try:
        return file_kind(source.path) == source.form.kind
    except ValueError:
        return False


def _argument(name: str, value: Any) -> str:
    line = f"        {name}={_literal(value)},"
    breakable = len(line) > _LINE and " " in line.strip()  # a long word is let be
    return f"{line}  # noqa: E501" if breakable else line


def _literal(value: Any) -> str:
    """Return a Python literal as the formatter writes it: double quotes, unless there are some within."""
    if not isinstance(value, str) or ('"' in value and "'" not in value):
        return repr(value)
    inner = repr('"' + value)[2:-1].replace("\\'", "'").replace('"', '\\"')
    return f'"{inner}"'
