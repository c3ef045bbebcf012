"""Read a contract's YAML file, and report what is wrong with it by file, line and field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

_STEP: Final = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
_NAMING_KEYS: Final = ("name", "property")


@dataclass
class Report:
    """Collects the problems of one file, each with its line.

    Attributes:
        file: The file's path, as it is shown.
        document: The file's content, once it is read.
        problems: `<file>:<line>: <field>: <what is wrong>`, in the order in which they were found.
    """

    file: str
    document: Any = None
    problems: list[str] = field(default_factory=list)
    _root: yaml.Node | None = field(default=None, repr=False)

    def add(self, where: str, problem: str, *, line: int | None = None) -> None:
        """Report a problem.

        Args:
            where: The field, e.g. `schema.properties[price].quality[0]`; an item of a list by its name or position.
                A field that is not in the file is reported at the line of what it should stand in.
            problem: What is wrong.
            line: Its line, where that is known better than by the field.
        """
        found = line if line is not None else self.line_of(where)
        place = f"{self.file}:{found}" if found is not None else self.file
        text = f"{place}: {where or 'the file'}: {problem}"
        if text not in self.problems:
            self.problems.append(text)

    def line_of(self, where: str) -> int | None:
        """Return the line (from 1) of a field, or of the innermost thing around it that is in the file."""
        return self._line([index or name for index, name in _STEP.findall(where)])

    def line_of_path(self, path: Sequence[str | int]) -> int | None:
        """Return the line (from 1) of what stands at a JSON path, or of the innermost thing around it."""
        return self._line([str(part) for part in path])

    def _line(self, steps: list[str]) -> int | None:
        node, line = self._root, None
        while node is not None:
            if line is None:
                line = node.start_mark.line + 1
            if not steps:
                break
            found = _child(node, steps[0])
            if found is None:
                if not _is_only_item(node):
                    break
                node = node.value[0]  # `schema.name`: the one table's
                continue
            node, line = found
            steps = steps[1:]
        return line


def _is_only_item(node: yaml.Node) -> bool:
    return isinstance(node, yaml.SequenceNode) and len(node.value) == 1


def _child(node: yaml.Node, step: str) -> tuple[yaml.Node, int] | None:
    """Find a key of a mapping, or an item of a list by position or name, with its line."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            if step in (str(position), _name_of(item)):
                return item, item.start_mark.line + 1
    return None


def _name_of(node: yaml.Node) -> str | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value in _NAMING_KEYS and isinstance(value, yaml.ScalarNode):
                return str(value.value)
    return None


def shown_path(path: Sequence[str | int], document: Any) -> str:
    """Write a JSON path so that a list item with a name is shown by its name."""
    shown: list[str | int] = []
    here = document
    for part in path:
        here = here[part]
        name = here.get("name") if isinstance(part, int) and isinstance(here, Mapping) else None
        shown.append(f"{shown.pop()}[{name}]" if name and shown else part)
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in shown).lstrip(".")


def _repeated_keys(node: yaml.Node, seen: set[int]) -> Iterator[tuple[str, int, int]]:
    """Find keys that stand twice in one mapping, of which YAML would drop the first without a word.

    Yields:
        The key, the line of its first and the line of its second occurrence.
    """
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in lines:
                    yield key.value, lines[key.value], line
                lines.setdefault(key.value, line)
            yield from _repeated_keys(value, seen)
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item, seen)


def read_yaml(path: Path) -> Report:
    """Read a file; the report's document is as JSON would carry it: YAML dates become text."""
    report = Report(file=str(path))
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            report.add("", "is empty", line=1)
            return report
        report._root = node
        for key, first, second in _repeated_keys(node, set()):
            report.add("", f"the key {key!r} stands twice in one mapping, first in line {first}", line=second)
        report.document = json.loads(json.dumps(loader.construct_document(node), default=str))
    except FileNotFoundError:
        report.add("", "does not exist")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        report.add("", f"is not YAML: {' '.join(str(error).split())}", line=mark.line + 1 if mark else None)
    except UnicodeDecodeError as error:
        report.add("", f"is not YAML: {error}", line=error.object[: error.start].count(b"\n") + 1)
    except (TypeError, ValueError, RecursionError) as error:
        report.add("", f"holds what JSON cannot: {error}", line=1)
    return report
