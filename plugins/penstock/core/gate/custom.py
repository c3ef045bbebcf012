"""Expectations that a project writes itself: classes in `include/expectations/*.py`, as Great Expectations has them.

What there is, is read from the files' syntax, so that contracts are checked without importing Great Expectations; the
files are imported when a rule of theirs is judged.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from penstock.core.errors import ContractError

FOLDER: Final = "expectations"
"""The folder beside that of the contracts."""
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def folder_beside(contracts: Path) -> Path:
    """Return the folder of the project's own expectations, which need not exist."""
    return contracts.parent / FOLDER


def custom_types(folder: Path) -> Mapping[str, Path]:
    """Return the expectation types that the files of a folder define, and the file of each.

    A class counts if its name, or that of one of its bases, begins with `Expect` or ends in `Expectation`.

    Raises:
        ContractError: A file is not Python.
    """
    files = tuple((path, path.stat().st_mtime_ns) for path in sorted(folder.glob("*.py")))
    return _types_in(files)


@lru_cache(maxsize=32)
def _types_in(files: tuple[tuple[Path, int], ...]) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for path, _ in files:
        try:
            module = ast.parse(path.read_text(encoding="utf-8"), str(path))
        except SyntaxError as error:
            raise ContractError([f"{path}:{error.lineno}: is not Python: {error.msg}"]) from error
        for node in module.body:
            if isinstance(node, ast.ClassDef) and _is_expectation(node):
                found[snake_case(node.name)] = path
    return MappingProxyType(found)


def _is_expectation(node: ast.ClassDef) -> bool:
    names = [base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases]
    return any(name.startswith("Expect") or name.endswith("Expectation") for name in names)


def snake_case(name: str) -> str:
    """Return the expectation type of a class: its name in snake case, as Great Expectations makes it."""
    return _WORD.sub("_", name).lower()


def import_custom(folder: Path) -> None:
    """Import the files of a folder, each once, which registers their expectations and metrics.

    Raises:
        ContractError: A file cannot be imported.
    """
    for path in sorted(folder.glob("*.py")):
        name = f"penstock_custom_expectations.{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        if name in sys.modules or spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise ContractError([f"{path}: cannot be imported: {type(error).__name__}: {error}"]) from error
