"""Read and check contracts.

The file is checked twice: against the published JSON schema of ODCS 3.2 (shipped in the package
`open-data-contract-standard`), then for what Penstock asks beyond it. Each check finds all problems in one go.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from penstock.core.contract import rules as rule_parser
from penstock.core.contract.columns import NAME, custom_properties, implied_rules, read_column
from penstock.core.contract.model import (
    SLICE_FIELD,
    VALIDITY,
    Budget,
    Column,
    Contract,
    Deletes,
    LoadMode,
    Reconcile,
    Rule,
    SchemaPolicy,
)
from penstock.core.contract.yaml_file import Report, read_yaml, shown_path
from penstock.core.errors import ContractError
from penstock.core.gate.check import column_names, problems_of
from penstock.core.gate.custom import custom_types, folder_beside

_TABLE_PROPERTIES: Final = (
    *("loadMode", "cursor", "partitionBy", "schemaPolicy", "quarantineBudget", "quarantineRetention"),
    *("tombstone", "deletes", "reconcile"),
)
_LONGEST_MESSAGE: Final = 240
_RESERVED_ENDS: Final = (".cast", ".encoding", ".in_slice")
_RESERVED_START: Final = "row."


@cache
def _standard() -> Any:
    """Return the validator of the standard's JSON schema."""
    import jsonschema_rs

    # The package is located, not imported: importing it would load pydantic models nobody needs here.
    spec = importlib.util.find_spec("open_data_contract_standard")
    assert spec is not None  # noqa: S101 - a pinned dependency
    assert spec.submodule_search_locations  # noqa: S101
    text = Path(spec.submodule_search_locations[0], "schema.json").read_text(encoding="utf-8")
    schema = json.loads(text, object_hook=_with_optional_logical_type)
    return jsonschema_rs.validator_for(schema)


def _with_optional_logical_type(part: dict[str, Any]) -> dict[str, Any]:
    """Mend a condition on `logicalType`: as published, version 3.2 takes a column without one for each type at once."""
    conditions = part.get("properties")
    if isinstance(conditions, dict) and conditions.keys() == {"logicalType"} and "const" in conditions["logicalType"]:
        part.setdefault("required", ["logicalType"])
    return part


def _key(properties: list[Mapping[str, Any]]) -> tuple[str, ...]:
    parts = [item for item in properties if item.get("primaryKey")]
    return tuple(item["name"] for item in sorted(parts, key=lambda item: item.get("primaryKeyPosition", -1)))


def _share(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(value)
    text = str(value)
    return Fraction(text.removesuffix("%")) / 100 if text.endswith("%") else Fraction(text)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return value


_BUDGET_PARTS: Final[Mapping[str, Any]] = {"share": _share, "count": _count}


def _budget(value: Any, report: Report) -> Budget:
    """Read `quarantineBudget`: `5%`, a count, or a mapping with `share` and `count`."""
    where = "schema.customProperties.quarantineBudget"
    parts = value if isinstance(value, Mapping) else {"count" if isinstance(value, int) else "share": value}
    try:
        budget = Budget(**{name: _BUDGET_PARTS[name](part) for name, part in parts.items()})
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        budget = Budget()
    if budget == Budget():
        report.add(where, f"{value!r} is neither a share such as '5%', nor a count, nor a mapping of both")
    elif (budget.share is not None and not 0 <= budget.share <= 1) or (budget.count or 0) < 0:
        report.add(where, f"{value!r} is out of range")
    return budget


def _retention(value: Any, report: Report) -> timedelta | None:
    """Read `quarantineRetention`: whole days, as `90` or `90d`."""
    if value is None:
        return None
    text = str(value).removesuffix("d")
    if isinstance(value, bool) or not re.fullmatch(r"[1-9]\d{0,4}", text):
        report.add("schema.customProperties.quarantineRetention", f"{value!r} is not a number of days such as 90d")
        return None
    return timedelta(days=int(text))


_DAYS: Final = {"d": 1, "day": 1, "days": 1, "y": 366, "yr": 366, "years": 366}
"""Days of the units that the standard names for times; a year has 366, so that nothing goes before its time."""


def _sla_retention(document: Mapping[str, Any], mode: LoadMode | None, report: Report) -> timedelta | None:
    """Read the standard's `slaProperties` item `retention`: how long slices are kept."""
    found = None
    for position, item in enumerate(document.get("slaProperties", ())):
        if item.get("property") != "retention":
            continue
        where, value, unit = f"slaProperties[{position}]", item.get("value"), item.get("unit", "d")
        days = _DAYS.get(unit)
        if days is None or isinstance(value, bool) or not re.fullmatch(r"[1-9]\d{0,4}", str(value)):
            report.add(where, f"a retention is a whole number of {', '.join(_DAYS)}, not {value!r} {unit!r}")
        elif mode is LoadMode.SCD2:
            report.add(where, "a retention cuts off history, and an scd2 table is kept for its history")
        else:
            found = timedelta(days=int(value) * days)
    return found


_Choice = TypeVar("_Choice", bound=StrEnum)


def _choice(value: Any, choices: type[_Choice], where: str, report: Report) -> _Choice | None:
    known = [choice.value for choice in choices]
    if value in known:
        return choices(value)
    report.add(where, f"{value!r} is not one of {', '.join(known)}")
    return None


def _stated_rules(table: Mapping[str, Any], report: Report, places: dict[str, str]) -> Iterator[Rule]:
    """Yield the rules of all quality items; in `places`, note by a rule's id where it stands (the last one wins)."""
    sources = [(None, table), *((item["name"], item) for item in table["properties"])]
    for column, element in sources:
        for position, item in enumerate(element.get("quality", ())):
            where = f"schema.properties[{column}].quality[{position}]" if column else f"schema.quality[{position}]"
            try:
                rule = rule_parser.parse_rule(item, column)
            except ValueError as error:
                report.add(where, str(error))
                continue
            if rule is not None:
                places[rule.id] = where
                yield rule


def _relationships(table: Mapping[str, Any], domain: str, report: Report, places: dict[str, str]) -> Iterator[Rule]:
    """Yield the rules of all relationships, as `_stated_rules` does those of the quality items."""
    sources = [(None, table), *((item["name"], item) for item in table["properties"])]
    for column, element in sources:
        where = f"schema.properties[{column}].relationships" if column else "schema.relationships"
        try:
            rules = rule_parser.parse_relationships(element, column, domain)
        except ValueError as error:
            report.add(where, str(error))
            continue
        places.update((rule.id, where) for rule in rules)
        yield from rules


def _key_rule(key: tuple[str, ...], cursor: str | None) -> Iterator[Rule]:
    """Without a cursor nothing says which of two rows with one key is right, so neither is let in."""
    if key and cursor is None:
        if len(key) == 1:
            yield Rule("primary_key", "expect_column_values_to_be_unique", {"column": key[0]})
        else:
            kwargs = {"column_list": list(key)}
            yield Rule("primary_key", "expect_compound_columns_to_be_unique", kwargs)


def _check_rules(
    rules: list[Rule],
    columns: list[Column],
    names: set[str],
    places: Mapping[str, str],
    report: Report,
    custom: Collection[str],
) -> None:
    types = {column.name: column.type for column in columns}
    untyped = names - types.keys()  # reported as such
    seen: set[str] = set()
    for rule in rules:
        column = rule.kwargs.get("column")
        implied = f"schema.properties[{column}]" if isinstance(column, str) else "schema.properties"
        where = f"{places.get(rule.id, implied)}: rule {rule.id}"
        if rule.id in seen:
            report.add(where, "two rules have this name; give one of them a `name`")
        if rule.id.endswith(_RESERVED_ENDS) or rule.id.startswith(_RESERVED_START):
            report.add(
                where, f"names that end in {' or '.join(_RESERVED_ENDS)}, or begin with row., are the gate's own"
            )
        seen.add(rule.id)
        if untyped.isdisjoint(column_names(rule)):
            for problem in problems_of(rule, types, custom):
                report.add(where, problem)


def _check_load_mode(
    mode: LoadMode | None,
    key: tuple[str, ...],
    placed: Mapping[str, str | None],
    columns: list[Column],
    report: Report,
) -> None:
    """Hold key, `cursor` and `partitionBy` (the last two in `placed`) to what the load mode needs."""
    place, by_name = "schema.customProperties", {column.name: column for column in columns}
    cursor, partition_by = placed["cursor"], placed["partitionBy"]
    if mode is LoadMode.REPLACE_PARTITION:
        if partition_by is None:
            report.add(f"{place}.partitionBy", "replace_partition needs the column that places a row")
        elif partition_by in by_name and not by_name[partition_by].is_moment:
            report.add(f"{place}.partitionBy", "must be a date or timestamp column")
    if mode in (LoadMode.MERGE, LoadMode.SCD2):
        if not key:
            report.add("schema.properties", f"{mode} needs a primaryKey")
        if cursor is None:
            report.add(f"{place}.cursor", f"{mode} needs the column that orders versions of a row")
        elif cursor in key:
            report.add(f"{place}.cursor", "is part of the primaryKey, so no row would have two versions")
        if partition_by is not None:
            report.add(f"{place}.partitionBy", f"the table of a {mode} is not partitioned by slice")
    if mode is LoadMode.SCD2:
        _check_validity(cursor, by_name, report)
    for name in filter(None, (cursor, partition_by)):
        if name in by_name and not by_name[name].required:
            report.add(f"schema.properties[{name}]", "must be `required: true`: it places or orders the rows")


def _check_validity(cursor: str | None, by_name: Mapping[str, Column], report: Report) -> None:
    if cursor and cursor in by_name and not by_name[cursor].is_moment:
        report.add("schema.customProperties.cursor", "of scd2 must be a date or timestamp: a version is valid from it")
    for name in VALIDITY:
        if name in by_name:
            report.add(f"schema.properties[{name}]", "scd2 adds a column of this name itself")


def _check_age(cursor: str | None, columns: list[Column], report: Report) -> None:
    """Let a retention be stated only where the rows of a merged table tell their age."""
    if any(column.name == cursor and not column.is_moment for column in columns):
        report.add("slaProperties", "a retention needs a cursor that is a date or timestamp: it tells the age of a row")


def _arrival_column(mode: LoadMode, stated: Any, columns: list[Column], report: Report) -> str | None:
    """Return the `$slice` column that tells which slice of an append or a snapshot a row came in."""
    place = "schema.customProperties.partitionBy"
    if stated is not None:
        report.add(place, f"of {mode} is the column with `physicalName: {SLICE_FIELD}`; leave it out")
    found = [c for c in columns if c.source_name == SLICE_FIELD and c.is_moment]
    if len(found) != 1:
        report.add(
            "schema.properties",
            f"{mode} needs one date or timestamp column with `physicalName: {SLICE_FIELD}`: the slice a row came in",
        )
        return None
    return found[0].name


def _check_tombstone(tombstone: Any, stated: bool, columns: list[Column], report: Report) -> str | None:
    place, by_name = "schema.customProperties", {column.name: column for column in columns}
    if tombstone is None:
        if stated:
            report.add(f"{place}.deletes", "says nothing without `tombstone`, the column that marks a deleted row")
        return None
    if not isinstance(tombstone, str) or tombstone not in by_name:
        report.add(f"{place}.tombstone", f"there is no column {tombstone!r}")
    elif not re.fullmatch(r"boolean|date|timestamp.*(?<!\])", by_name[tombstone].type):
        report.add(f"{place}.tombstone", "must be a boolean (true: deleted), date or timestamp (set: deleted) column")
    return str(tombstone)


def _check_deletion(key: tuple[str, ...], cursor: str | None, report: Report) -> None:
    """Let an append, which keeps what came before, take hard deletes only where it can tell what they delete."""
    if not key or cursor is None:
        report.add(
            "schema.customProperties.deletes",
            "hard needs, in an append, a primaryKey and a cursor, which tell what a deletion deletes; `soft` keeps the"
            " rows and their marks",
        )


def _check_dataset_name(document: Mapping[str, Any], path: Path, report: Report) -> str:
    table = document["schema"][0]["name"]
    domain = document.get("domain", "")
    for where, name in (("domain", domain), ("schema.name", table)):
        if not NAME.fullmatch(name):
            report.add(where, f"{name!r} must match {NAME.pattern}")
    if (path.parent.name, path.stem) != (domain, table):
        report.add("schema.name", f"the dataset is {domain}/{table}, so the file must be {domain}/{table}.yaml")
    return f"{domain}/{table}"


def _check_renames(columns: list[Column], names: set[str], report: Report) -> None:
    olds = [column.renamed_from for column in columns]
    for column in columns:
        where = f"schema.properties[{column.name}].customProperties.renamedFrom"
        if column.renamed_from in names:
            report.add(where, f"{column.renamed_from!r} is still a column of the contract")
        elif column.renamed_from is not None and olds.count(column.renamed_from) > 1:
            report.add(where, f"two columns are said to have been {column.renamed_from!r}")


def _build(document: Mapping[str, Any], path: Path, report: Report) -> Contract | None:
    if len(document.get("schema", ())) != 1 or not document["schema"][0].get("properties"):
        report.add("schema", "a contract describes exactly one table with its properties")
        return None
    table = document["schema"][0]
    dataset = _check_dataset_name(document, path, report)
    custom = custom_properties(table, _TABLE_PROPERTIES, "schema", report)
    columns = [column for item in table["properties"] if (column := read_column(item, report))]
    names = {item["name"] for item in table["properties"]}
    if len(names) < len(table["properties"]):
        report.add("schema.properties", "two properties have one name")
    _check_renames(columns, names, report)
    place = "schema.customProperties"
    mode = _choice(custom.get("loadMode"), LoadMode, f"{place}.loadMode", report)
    policy = _choice(custom.get("schemaPolicy", "discard"), SchemaPolicy, f"{place}.schemaPolicy", report)
    deletes = _choice(custom.get("deletes", "hard"), Deletes, f"{place}.deletes", report)
    reconcile = _choice(custom.get("reconcile", "count"), Reconcile, f"{place}.reconcile", report)
    placed = {name: custom.get(name) for name in ("cursor", "partitionBy")}
    for name, column in placed.items():
        if column is not None and not (isinstance(column, str) and column in names):
            report.add(f"{place}.{name}", f"there is no column {column!r}")
            placed[name] = str(column)
    if mode in (LoadMode.APPEND, LoadMode.SNAPSHOT):
        placed["partitionBy"] = _arrival_column(mode, custom.get("partitionBy"), columns, report)
    tombstone = _check_tombstone(custom.get("tombstone"), "deletes" in custom, columns, report)
    retention = _sla_retention(document, mode, report)
    if retention and mode is LoadMode.MERGE:
        _check_age(placed["cursor"], columns, report)
    key, budget = _key(table["properties"]), _budget(custom.get("quarantineBudget", "5%"), report)
    _check_load_mode(mode, key, placed, columns, report)
    if mode is LoadMode.APPEND and tombstone is not None and deletes is Deletes.HARD:
        _check_deletion(key, placed["cursor"], report)
    places: dict[str, str] = {}
    rules = [
        *implied_rules(columns, table["properties"], report),
        *_key_rule(key, placed["cursor"]),
        *_stated_rules(table, report, places),
        *_relationships(table, document.get("domain", ""), report, places),
    ]
    _check_rules(rules, columns, names, places, report, custom_types(folder_beside(path.resolve().parents[1])))
    if report.problems or not (mode and policy and deletes and reconcile):
        return None
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return Contract(
        dataset=dataset,
        version=document["version"],
        hash=hashlib.sha256(canonical.encode()).hexdigest(),
        columns=tuple(columns),
        key=key,
        load_mode=mode,
        partition_by=placed["partitionBy"],
        cursor=placed["cursor"],
        schema_policy=policy,
        budget=budget,
        rules=tuple(rules),
        description=table.get("description"),
        owner=_owner(document),
        quarantine_retention=_retention(custom.get("quarantineRetention"), report),
        tombstone=tombstone,
        deletes=deletes,
        retention=retention,
        reconcile=reconcile,
        document=document,
    )


def _owner(document: Mapping[str, Any]) -> str | None:
    for channel in document.get("support", ()):
        return str(channel.get("channel"))
    team = document.get("team")
    return str(team["name"]) if isinstance(team, Mapping) and team.get("name") else None


def _check_standard(document: Any, report: Report) -> list[list[str | int]]:
    """Hold a document to the standard's JSON schema; return the paths of what breaks it."""
    paths: list[list[str | int]] = []
    for error in _standard().iter_errors(document):
        path = list(error.instance_path)
        paths.append(path)
        unexpected = getattr(error.kind, "unexpected", None) or [None]
        line = report.line_of_path([*path, unexpected[0]] if unexpected[0] else path)
        report.add(shown_path(path, document), _shortened(error.message), line=line)
    return paths


def _shortened(message: str) -> str:
    """Leave out the middle of a message that repeats a whole part of the file."""
    if len(message) <= _LONGEST_MESSAGE:
        return message
    return f"{message[: _LONGEST_MESSAGE // 2]} … {message[-_LONGEST_MESSAGE // 2 :]}"


def _without_broken_rules(document: Any, broken: list[list[str | int]]) -> Any:
    """Return a copy whose quality items that break the standard are prose, so that the rest can be checked too."""
    document = copy.deepcopy(document)
    for path in broken:
        if "quality" in path and len(path) > path.index("quality") + 1:
            items = document
            for part in path[: path.index("quality") + 1]:
                items = items[part]
            items[path[path.index("quality") + 1]] = {"type": "text"}
    return document


def load_contract(path: Path) -> Contract:
    """Read one contract and check it.

    Args:
        path: `<contracts>/<domain>/<table>.yaml`.

    Raises:
        ContractError: With one line per problem: file, line, field, what is wrong.
    """
    report = read_yaml(path)
    if report.problems:
        raise ContractError(report.problems)
    document = report.document
    broken = _check_standard(document, report)
    contract = None
    try:
        contract = _build(_without_broken_rules(document, broken) if broken else document, path, report)
    except (AttributeError, LookupError, TypeError, ValueError):
        if not broken:
            raise  # what the standard allows must be read
    if contract is None or report.problems:
        raise ContractError(report.problems)
    return contract


def check_all(contracts: Path) -> list[str]:
    """Return one line per problem over all contracts below a folder; empty where all are sound."""
    problems: list[str] = []
    for path in sorted(contracts.rglob("*.y*ml")):
        try:
            load_contract(path)
        except ContractError as error:
            problems.extend(error.problems)
    return problems
