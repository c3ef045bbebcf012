"""Read and check contracts.

The file is checked twice: against the published JSON schema of ODCS 3.2 (shipped in the package
`open-data-contract-standard`), then for what Penstock asks beyond it. Each check finds all problems in one go.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from penstock.core.contract import rules as rule_parser
from penstock.core.contract.model import Budget, Column, Contract, LoadMode, Rule, SchemaPolicy
from penstock.core.contract.types import canonical_type, type_of_logical
from penstock.core.errors import ContractError
from penstock.core.gate.check import column_names, problems_of

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LATER_MODES: Final = ("append", "scd2", "snapshot")
_LATER_POLICIES: Final = ("evolve", "quarantine")
_TABLE_PROPERTIES: Final = ("loadMode", "cursor", "partitionBy", "schemaPolicy", "quarantineBudget")
_LATER_PROPERTIES: Final = ("mask",)
_UNCHECKED_FIELDS: Final = ("enum", "logicalTypeOptions")
_RESERVED_RULES: Final = (".cast", ".in_slice")


@cache
def _standard() -> Any:
    """Return the validator of the standard's JSON schema."""
    import jsonschema_rs

    # The package is located, not imported: importing it would load pydantic models nobody needs here.
    spec = importlib.util.find_spec("open_data_contract_standard")
    assert spec is not None  # noqa: S101 - a pinned dependency
    assert spec.submodule_search_locations  # noqa: S101
    schema = Path(spec.submodule_search_locations[0], "schema.json").read_text(encoding="utf-8")
    return jsonschema_rs.validator_for(json.loads(schema))


@dataclass
class _Report:
    """Collects problems with the file and the field they are in."""

    file: str
    document: Any = None
    problems: list[str] = field(default_factory=list)

    def add(self, path: str, problem: str) -> None:
        self.problems.append(f"{self.file}: {path or 'the file'}: {problem}")


def _dotted(path: list[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _named(path: list[str | int], document: Any) -> str:
    """Write a JSON path so that a list item with a name is shown by its name."""
    shown: list[str | int] = []
    here = document
    for part in path:
        here = here[part]
        name = here.get("name") if isinstance(part, int) and isinstance(here, Mapping) else None
        shown.append(f"{shown.pop()}[{name}]" if name and shown else part)
    return _dotted(shown)


def _custom_properties(
    element: Mapping[str, Any], known: tuple[str, ...], where: str, report: _Report
) -> dict[str, Any]:
    """Return an element's custom properties; what is not understood is never passed over in silence."""
    found: dict[str, Any] = {}
    for item in element.get("customProperties", ()):
        name = item["property"]
        if name in _LATER_PROPERTIES:
            report.add(f"{where}.customProperties.{name}", "is not built yet; take it out")
        elif name not in known:
            report.add(f"{where}.customProperties.{name}", f"is none of {', '.join([*known, *_LATER_PROPERTIES])}")
        elif name in found:
            report.add(f"{where}.customProperties.{name}", "stands twice")
        found[name] = item["value"]
    return found


def _repeated_keys(node: yaml.Node, seen: set[int]) -> Iterator[str]:
    """Find keys that stand twice in one mapping, of which YAML would drop the first without a word."""
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            yield f"the key {key!r} stands twice in the mapping that begins in line {node.start_mark.line + 1}"
        for _, value in node.value:
            yield from _repeated_keys(value, seen)
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item, seen)


def _read_yaml(path: Path, report: _Report) -> Any:
    """Return the document as JSON would carry it: YAML dates become text."""
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            report.add("", "is empty")
            return None
        for problem in _repeated_keys(node, set()):
            report.add("", problem)
        return json.loads(json.dumps(loader.construct_document(node), default=str))
    except FileNotFoundError:
        report.add("", "does not exist")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        report.add("", f"is not YAML: {' '.join(str(error).split())}")
    except (TypeError, ValueError, RecursionError) as error:
        report.add("", f"holds what JSON cannot: {error}")
    return None


def _column(item: Mapping[str, Any], report: _Report) -> Column | None:
    name = item["name"]
    where = f"schema.properties[{name}]"
    if not _NAME.fullmatch(name):
        report.add(where, f"the name must match {_NAME.pattern}")
    _custom_properties(item, (), where, report)
    for unchecked in _UNCHECKED_FIELDS:
        if item.get(unchecked):
            report.add(f"{where}.{unchecked}", "is not built yet; state it as a rule in `quality`")
    try:
        declared = item.get("physicalType")
        pg_type = canonical_type(declared) if declared else type_of_logical(item.get("logicalType", "string"))
    except ValueError as error:
        report.add(where, str(error))
        return None
    return Column(
        name=name,
        source_name=item.get("physicalName", name),
        type=pg_type,
        required=bool(item.get("required") or item.get("primaryKey")),
        description=item.get("description"),
    )


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


def _budget(value: Any, report: _Report) -> Budget:
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


def _choice(
    value: Any,
    choices: type[LoadMode] | type[SchemaPolicy],
    later: tuple[str, ...],
    where: str,
    report: _Report,
) -> Any:
    known = [choice.value for choice in choices]
    if value in known:
        return choices(value)
    if value in later:
        report.add(where, f"{value!r} is not built yet; this version knows {', '.join(known)}")
    else:
        report.add(where, f"{value!r} is not one of {', '.join([*known, *later])}")
    return None


def _implied_rules(columns: list[Column], properties: list[Mapping[str, Any]]) -> Iterator[Rule]:
    for column in columns:
        if column.required:
            yield Rule(f"{column.name}.required", "expect_column_values_to_not_be_null", {"column": column.name})
    for item in properties:
        if item.get("unique"):
            yield Rule(f"{item['name']}.unique", "expect_column_values_to_be_unique", {"column": item["name"]})


def _stated_rules(table: Mapping[str, Any], report: _Report) -> Iterator[Rule]:
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
                yield rule


def _key_rule(key: tuple[str, ...], cursor: str | None) -> Iterator[Rule]:
    """Without a cursor nothing says which of two rows with one key is right, so neither is let in."""
    if key and cursor is None:
        if len(key) == 1:
            yield Rule("primary_key", "expect_column_values_to_be_unique", {"column": key[0]})
        else:
            kwargs = {"column_list": list(key)}
            yield Rule("primary_key", "expect_compound_columns_to_be_unique", kwargs)


def _check_rules(rules: list[Rule], columns: list[Column], names: set[str], report: _Report) -> None:
    types = {column.name: column.type for column in columns}
    untyped = names - types.keys()  # reported as such
    seen: set[str] = set()
    for rule in rules:
        where = f"rule {rule.id}"
        if rule.id in seen:
            report.add(where, "two rules have this name; give one of them a `name`")
        if rule.id.endswith(_RESERVED_RULES):
            report.add(where, f"names that end in {' or '.join(_RESERVED_RULES)} are the gate's own")
        seen.add(rule.id)
        if untyped.isdisjoint(column_names(rule)):
            for problem in problems_of(rule, types):
                report.add(where, problem)


def _check_load_mode(
    mode: LoadMode | None,
    key: tuple[str, ...],
    placed: Mapping[str, str | None],
    columns: list[Column],
    report: _Report,
) -> None:
    """Hold key, `cursor` and `partitionBy` (the last two in `placed`) to what the load mode needs."""
    place, by_name = "schema.customProperties", {column.name: column for column in columns}
    cursor, partition_by = placed["cursor"], placed["partitionBy"]
    if mode is LoadMode.REPLACE_PARTITION:
        if partition_by is None:
            report.add(f"{place}.partitionBy", "replace_partition needs the column that places a row")
        elif partition_by in by_name and not re.match(r"(date|timestamp)(?!.*\[)", by_name[partition_by].type):
            report.add(f"{place}.partitionBy", "must be a date or timestamp column")
    if mode is LoadMode.MERGE:
        if not key:
            report.add("schema.properties", "merge needs a primaryKey")
        if cursor is None:
            report.add(f"{place}.cursor", "merge needs the column that orders versions of a row")
        elif cursor in key:
            report.add(f"{place}.cursor", "is part of the primaryKey, so no row would have two versions")
        if partition_by is not None:
            report.add(f"{place}.partitionBy", "a merged table is not partitioned by slice")
    for name in filter(None, (cursor, partition_by)):
        if name in by_name and not by_name[name].required:
            report.add(f"schema.properties[{name}]", "must be `required: true`: it places or orders the rows")


def _check_dataset_name(document: Mapping[str, Any], path: Path, report: _Report) -> str:
    table = document["schema"][0]["name"]
    domain = document.get("domain", "")
    for where, name in (("domain", domain), ("schema.name", table)):
        if not _NAME.fullmatch(name):
            report.add(where, f"{name!r} must match {_NAME.pattern}")
    if (path.parent.name, path.stem) != (domain, table):
        report.add("schema.name", f"the dataset is {domain}/{table}, so the file must be {domain}/{table}.yaml")
    return f"{domain}/{table}"


def _build(document: Mapping[str, Any], path: Path, report: _Report) -> Contract | None:
    if len(document.get("schema", ())) != 1 or not document["schema"][0].get("properties"):
        report.add("schema", "a contract describes exactly one table with its properties")
        return None
    table = document["schema"][0]
    dataset = _check_dataset_name(document, path, report)
    custom = _custom_properties(table, _TABLE_PROPERTIES, "schema", report)
    columns = [column for item in table["properties"] if (column := _column(item, report))]
    names = {item["name"] for item in table["properties"]}
    if len(names) < len(table["properties"]):
        report.add("schema.properties", "two properties have one name")
    place = "schema.customProperties"
    mode = _choice(custom.get("loadMode"), LoadMode, _LATER_MODES, f"{place}.loadMode", report)
    policy = _choice(
        custom.get("schemaPolicy", "discard"), SchemaPolicy, _LATER_POLICIES, f"{place}.schemaPolicy", report
    )
    placed = {name: custom.get(name) for name in ("cursor", "partitionBy")}
    for name, column in placed.items():
        if column is not None and not (isinstance(column, str) and column in names):
            report.add(f"{place}.{name}", f"there is no column {column!r}")
            placed[name] = str(column)
    key, budget = _key(table["properties"]), _budget(custom.get("quarantineBudget", "5%"), report)
    _check_load_mode(mode, key, placed, columns, report)
    rules = [
        *_implied_rules(columns, table["properties"]),
        *_key_rule(key, placed["cursor"]),
        *_stated_rules(table, report),
    ]
    _check_rules(rules, columns, names, report)
    if report.problems or mode is None or policy is None:
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
    )


def _owner(document: Mapping[str, Any]) -> str | None:
    for channel in document.get("support", ()):
        return str(channel.get("channel"))
    team = document.get("team")
    return str(team["name"]) if isinstance(team, Mapping) and team.get("name") else None


def load_contract(path: Path) -> Contract:
    """Read one contract and check it.

    Args:
        path: `<contracts>/<domain>/<table>.yaml`.

    Raises:
        ContractError: With one line per problem: file, field, what is wrong.
    """
    report = _Report(file=str(path))
    document = _read_yaml(path, report)
    if report.problems:
        raise ContractError(report.problems)
    for error in _standard().iter_errors(document):
        report.add(_named(list(error.instance_path), document), error.message)
    contract = None if report.problems else _build(document, path, report)
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
