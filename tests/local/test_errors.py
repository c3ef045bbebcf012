"""What a user of the one-machine stack sees when something goes wrong."""

import inspect

import pytest

from penstock.local import __main__ as command
from penstock.local import errors

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind is not errors.LocalError]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_shown_without_a_traceback(
    kind: type[errors.LocalError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that fails on purpose prints one line and exits with 1."""

    def fail(_: object) -> int:
        raise kind("the disk is full")

    monkeypatch.setitem(command.COMMANDS, "up", fail)
    assert command.main(["up"]) == 1
    assert capsys.readouterr().err == "penstock: the disk is full\n"
