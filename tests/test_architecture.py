"""The rooms of the project and what may pass between them."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import penstock.core
from penstock.core.errors import PenstockError

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "plugins" / "penstock"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Which rooms of penstock a room may import; a room is a folder, or a module at the top.
MAY_IMPORT = {
    "core": {"core"},
    "hooks": {"hooks", "core", "project"},
    "operators": {"triggers", "operators", "hooks", "core", "defaults", "project", "timetable", "retries"},
    "notifiers": {"notifiers", "core"},
    "local": {"local", "core", "airflow_api"},
    "cli": {"cli", "core", "hooks", "local", "project", "airflow_api", "flows"},
    "__main__": {"cli"},
    "defaults": {"core", "notifiers", "retries", "timetable", "project"},
    "project": {"core"},
    "provider": set(),
    "triggers": {"hooks", "core"},
    "airflow_api": {"core"},
    "flows": {"operators", "core", "project"},
    "retries": {"core"},
    "timetable": {"core", "project"},
    "__init__": set(),
}
ALLOWED_HEAVY = {"airflow_api.py": {"httpx"}}  # a client of a running Airflow; no DAG file imports it
HEAVY = {"pandas", "pyarrow", "great_expectations", "sqlalchemy", "httpx"}
CLOCKS = {
    "datetime": {"now", "utcnow", "today", "fromtimestamp"},
    "date": {"today"},
    "time": {"time", "time_ns", "monotonic", "perf_counter", "localtime", "gmtime", "sleep"},
    "os": {"environ", "environb", "getenv", "putenv", "getcwd"},
    "Path": {"cwd", "home"},
}


def named(path: Path) -> str:
    """A module's path as it is written in a message."""
    return str(path.relative_to(PACKAGE))


def room_of(path: Path) -> str:
    """The room a module is in."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def tree_of(path: Path) -> ast.Module:
    """The module's syntax."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(nodes: Iterator[ast.AST] | list[ast.AST], path: Path) -> Iterator[str]:
    """Dotted names of all that is imported by these nodes."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{named(path)}: a relative import hides which room it reaches into"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: not the bodies of functions, not what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from run_at_import(child)


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_point_one_way(path: Path) -> None:
    """Operators stand on hooks, hooks on core; core and notifiers on nothing else; the local stack on core at most."""
    room = room_of(path)
    assert room in MAY_IMPORT, f"say in MAY_IMPORT what the new room {room} may import"
    for name in imports(ast.walk(tree_of(path)), path):
        package, _, rest = name.partition(".")
        if package == "penstock":
            reached = rest.split(".")[0]
            assert reached in MAY_IMPORT[room], f"{named(path)} imports {name}"
        if room == "core":
            assert package != "airflow", f"{named(path)} imports {name}: core runs without Airflow"
        assert package not in ("tests", "bench"), f"{named(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_heavy_packages_are_imported_where_they_are_needed(path: Path) -> None:
    """No module loads pandas, pyarrow, GX, SQLAlchemy or httpx when imported: a DAG file must import in no time."""
    loaded = {name.partition(".")[0] for name in imports(run_at_import(tree_of(path)), path)}
    assert not (loaded & HEAVY) - ALLOWED_HEAVY.get(named(path), set())


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) == "core"], ids=named)
def test_core_reads_neither_clock_nor_environment(path: Path) -> None:
    """What core does follows from its arguments: it asks no clock, no environment variable and no working folder."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            assert node.attr not in CLOCKS.get(owner, ()), f"{named(path)}:{node.lineno} reads {owner}.{node.attr}"
    for name in imports(ast.walk(tree_of(path)), path):
        module, _, attribute = name.rpartition(".")
        assert attribute not in CLOCKS.get(module, ()), f"{named(path)} imports {name}"
        assert name not in ("time", "random", "uuid"), f"{named(path)} imports {name}"


def test_every_module_has_its_tests() -> None:
    """`plugins/penstock/a/b.py` is tested by `tests/a/test_b.py`, so that nobody has to search."""
    missing = [
        named(path)
        for path in MODULES
        if path.stem not in ("__init__", "__main__")
        and not (ROOT / "tests" / path.relative_to(PACKAGE)).with_name(f"test_{path.stem}.py").exists()
    ]
    assert missing == []


def public_objects() -> Iterator[tuple[str, object]]:
    """Every public function, class and method that is defined in core."""
    for info in pkgutil.walk_packages(penstock.core.__path__, "penstock.core."):
        module = importlib.import_module(info.name)
        yield info.name, module
        for name, found in vars(module).items():
            if name.startswith("_") or getattr(found, "__module__", None) != info.name:
                continue
            if inspect.isfunction(found) or inspect.isclass(found):
                yield f"{info.name}.{name}", found
            if inspect.isclass(found):
                yield from (
                    (f"{info.name}.{name}.{attribute}", member)
                    for attribute, member in vars(found).items()
                    if not attribute.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
                )


def test_all_that_is_public_in_core_is_described() -> None:
    """Each module, class, function, method and property of core has a docstring of its own."""
    found = dict(public_objects())
    assert len(found) > 100
    generated = re.compile(r"\w+\(.*\)( -> None)?", re.DOTALL)  # what dataclass writes where nobody wrote anything
    bare = [name for name, item in found.items() if not item.__doc__ or generated.fullmatch(item.__doc__)]
    assert bare == []


def test_core_runs_where_airflow_is_not_installed(tmp_path: Path) -> None:
    """Every module of core can be imported, also those tests use, while `import airflow` fails."""
    script = """
import importlib, pkgutil, sys
class NoAirflow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "airflow":
            raise ImportError("airflow is not installed here")
sys.meta_path.insert(0, NoAirflow())
import penstock.core
names = [info.name for info in pkgutil.walk_packages(penstock.core.__path__, "penstock.core.")]
for name in names:
    importlib.import_module(name)
heavy = {"pandas", "pyarrow", "great_expectations", "sqlalchemy", "httpx"} & sys.modules.keys()
assert not heavy, heavy
print(len(names))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


# --- docs/errors.md ----------------------------------------------------------------------------------------------


def all_errors(error: type[PenstockError] = PenstockError) -> Iterator[type[PenstockError]]:
    """Every error below one, of all rooms."""
    for found in error.__subclasses__():
        if found.__module__.startswith("penstock."):
            yield found
            yield from all_errors(found)


def sections() -> dict[str, str]:
    """The page's sections by the error they are about."""
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    parts = re.split(r"^## `(\w+)`$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_error_is_on_the_page() -> None:
    """`docs/errors.md` describes each error of the tree and no other, with meaning, where to look and what to do."""
    for path in MODULES:
        if path.stem == "errors":
            importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    found = {error.__name__: error for error in all_errors()}
    described = sections()
    assert sorted(described) == sorted(found)
    for name, text in described.items():
        for heading in ("**Means.**", "**Look at.**", "**Do.**"):
            assert heading in text, f"{name} lacks {heading}"
        retried = "**Retried:** yes" in text
        assert retried is found[name].retryable, name
        assert retried or "**Retried:** no" in text, name
