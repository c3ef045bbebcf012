"""Which slice a run stands for."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from penstock.core.errors import SliceError, StageBusy
from penstock.operators.slices import SliceOperator
from tests.operators.contexts import Query, context_of

LINES = "commerce/order_lines"


def _operator() -> SliceOperator:
    return SliceOperator(task_id="task", dataset=LINES)


def test_partition_key_names_the_slice() -> None:
    """The run's key is the slice, and the stage's name follows from dataset, slice and run alone."""
    first = _operator().work(context_of(LINES, "2010-09-20"))
    assert (first.slice.key, first.contract.dataset) == ("2010-09-20", LINES)
    assert first.stage.name == _operator().work(context_of(LINES, "2010-09-20")).stage.name
    assert first.stage != _operator().work(context_of(LINES, "2010-09-20", run_id="other")).stage


def test_bare_manual_run_stands_for_yesterday() -> None:
    """Without key and interval it is the latest complete UTC day."""
    before = datetime.now(UTC)
    key = _operator().work(context_of(LINES, None)).slice.key
    days = {(moment - timedelta(days=1)).strftime("%Y-%m-%d") for moment in (before, datetime.now(UTC))}
    assert key in days


def test_data_interval_of_one_day_names_the_slice() -> None:
    """A run of an interval timetable stands for that day; any other interval is refused."""
    start = datetime(2010, 9, 20, tzinfo=UTC)
    day = {"data_interval_start": start, "data_interval_end": start + timedelta(days=1)}
    assert _operator().work(context_of(LINES, None) | day).slice.key == "2010-09-20"
    hour = {"data_interval_start": start, "data_interval_end": start + timedelta(hours=1)}
    with pytest.raises(SliceError, match="not one UTC day"):
        _operator().work(context_of(LINES, None) | hour)


def test_a_new_try_takes_the_session_of_the_one_before_it(query: Query) -> None:
    """The try of the task is in the session's name; the session of an earlier one is ended."""
    operators = [_operator() for _ in range(2)]
    works = [
        operator.work(context_of(LINES, "2010-09-20", try_number=number))
        for number, operator in enumerate(operators, start=1)
    ]
    with closing(operators[0].session(works[0])) as old, closing(operators[1].session(works[1])):
        with pytest.raises(psycopg2.OperationalError), old.cursor() as cur:
            cur.execute("SELECT 1")
        names = query("SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'penstock % 2 task'")
        assert len(names) == 1
        with pytest.raises(StageBusy, match="try 2 is at work"):
            operators[0].session(works[0])


def test_init_only_assigns_and_the_ui_shows_the_dataset() -> None:
    """The dataset is a template field, so that it is seen among the rendered attributes."""
    assert "dataset" in SliceOperator.template_fields
    assert _operator().dataset == LINES
