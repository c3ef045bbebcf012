"""The janitor as a task."""

from penstock.operators.extract_database import DatabaseExtractOperator
from penstock.operators.janitor import JanitorOperator
from tests.operators.contexts import Query, context_of
from tests.operators.test_redrive import DAY, LINES


def test_sweeps_what_is_older_than_so_many_days(query: Query) -> None:
    """A stage older than the days, which come as text from the run's params, goes; a younger one stays."""
    extract = DatabaseExtractOperator(task_id="e", dataset=LINES, conn_id="shop", table="public.invoice_line")
    extract.execute(context_of(LINES, DAY, "lost-run"))
    query("UPDATE ops.stage SET changed_at = now() - interval '10 days' RETURNING 1")
    assert JanitorOperator(task_id="sweep").execute({}) == {"stages": [], "tables": [], "marked": []}
    done = JanitorOperator(task_id="sweep", days="9").execute({})
    assert done["stages"] == [
        {"dataset": LINES, "slice_key": DAY, "run_id": "lost-run", "state": "staged", "rows": 2476}
    ]
    assert query("SELECT kind, withheld FROM ops.slice_ledger") == [("expire", 2476)]
    assert query("SELECT count(*) FROM pg_tables WHERE schemaname = 'staging'") == [(0,)]
