"""`make demo` from its first line to its last."""

import sys
import time
from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from penstock.airflow_api import AirflowApi
from penstock.local.demo.ledger import DatasetTotals, Ledger, open_ledger
from penstock.local.demo.pipelines import PIPELINES, demo_keys
from penstock.local.demo.progress import make_view
from penstock.local.demo.watch import Watch
from penstock.local.demo.work import list_runs, plan_work, start_work
from penstock.local.errors import DemoError
from penstock.local.stack import Stack

DAGS_SECONDS = 120.0
REREAD_SECONDS = 15.0
# One to make what is missing, one for marts whose producer was all there, one to mend what that leaves.
ROUNDS = 3
WIDE = 120


def run_demo(stack: Stack) -> None:
    """Start everything, run what is missing, show what the ledger holds.

    Raises:
        LocalError: if something cannot be started, or a slice was not published.
    """
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    keys = demo_keys(stack.environ)
    stack.up(say, meanwhile=lambda: fill_sources(stack, say))
    with stack.api() as api, open_ledger(stack.warehouse_dsn) as ledger:
        await_dags(api)
        for pipeline in PIPELINES:
            api.unpause(pipeline.dag_id)
        try:
            publish_all(stack, api, ledger, keys, say)
        finally:
            if totals := ledger.totals(keys):
                show_ledger(totals)
            show_login(stack)
    say("done")


def fill_sources(stack: Stack, say: Callable[[str], None]) -> None:
    """Fill the source database from the bundled data, unless the user's own is to be read."""
    from include.sources.shop import fill_shop

    if "AIRFLOW_CONN_SHOP" not in stack.environ:
        counts = fill_shop(stack.postgres.dsn("shop"))
        say("shop database: " + ", ".join(f"{count:,} rows in {table}" for table, count in counts.items()))


def await_dags(api: AirflowApi) -> None:
    """Wait until Airflow has read the DAG files.

    Raises:
        DemoError: with the errors of the files that cannot be imported.
    """
    wanted = {pipeline.dag_id for pipeline in PIPELINES}
    began = time.monotonic()
    while time.monotonic() < began + DAGS_SECONDS:
        found = {dag["dag_id"] for dag in api.get("dags", limit=100)["dags"]}
        if wanted <= found:
            return
        errors = api.get("importErrors")["import_errors"]
        # An error that was mended a moment ago is listed until the file is read again.
        if errors and time.monotonic() > began + REREAD_SECONDS:
            raise DemoError("\n".join(f"{error['filename']}:\n{error['stack_trace']}" for error in errors))
        time.sleep(0.5)
    raise DemoError(f"Airflow found no DAG {', '.join(sorted(wanted - found))} in {DAGS_SECONDS:.0f} s")


def publish_all(stack: Stack, api: AirflowApi, ledger: Ledger, keys: Sequence[str], say: Callable[[str], None]) -> None:
    """Make the missing runs and watch them, until no slice is missing.

    Raises:
        DemoError: if some slices cannot be published.
    """
    total = {pipeline.dataset: len(keys) for pipeline in PIPELINES}
    for _ in range(ROUNDS):
        work = plan_work(keys, ledger.published(keys), list_runs(api))
        start_work(work, stack, api)
        for backfill in work.backfills:
            say(f"airflow {' '.join(backfill.arguments())}")
        with make_view(total, say) as view:
            watch = Watch(stack, api, ledger, keys, view)
            if watch.until_done():
                return
        if watch.failures:
            break
    missing = sum(len(keys) - len(found) for found in ledger.published(keys).values())
    raise DemoError(f"{missing} slices are not published. Mend the cause, then `make demo` runs them again.")


def show_ledger(totals: Sequence[DatasetTotals]) -> None:
    """Print the sums of the ledger for each dataset."""
    print("\nThe ledger: every row that was read is accounted for\n")
    # Eighty columns are enough for it.
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    table.add_column("dataset", no_wrap=True)
    for name in ("slices", "extracted", "loaded", "quarantined", "deduplicated", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for found in totals:
        counts = (found.slices, found.extracted, found.loaded, found.quarantined, found.deduplicated)
        table.add_row(found.dataset, *(f"{count:,}" for count in counts), f"{found.seconds:.1f}")
    # Where nobody can widen a window (a file, CI), the table takes what it needs.
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def show_login(stack: Stack) -> None:
    """Print where to look further."""
    user, password = stack.login
    print(f"\nAirflow's web UI: {stack.url}   user {user}, password {password}")
    print("The warehouse:    make psql   or   make psql SQL='select * from ops.slice_current limit 5'")
    print("Stop:             make down       Delete the data, too: make clean", flush=True)
