"""The ways of use, through a real running scheduler, API server and dag processor."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.platform import Platform

YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")
PUBLISHED = "SELECT count(*) FROM {} WHERE {}::date = '{}'"


def _keys(platform: Platform, dag_id: str, run_type: str) -> set[str]:
    return {run["partition_key"] for run in platform.runs(dag_id) if run["run_type"] == run_type}


def _backfill(platform: Platform, dag_id: str, first: str, last: str, *more: str) -> None:
    def none_runs() -> bool:
        found = platform.request("GET", "backfills", params={"dag_id": dag_id})["backfills"]
        return all(backfill["completed_at"] for backfill in found)

    platform.wait("the end of an earlier backfill", none_runs)  # Airflow runs one at a time for a DAG
    days = ("--from-date", first, "--to-date", last)
    platform.airflow("backfill", "create", "--dag-id", dag_id, *days, *more)


def test_backfill_dates_mean_slice_dates_and_reach_the_mart(platform: Platform) -> None:
    """`airflow backfill create` loads the days it is given, the last one too, and the mart follows each of them."""
    days = {"2010-09-20", "2010-09-21", "2010-09-22"}
    _backfill(platform, "commerce_order_lines", "2010-09-20", "2010-09-22")
    _backfill(platform, "commerce_customers", "2010-09-20", "2010-09-22", "--run-backwards")

    def all_published() -> bool:
        datasets = ("commerce/order_lines", "commerce/customers", "commerce/daily_revenue")
        return all(days <= platform.ledger(dataset).keys() for dataset in datasets)

    platform.wait("the slices", all_published)
    asked = {key for key in _keys(platform, "commerce_order_lines", "backfill") if key.startswith("2010-09")}
    assert asked == days  # in October other tests backfill
    assert days <= _keys(platform, "commerce_daily_revenue", "asset_triggered")
    lines = platform.ledger("commerce/order_lines")
    assert {day: lines[day][0] for day in days} == {"2010-09-20": 1841, "2010-09-21": 2476, "2010-09-22": 1492}
    for day in days:
        in_table = platform.query(PUBLISHED.format("commerce.order_lines", "invoiced_at", day))
        assert in_table == [(lines[day][1],)]
    revenue = platform.query(
        "SELECT (SELECT sum(revenue) FROM commerce.daily_revenue WHERE day BETWEEN '2010-09-20' AND '2010-09-22')"
        " = (SELECT sum(quantity * unit_price) FROM commerce.order_lines"
        " WHERE invoiced_at < '2010-09-23' AND invoiced_at >= '2010-09-20')"
    )
    assert revenue == [(True,)]


def test_reprocessing_a_backfill_changes_no_row(platform: Platform) -> None:
    """`--reprocess-behavior completed` runs the slices again and ends with the very same table."""
    checksum = "SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM commerce.order_lines AS t"
    before = platform.query(checksum)
    _backfill(platform, "commerce_order_lines", "2010-09-20", "2010-09-21", "--reprocess-behavior", "completed")
    attempts = (
        "SELECT count(*) FROM ops.slice_ledger WHERE dataset = 'commerce/order_lines' AND status = 'published'"
        " AND slice_key IN ('2010-09-20', '2010-09-21')"
    )
    platform.wait("the second attempts", lambda: platform.query(attempts) == [(4,)])
    assert platform.query(checksum) == before


def test_scheduled_run_loads_the_day_that_has_just_ended(platform: Platform) -> None:
    """A run that the scheduler starts by itself carries the key of the latest complete UTC day."""
    platform.query(
        "INSERT INTO invoice_line (line_id, invoice, stock_code, quantity, invoiced_at, unit_price, country)"
        f" VALUES (900001, '600001', '85048', 3, '{YESTERDAY} 11:00+00', 2.5, 'France')",
        database="shop",
    )
    found = platform.wait("a scheduled run", lambda: _keys(platform, "commerce_order_lines", "scheduled"))
    assert found == {YESTERDAY}
    platform.wait("its slice", lambda: YESTERDAY in platform.ledger("commerce/order_lines"))
    platform.wait("the mart's slice", lambda: YESTERDAY in platform.ledger("commerce/daily_revenue"))


def test_run_triggered_with_a_key_loads_that_slice_through_a_faulty_api(platform: Platform) -> None:
    """A run triggered as the web UI does it loads the slice of its key, sitting out the API's 429 and 503."""
    runs = [platform.trigger("energy_power_readings", partition_key=f"2010-09-{day}") for day in range(20, 26)]
    assert {platform.wait_for_run("energy_power_readings", run) for run in runs} == {"success"}
    ledger = platform.ledger("energy/power_readings")
    assert ledger["2010-09-20"] == (1440, 1440, 0, 0)
    assert ledger["2010-09-25"] == (1440, 236, 1204, 0)
    rules = platform.query("SELECT DISTINCT unnest(rules) FROM ops.quarantine WHERE dataset = 'energy/power_readings'")
    assert ("active_kw.required",) in rules


@pytest.mark.parametrize("date", [None, "now"])
def test_bare_manual_run_loads_the_latest_complete_slice_and_its_mart_follows(
    platform: Platform, date: str | None
) -> None:
    """A run triggered without a key, with a date in the form or without, is yesterday's and tells its marts so."""
    run = platform.trigger("commerce_order_lines", logical_date=date and datetime.now(UTC).isoformat())
    assert platform.wait_for_run("commerce_order_lines", run) == "success"
    attempts = platform.query(
        f"SELECT slice_key, loaded FROM ops.slice_ledger WHERE run_id = '{run}' AND status = 'published'"
    )
    assert attempts == [(YESTERDAY, 1)]
    revenue = "SELECT revenue FROM commerce.daily_revenue WHERE day = '{}'"
    platform.wait("the mart", lambda: platform.query(revenue.format(YESTERDAY)))


def test_malformed_key_fails_at_once_and_says_so(platform: Platform) -> None:
    """A key that is no day never becomes a slice."""
    with pytest.raises(AssertionError, match="does not match the timetable"):
        platform.trigger("commerce_order_lines", partition_key="last tuesday")


def test_refused_slice_fails_at_once_and_publishes_after_the_contract_is_mended(platform: Platform) -> None:
    """A broken critical rule refuses the slice without a retry; clearing `validate` publishes it in the end."""
    contract = platform.contracts / "commerce" / "order_lines.yaml"
    sound = contract.read_text(encoding="utf-8")
    rule = "    quality:\n      - {name: enough_rows, type: library, metric: rowCount, mustBeGreaterThan: 100000}\n"
    contract.write_text(sound.replace("    properties:\n", rule + "    properties:\n", 1), encoding="utf-8")
    before = platform.query(PUBLISHED.format("commerce.order_lines", "invoiced_at", "2010-09-21"))
    run = platform.trigger("commerce_order_lines", partition_key="2010-09-21")
    try:
        assert platform.wait_for_run("commerce_order_lines", run) == "failed"
    finally:
        contract.write_text(sound, encoding="utf-8")
    validate = platform.tasks("commerce_order_lines", run)["validate"]
    assert (validate["state"], validate["try_number"]) == ("failed", 1)
    log = platform.log("commerce_order_lines", run, "validate")
    for word in ("SliceRefused", "commerce/order_lines 2010-09-21", "enough_rows", "2476", "Task failed for good"):
        assert word in log, word
    refused = platform.query(
        f"SELECT extracted, loaded, quarantined, withheld FROM ops.slice_ledger WHERE run_id = '{run}'"
    )
    assert refused == [(2476, 0, 9, 2467)]
    assert platform.query(PUBLISHED.format("commerce.order_lines", "invoiced_at", "2010-09-21")) == before

    body = {"dag_run_id": run, "task_ids": ["validate"], "include_downstream": True, "dry_run": False}
    platform.request("POST", "dags/commerce_order_lines/clearTaskInstances", json=body)
    platform.wait("the cleared run", lambda: platform.wait_for_run("commerce_order_lines", run) == "success")
    assert platform.query(PUBLISHED.format("commerce.order_lines", "invoiced_at", "2010-09-21")) == before


def test_wrong_password_fails_at_once_and_is_not_shown(platform: Platform) -> None:
    """Credentials that the source refuses are not tried again, and the password is in no log."""
    wrong = "not-the-password-8731"
    shop = platform.request("GET", "connections/shop")
    right = platform.stack.postgres.password
    body = {key: shop[key] for key in ("connection_id", "conn_type", "host", "login", "schema", "port")}
    platform.request("PATCH", "connections/shop", json={**body, "password": wrong})
    try:
        run = platform.trigger("commerce_customers", partition_key="2010-09-23")
        assert platform.wait_for_run("commerce_customers", run) == "failed"
    finally:
        platform.request("PATCH", "connections/shop", json={**body, "password": right})
    extract = platform.tasks("commerce_customers", run)["extract"]
    assert extract["try_number"] == 1
    log = platform.log("commerce_customers", run, "extract")
    assert "CredentialsError" in log
    assert wrong not in log


def test_source_that_is_away_is_tried_again(platform: Platform) -> None:
    """A connection that cannot be made is retried with a delay, and the slice is loaded once it can."""
    shop = platform.request("GET", "connections/shop")
    body = {key: shop[key] for key in ("connection_id", "conn_type", "host", "login", "schema", "port")}
    password = {"password": platform.stack.postgres.password}
    platform.request("PATCH", "connections/shop", json={**body, **password, "port": 1})
    try:
        run = platform.trigger("commerce_customers", partition_key="2010-09-24")
        platform.wait(
            "the first failure",
            lambda: platform.tasks("commerce_customers", run)["extract"]["state"] == "up_for_retry",
        )
    finally:
        platform.request("PATCH", "connections/shop", json={**body, **password})
    assert platform.wait_for_run("commerce_customers", run) == "success"
    assert platform.tasks("commerce_customers", run)["extract"]["try_number"] > 1


def test_broken_contract_stops_the_import_of_its_dag_only(platform: Platform) -> None:
    """Airflow's UI shows file, field and what is wrong; the other DAGs stay."""
    contract = platform.contracts / "commerce" / "customers.yaml"
    sound = contract.read_text(encoding="utf-8")
    contract.write_text(sound.replace("value: merge", "value: murge"), encoding="utf-8")
    dag_file = "commerce/customers.py"

    def shown() -> list[str]:
        errors = platform.request("GET", "importErrors")["import_errors"]
        return [error["stack_trace"] for error in errors if error["filename"].endswith(dag_file)]

    try:
        trace = platform.wait("the import error", shown)[0]
    finally:
        contract.write_text(sound, encoding="utf-8")
    assert re.search(r"commerce/customers\.yaml:\d+: .*loadMode: 'murge' is not one of", trace)
    platform.wait("the repaired DAG", lambda: not shown())


def test_every_row_of_every_attempt_is_accounted_for(platform: Platform) -> None:
    """Over all that the tests above did, the ledger balances and agrees with the tables."""
    unbalanced = platform.query(
        "SELECT count(*) FROM ops.slice_ledger"
        " WHERE extracted <> loaded + quarantined + deduplicated + filtered + withheld"
    )
    assert unbalanced == [(0,)]
    for table in ("commerce.order_lines", "energy.power_readings", "commerce.daily_revenue"):
        dataset = table.replace(".", "/")
        loaded = platform.query(f"SELECT sum(loaded) FROM ops.slice_current WHERE dataset = '{dataset}'")
        assert platform.query(f"SELECT count(*) FROM {table}") == loaded, table
    left = platform.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'staging'::regnamespace")
    assert left == [(0,)]
