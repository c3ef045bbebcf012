"""Which runs the demo makes."""

from penstock.local.demo.pipelines import PIPELINES
from penstock.local.demo.work import Backfill, Run, plan_work

KEYS = ["2010-09-20", "2010-09-21", "2010-09-22"]
NOTHING: dict[str, set[str]] = {pipeline.dataset: set() for pipeline in PIPELINES}
ALL = {pipeline.dataset: set(KEYS) for pipeline in PIPELINES}
MART = "commerce_daily_revenue"
ORDERS = "commerce_order_lines"


def runs(dag_id: str, *states: str) -> list[Run]:
    """A run for each key, in these states."""
    return [Run(dag_id, f"{dag_id} {key}", key, state) for key, state in zip(KEYS, states, strict=True)]


def test_a_fresh_start_backfills_each_producer_once() -> None:
    """Three backfills over the whole range; the mart follows its producer without one."""
    work = plan_work(KEYS, NOTHING, [])
    producers = [pipeline.dag_id for pipeline in PIPELINES if pipeline.follows is None]
    assert work.backfills == [Backfill(dag_id, KEYS[0], KEYS[-1], "none") for dag_id in producers]
    assert work.clear == []


def test_when_all_is_published_there_is_nothing_to_do() -> None:
    """A second demo makes no run, whatever else Airflow remembers."""
    work = plan_work(KEYS, ALL, runs(ORDERS, "success", "failed", "success"))
    assert (work.backfills, work.clear) == ([], [])


def test_runs_under_way_are_left_alone() -> None:
    """A demo that was interrupted goes on where it was."""
    found = [run for pipeline in PIPELINES for run in runs(pipeline.dag_id, "running", "queued", "running")]
    work = plan_work(KEYS, NOTHING, found)
    assert (work.backfills, work.clear) == ([], [])


def test_a_failed_run_is_cleared() -> None:
    """A slice whose run failed is run again in that run, producer or mart, and only that slice."""
    published = {**ALL, "commerce/order_lines": {KEYS[0], KEYS[2]}, "commerce/daily_revenue": {KEYS[1]}}
    found = [*runs(ORDERS, "success", "failed", "success"), *runs(MART, "failed", "success", "failed")]
    work = plan_work(KEYS, published, found)
    assert work.backfills == []
    assert [(run.dag_id, run.key) for run in work.clear] == [(ORDERS, KEYS[1]), (MART, KEYS[0]), (MART, KEYS[2])]


def test_only_the_days_that_are_missing() -> None:
    """More DAYS than before add the new days only."""
    published = {**ALL, "commerce/customers": {KEYS[0]}}
    work = plan_work(KEYS, published, runs("commerce_customers", "success", "success", "success")[:1])
    assert work.backfills == [Backfill("commerce_customers", KEYS[1], KEYS[2], "none")]


def test_another_warehouse_is_filled_anew() -> None:
    """Runs that succeeded into a warehouse that is not this one are no reason to leave this one empty."""
    work = plan_work(KEYS, NOTHING, runs(ORDERS, "success", "success", "success"))
    assert work.backfills[0] == Backfill(ORDERS, KEYS[0], KEYS[-1], "completed")


def test_a_mart_is_rebuilt_through_its_producer() -> None:
    """A mart's slice whose event was lost comes from its producer, once nothing is under way that may bring it."""
    published = {**ALL, "commerce/daily_revenue": {KEYS[0], KEYS[2]}}
    done = runs(ORDERS, "success", "success", "success")
    assert plan_work(KEYS, published, done).backfills == [Backfill(ORDERS, KEYS[1], KEYS[1], "completed")]
    busy = [*done, Run(ORDERS, "again", KEYS[1], "running")]
    assert plan_work(KEYS, published, busy).backfills == []


def test_the_arguments_are_those_of_the_airflow_cli() -> None:
    """The command shown to the user is the one that is run."""
    assert " ".join(Backfill("dag", "a", "b", "none").arguments()) == (
        "backfill create --dag-id dag --from-date a --to-date b --reprocess-behavior none --max-active-runs 4"
    )
