"""Mended rows find their way into their slices through a real scheduler, while other slices are loaded."""

from __future__ import annotations

from penstock.core.quarantine import mend
from penstock.core.stage import open_session
from penstock.project import contract_of
from tests.integration.platform import Platform

READINGS, LINES = "energy/power_readings", "commerce/order_lines"
MEND = {"active_kw": "0.5", "reactive_kw": "0.1", "voltage": "240", "intensity": "2.1",
        "kitchen_wh": "0", "laundry_wh": "0", "heating_wh": "0"}  # fmt: skip


def _mend(platform: Platform, dataset: str, slice_key: str, changes: dict[str, str | None]) -> int:
    """Mend every open row of a slice."""
    import psycopg2

    connection = psycopg2.connect(platform.stack.postgres.dsn("warehouse"))
    open_session(connection)
    try:
        with connection, connection.cursor() as cur:
            cur.execute(
                "SELECT id FROM ops.quarantine WHERE (dataset, slice_key, state) = (%s, %s, 'open')",
                (dataset, slice_key),
            )
            return mend(cur, contract_of(dataset), [id_ for (id_,) in cur.fetchall()], changes, by="ann")
    finally:
        connection.close()


def _balanced(platform: Platform, dataset: str, table: str) -> None:
    """The ledger's counts are those of the table and of the quarantine."""
    loaded, quarantined, balanced = platform.query(
        "SELECT sum(loaded), sum(quarantined), bool_and(extracted = loaded + quarantined + deduplicated + filtered)"
        f" FROM ops.slice_current WHERE dataset = '{dataset}'"
    )[0]
    assert balanced
    assert platform.query(f"SELECT count(*) FROM {table}") == [(loaded,)]
    assert platform.query(f"SELECT count(*) FROM ops.quarantine WHERE dataset = '{dataset}' AND state = 'open'") == [
        (quarantined,)
    ]


def test_a_thousand_mended_rows_are_published_while_slices_are_loaded(platform: Platform) -> None:
    """The re-drive DAG publishes 1,440 mended readings while other days and the same day are loaded: all balances."""
    day = "2010-09-27"
    first = platform.trigger("energy_power_readings", partition_key=day)
    assert platform.wait_for_run("energy_power_readings", first) == "success"
    assert _mend(platform, READINGS, day, MEND) == 1440
    loads = [platform.trigger("energy_power_readings", partition_key=f"2010-10-0{n}") for n in range(1, 4)]
    redrive = platform.trigger("redrive_energy_power_readings", conf={"mended_only": True})
    loads.append(platform.trigger("energy_power_readings", partition_key=day))
    assert platform.wait_for_run("redrive_energy_power_readings", redrive) == "success"
    assert {platform.wait_for_run("energy_power_readings", run) for run in loads} == {"success"}
    assert platform.ledger(READINGS)[day] == (1440, 1440, 0, 0)
    _balanced(platform, READINGS, "energy.power_readings")
    duplicates = "SELECT count(*) - count(DISTINCT read_at) FROM energy.power_readings"
    assert platform.query(duplicates) == [(0,)]
    assert ("redrive",) in platform.query(f"SELECT DISTINCT kind FROM ops.slice_ledger WHERE slice_key = '{day}'")


def test_the_mart_follows_a_redrive(platform: Platform) -> None:
    """After mended lines were published the mart of their slice is built anew, and holds them."""
    day = "2010-09-28"
    run = platform.trigger("commerce_order_lines", partition_key=day)
    assert platform.wait_for_run("commerce_order_lines", run) == "success"
    revenue = f"SELECT sum(revenue) FROM commerce.daily_revenue WHERE day = '{day}'"
    true = f"SELECT sum(quantity * unit_price) FROM commerce.order_lines WHERE invoiced_at::date = '{day}'"
    platform.wait("the mart's slice", lambda: day in platform.ledger("commerce/daily_revenue"))
    platform.wait("the mart", lambda: platform.query(revenue) == platform.query(true))
    before = platform.query(true)
    assert _mend(platform, LINES, day, {"unit_price": "9.99"}) > 0
    redrive = platform.trigger("redrive_commerce_order_lines", conf={"slice_key": day})
    assert platform.wait_for_run("redrive_commerce_order_lines", redrive) == "success"
    assert platform.query(true) != before
    platform.wait("the mart after the re-drive", lambda: platform.query(revenue) == platform.query(true))
    _balanced(platform, LINES, "commerce.order_lines")
