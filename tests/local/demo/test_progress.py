"""The live progress."""

import pytest

from penstock.local.demo import progress
from penstock.local.demo.progress import BarView, LineView, make_view

TOTAL = {"commerce/order_lines": 2, "commerce/customers": 2}


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Into a file or a pipe go plain lines, without control characters, and the last state is always there."""
    view = make_view(TOTAL, print)
    assert isinstance(view, LineView)
    with view:
        for orders in (0, 1, 1, 2):
            view.show({"commerce/order_lines": orders, "commerce/customers": orders}, {"commerce/customers": 1})
        view.say("a line")
    lines = capsys.readouterr().out.splitlines()
    assert "commerce/order_lines 0/2 · commerce/customers 0/2 (1 failed)" in lines[0]
    assert "commerce/order_lines 2/2 · commerce/customers 2/2" in lines[-2]
    assert lines[-1] == "a line"
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)


def test_a_bar_for_each_dataset_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal gets a bar per dataset with its counts; text with brackets is shown as it is."""
    monkeypatch.setattr(progress.sys.stdout, "isatty", lambda: True, raising=False)
    view = make_view(TOTAL, print)
    assert isinstance(view, BarView)
    with view:
        view.show({"commerce/order_lines": 2, "commerce/customers": 1}, {"commerce/customers": 1})
        view.say("[red] is not a colour here")
    said = capsys.readouterr().out
    assert "commerce/order_lines" in said
    assert "2/2" in said
    assert "1/2" in said
    assert "1 failed" in said
    assert "[red] is not a colour here" in said
