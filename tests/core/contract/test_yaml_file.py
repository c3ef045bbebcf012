"""A problem is reported with the line of what is wrong, or of the innermost thing around what is missing."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from penstock.core.contract import load_contract
from penstock.core.contract.yaml_file import read_yaml, shown_path
from penstock.core.errors import ContractError

SOUND = """\
# yaml-language-server: $schema=../odcs-3.2.schema.json
apiVersion: v3.2.0
kind: DataContract
id: shop-orders
version: 1.0.0
status: active
domain: shop
schema:
  - name: orders
    customProperties:
      - {property: loadMode, value: replace_partition}
      - property: partitionBy
        value: sold_at
    quality:
      - type: library
        metric: rowCount
        mustBeGreaterThan: 0
    properties:
      - name: order_id
        logicalType: integer
        primaryKey: true
      - name: price
        logicalType: number
        physicalType: numeric(12,2)
        quality:
          - name: price_positive
            type: custom
            engine: greatExpectations
            implementation:
              type: expect_column_values_to_be_between
              kwargs: {min_value: 0}
          - type: library
            metric: nullValues
            mustBe: 0
      - {name: sold_at, logicalType: timestamp, required: true}
"""

BROKEN = {
    "a field of the standard": ("status: active", "status: 5", 6, "status: 5 is not of type"),
    "an unknown field": (
        "        logicalType: number\n",
        "        logicalType: number\n        nice: true\n",
        24,
        "nice",
    ),
    "a field that is missing": ("version: 1.0.0\n", "", 2, '"version" is a required property'),
    "a type": ("numeric(12,2)", "money", 22, "schema.properties[price]: 'money' is not"),
    "a rule by position": ("mustBe: 0", "mustBe: soon", 32, "quality"),
    "a rule by name": ("{min_value: 0}", "{minimum: 0}", 26, "quality[0]: rule price_positive"),
    "a table's rule": (
        "metric: rowCount\n        mustBeGreaterThan",
        "metric: nullValues\n        mustBe",
        15,
        "schema.quality[0]: ",
    ),
    "a custom property": ("replace_partition", "replace", 11, "customProperties.loadMode: 'replace' is not one of"),
    "a custom property of two lines": ("value: sold_at", "value: day", 12, "partitionBy: there is no column 'day'"),
    "the only table's name": ("- name: orders", "- name: Orders", 9, "schema.name: 'Orders' must match"),
    "the domain": ("domain: shop", "domain: Shop", 7, "domain: 'Shop' must match"),
    "an implied rule": (
        "order_id\n        logicalType: integer",
        "order_id\n        physicalType: json",
        19,
        "order_id",
    ),
    "a repeated key": ("kind: DataContract\n", "kind: DataContract\nkind: Other\n", 4, "first in line 3"),
    "no YAML": ("kind: DataContract", "kind: [DataContract", 4, "is not YAML"),
}


def problems(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a contract of this text, without the folder."""
    path = tmp_path / "shop" / "orders.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ContractError) as caught:
        load_contract(path)
    return [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_problem_carries_its_line(tmp_path: Path, name: str) -> None:
    """One mistake in a sound file: the line is that of the mistake, whoever found it."""
    before, after, line, said = BROKEN[name]
    assert SOUND.count(before) == 1
    found = problems(tmp_path, SOUND.replace(before, after))
    assert any(problem.startswith(f"shop/orders.yaml:{line}: ") and said in problem for problem in found), found


def test_the_standards_and_our_own_problems_come_together(tmp_path: Path) -> None:
    """A file that breaks the standard in one place is still checked in all others, also for its rules."""
    text = SOUND.replace("status: active", "status: 5").replace("numeric(12,2)", "money")
    text = text.replace("            engine: greatExpectations\n", "").replace("value: sold_at", "value: day")
    found = "\n".join(problems(tmp_path, text))
    for line, said in ((6, "status"), (22, "money"), (26, "engine"), (12, "no column 'day'")):
        assert re.search(rf"^shop/orders\.yaml:{line}: .*{said}", found, re.MULTILINE), found


def test_a_problem_is_told_once_and_in_few_words(tmp_path: Path) -> None:
    """No line twice, and no line that repeats the file."""
    found = problems(tmp_path, SOUND.replace("    properties:\n", "    properties: 7\n    other:\n"))
    assert len(found) == len(set(found))
    assert max(map(len, found)) < 400


def test_bytes_that_are_no_text_have_a_line_too(tmp_path: Path) -> None:
    """The line of the first byte that is not UTF-8."""
    path = tmp_path / "orders.yaml"
    path.write_bytes(b"a: 1\nb: 2\nc: \xff\n")
    assert read_yaml(path).problems[0].startswith(f"{path}:3: the file: is not YAML")


def test_paths_are_shown_by_name() -> None:
    """Items of lists are shown by their names where they have one."""
    document = {"schema": [{"name": "orders", "properties": [{"name": "code", "quality": [{}, {"name": "q"}]}]}]}
    assert shown_path(["schema", 0, "properties", 0, "quality", 1], document) == (
        "schema[orders].properties[code].quality[q]"
    )
    assert shown_path(["schema", 0, "properties", 0, "quality", 0], document).endswith(".quality[0]")
    assert shown_path([], document) == ""


# --- what an editor checks by ------------------------------------------------------------------------------------

CONTRACTS = Path(__file__).resolve().parents[3] / "include" / "contracts"
HEADER = "# yaml-language-server: $schema="


def test_an_editor_checks_by_the_very_schema_that_we_do() -> None:
    """The copy that editors read offline is the package's file, byte by byte."""
    package = importlib.util.find_spec("open_data_contract_standard")
    assert package is not None
    assert package.submodule_search_locations
    theirs = Path(package.submodule_search_locations[0], "schema.json").read_bytes()
    assert (CONTRACTS / "odcs-3.2.schema.json").read_bytes() == theirs


@pytest.mark.parametrize("path", sorted(CONTRACTS.glob("*/*.yaml")), ids=lambda path: path.stem)
def test_every_contract_names_its_schema(path: Path) -> None:
    """Its first line leads an editor to the schema, wherever the project lies."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(HEADER)
    assert (path.parent / first.removeprefix(HEADER)).resolve() == CONTRACTS / "odcs-3.2.schema.json"
