"""How the rows of a slice were asked for, as a digest: by it a slice that was loaded in an older way is told."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from penstock.operators.slices import SliceOperator

_DIGITS: Final = 16
_SHIPPED: Final = frozenset(("penstock", "airflow", "builtins", "abc", "typing"))
"""Packages whose source does not count: it is known by its version."""


def code_of(operator: SliceOperator) -> str:
    """Return the digest of an extract operator: its class, its own arguments, the text of its SQL file.

    Arguments count as the DAG file gives them, before Airflow fills in templates, and only where they differ from the
    default; those of `BaseOperator` (retries, pool …) do not count, nor what the class names in `not_code`. A
    `.sql` file counts by its text. The source of a class counts if it is neither Penstock's nor Airflow's.
    """
    kind = type(operator)
    foreign = [class_ for class_ in kind.__mro__ if not _is_shipped(class_)]
    basis = {
        "class": kind.__qualname__ if foreign else f"{kind.__module__}.{kind.__qualname__}",
        "arguments": dict(_arguments(operator)),
        "source": [_source(class_) for class_ in foreign],
    }
    return hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def _is_shipped(class_: type) -> bool:
    return class_.__module__.partition(".")[0] in _SHIPPED


def _arguments(operator: SliceOperator) -> Iterator[tuple[str, Any]]:
    # What Airflow keeps of the constructor's arguments to map tasks. It reads `.sql` files into it when it loads a DAG
    # file; a template that is filled in for a run does not change it.
    given: Mapping[str, Any] = getattr(operator, "_BaseOperator__init_kwargs", {})
    for name, default in _own_parameters(type(operator)).items():
        if name in given and given[name] != default and name not in (*operator.not_code, "dataset"):
            yield name, _plain(given[name])


def _own_parameters(kind: type) -> dict[str, Any]:
    """Return the defaults of the parameters that an operator has beside `BaseOperator`'s."""
    found: dict[str, Any] = {}
    for class_ in kind.__mro__:
        if class_ is BaseOperator:
            break
        if "__init__" in vars(class_):
            for parameter in inspect.signature(class_.__init__).parameters.values():  # type: ignore[misc]
                if parameter.kind is parameter.KEYWORD_ONLY:
                    found.setdefault(parameter.name, parameter.default)
    return found


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a value, the same in every process."""
    if isinstance(value, (str, bool, int, float, type(None))) and not isinstance(value, Enum):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__qualname__, _plain({field.name: getattr(value, field.name) for field in fields(value)})]
    if inspect.isroutine(value) or inspect.isclass(value):
        return _source(value)
    return _plain_collection(value)


def _plain_collection(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [[_plain(key), _plain(item)] for key, item in value.items()]
    if isinstance(value, Set):
        return sorted(json.dumps(_plain(item)) for item in value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(item) for item in value]
    text = repr(value)
    return type(value).__qualname__ if " at 0x" in text else text


def _source(item: Callable[..., Any] | type) -> str:
    try:
        return inspect.getsource(item)
    except (OSError, TypeError):
        return str(getattr(item, "__qualname__", item))
