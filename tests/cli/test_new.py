"""From a real source, through `penstock new`, to published rows."""

from __future__ import annotations

import json
import lzma
import os
import runpy
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg2
import pytest

import penstock.cli.new
import penstock.project
from penstock.cli.app import main
from penstock.core.contract import load_contract
from penstock.local.postgres import EmbeddedPostgres
from penstock.project import ROOT, contract_of, contract_path
from tests.operators.contexts import Query, context_of

Published = dict[str, int]
Run = Callable[[str, str], Published]


@pytest.fixture
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Contracts, DAGs and lake of the test's own; the folder of the DAGs."""
    monkeypatch.setattr(penstock.project, "CONTRACTS", tmp_path / "contracts")
    monkeypatch.setattr(penstock.cli.new, "DAGS", tmp_path / "dags")
    monkeypatch.setenv("AIRFLOW_VAR_LAKE_URL", str(tmp_path / "lake"))
    return tmp_path / "dags"


@pytest.fixture
def run(dags: Path, query: Query) -> Run:
    """Run the three tasks of a drafted DAG for a slice; the counts that publish tells."""

    def tasks(dataset: str, key: str) -> Published:
        load_contract(contract_path(dataset))
        dag_id = dataset.replace("/", "_")
        dag = runpy.run_path(str(dags / f"{dataset}.py"))[dag_id]()
        assert (dag.dag_id, dag.task_ids) == (dag_id, ["extract", "validate", "publish"])
        for name in dag.task_ids:
            context = context_of(dataset, key, run_id=f"run of {key}")
            summary = dag.get_task(name).execute(context)
        kept = ("extracted", "loaded", "quarantined", "deduplicated")
        return {name: summary[name] for name in kept if summary[name]}

    return tasks


@pytest.fixture
def source(pg: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Query]:
    """Run a statement in a source database behind the connection `books`."""
    dsn = pg.create_database()
    monkeypatch.setenv("AIRFLOW_CONN_BOOKS", dsn.replace("postgresql:", "postgres:", 1))
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True

        def statement(sql: str) -> list[tuple[Any, ...]]:
            with connection.cursor() as cur:
                cur.execute(sql)
                return cur.fetchall() if cur.description else []

        yield statement
    pg.drop_database(dsn.rsplit("/", 1)[1])


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The URL of a server on this machine; it serves the folder `web`."""
    folder = tmp_path / "web"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


ORDERS = """
CREATE TABLE "Orders" (
    "orderId" bigint PRIMARY KEY, placed_at timestamptz NOT NULL, status text, amount numeric(10,2) NOT NULL,
    "Customer e-mail" text, tags text[], extra jsonb, ip inet, price money, shipped_at timestamptz);
COMMENT ON TABLE "Orders" IS 'What was ordered: all of it';
INSERT INTO "Orders" SELECT n, timestamptz '2026-01-05 00:00Z' + n * interval '10 min', 'paid', n / 8.0,
    n || '@example.org',
    '{a,b}', '{"n": 1}', '10.0.0.1', 12.5, NULL FROM generate_series(0, 287) AS n;
"""


def test_table_with_key_and_time(source: Query, run: Run, query: Query, capsys: pytest.CaptureFixture[str]) -> None:
    """Slices are cut by the time column, the key is the primary key, and each day's rows are published, all of them.

    Rows that came after the draft and look otherwise (another status, a larger amount, no e-mail) are published too.
    """
    source(ORDERS)
    assert main(["new", "commerce/orders", "--from", "books", "--table", "public.Orders"]) == 0
    told = capsys.readouterr().out
    assert "replace_partition by placed_at" in told
    assert "backfill create --dag-id commerce_orders --from-date 2026-01-06 --to-date 2026-01-06" in told
    contract = contract_of("commerce/orders")
    assert (contract.key, contract.partition_by) == (("order_id",), "placed_at")
    assert contract.description == "What was ordered: all of it"
    assert run("commerce/orders", "2026-01-05") == {"extracted": 144, "loaded": 144}
    source(
        """INSERT INTO "Orders" SELECT n, '2026-01-06 12:00Z', 'lost', 9e7, NULL FROM generate_series(300, 309) AS n"""
    )
    assert run("commerce/orders", "2026-01-06") == {"extracted": 154, "loaded": 154}
    columns = "order_id, placed_at, status, amount, customer_e_mail, tags, extra, ip, price"
    fields = '"orderId", placed_at, status, amount, "Customer e-mail", tags, extra, ip, price::text'
    assert query(f"SELECT {columns} FROM commerce.orders ORDER BY 1") == source(
        f'SELECT {fields} FROM "Orders" ORDER BY 1'
    )


def test_table_whose_rows_change(source: Query, run: Run, query: Query) -> None:
    """Where a column tells the last change and there is a key, rows are merged: the newest version stays."""
    source(
        "CREATE TABLE customer (no text NOT NULL UNIQUE, city text, created_at timestamp NOT NULL,"
        " updated_at timestamp NOT NULL);"
        "INSERT INTO customer SELECT 'C' || n, 'Rome', '2026-01-05 08:00', '2026-01-05 09:00'"
        " FROM generate_series(1, 50) AS n"
    )
    assert main(["new", "commerce/customers", "--from", "books", "--table", "public.customer"]) == 0
    assert contract_of("commerce/customers").cursor == "updated_at"
    assert run("commerce/customers", "2026-01-05") == {"extracted": 50, "loaded": 50}
    source("UPDATE customer SET city = 'Oslo', updated_at = '2026-01-06 09:00' WHERE no = 'C7'")
    assert run("commerce/customers", "2026-01-06") == {"extracted": 1, "loaded": 1}
    assert query("SELECT city, count(*) FROM commerce.customers GROUP BY 1 ORDER BY 1") == [("Oslo", 1), ("Rome", 49)]


def test_table_without_any_time(source: Query, run: Run, query: Query) -> None:
    """Each slice holds the whole table as it is, under the slice's day, which is part of the key."""
    source("CREATE TABLE country (code char(2) PRIMARY KEY, name text); INSERT INTO country VALUES ('NO', 'Norway')")
    assert main(["new", "geo/countries", "--from", "books", "--table", "public.country"]) == 0
    assert contract_of("geo/countries").key == ("slice_day", "code")
    assert run("geo/countries", "2026-01-05") == {"extracted": 1, "loaded": 1}
    source("INSERT INTO country VALUES ('DE', NULL)")
    for _ in range(2):
        assert run("geo/countries", "2026-01-06") == {"extracted": 2, "loaded": 2}
    assert query("SELECT slice_day::text, count(*) FROM geo.countries GROUP BY 1 ORDER BY 1") == [
        ("2026-01-05", 1),
        ("2026-01-06", 2),
    ]


def test_table_that_may_not_be_read(
    source: Query, dags: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table for which the connection has no privilege is told, with what would be needed."""
    source("CREATE TABLE closed (id int); DROP ROLE IF EXISTS stranger; CREATE ROLE stranger")
    monkeypatch.setenv("AIRFLOW_CONN_BOOKS", os.environ["AIRFLOW_CONN_BOOKS"] + "?options=-c%20role%3Dstranger")
    assert main(["new", "a/b", "--from", "books", "--table", "public.closed"]) == 1
    assert "may not read public.closed" in capsys.readouterr().err
    source("DROP ROLE stranger")


def test_empty_table(source: Query, run: Run) -> None:
    """A table without rows has types and keys all the same."""
    source("CREATE TABLE event (id int PRIMARY KEY, at timestamptz NOT NULL)")
    assert main(["new", "ops_data/events", "--from", "books", "--table", "public.event"]) == 0
    source("INSERT INTO event VALUES (1, '2026-01-05 10:00Z')")
    assert run("ops_data/events", "2026-01-05") == {"extracted": 1, "loaded": 1}


CSV_HEAD = "Nr;Name;Betrag;Datum;Telefon;Menge\n"


def csv_line(number: int) -> str:
    """A line of the CSV: cp1252, semicolons, German dates; the last value may be missing."""
    menge = "" if number % 9 == 0 else str(number)
    return f"{number};Käse {number};{number}.50;{number % 28 + 1:02}.02.2026;030 12345{number:03};{menge}\n"


def test_csv_file(tmp_path: Path, run: Run, query: Query, dags: Path) -> None:
    """Delimiter, encoding and date format are found; every good row is published, and the two broken ones are not.

    The draft saw the first fifty rows only, in which the file is sound, and what comes after looks otherwise.
    """
    file = tmp_path / "cheese.csv"
    lines = [csv_line(number) for number in range(1, 301)]
    lines[200] = "201;Käse;viel;01.02.2026;030;1\n"
    lines[201] = "202;Käse;2.50\n"
    lines[202] = "203;;99999999;28.02.2026;;-5\n"
    file.write_bytes((CSV_HEAD + "".join(lines)).encode("cp1252"))
    assert main(["new", "food/cheese", "--from", str(file), "--rows", "50"]) == 0
    dag = (dags / "food" / "cheese.py").read_text()
    assert 'delimiter=";"' in dag
    assert 'encoding="cp1252"' in dag
    types = {column.name: column.type for column in contract_of("food/cheese").columns}
    assert types == {
        "slice_day": "date",
        "nr": "bigint",
        "name": "text",
        "betrag": "numeric",
        "datum": "date",
        "telefon": "text",
        "menge": "bigint",
    }
    assert run("food/cheese", "2026-02-20") == {"extracted": 300, "loaded": 298, "quarantined": 2}
    assert query("SELECT name, betrag::text, datum::text FROM food.cheese WHERE nr = 7") == [
        ("Käse 7", "7.50", "2026-02-08")
    ]


def test_json_lines_file(tmp_path: Path, run: Run, query: Query) -> None:
    """Numbers in JSON are numbers, texts that look like numbers stay texts, and nested values are JSON."""
    file = tmp_path / "readings.jsonl"
    rows = [
        {
            "id": n,
            "plug": f"{n:05}",
            "kwh": n / 4,
            "on": n % 2 == 0,
            "at": f"2026-01-05T10:{n % 60:02}:00Z",
            "raw": {"a": [n]},
        }
        for n in range(300)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    assert main(["new", "energy/readings", "--from", str(file)]) == 0
    types = [column.type for column in contract_of("energy/readings").columns]
    assert types == ["date", "bigint", "text", "numeric", "boolean", "timestamp with time zone", "jsonb"]
    assert run("energy/readings", "2026-01-05") == {"extracted": 301, "loaded": 300, "quarantined": 1}
    assert query("SELECT plug, kwh::text, raw FROM energy.readings WHERE id = 7") == [("00007", "1.75", {"a": [7]})]


def test_json_document(tmp_path: Path, run: Run) -> None:
    """The array within a document is found."""
    file = tmp_path / "export.json"
    file.write_text(
        json.dumps({"meta": {"page": 1}, "data": {"items": [{"id": n, "name": f"n{n}"} for n in range(30)]}})
    )
    assert main(["new", "web/items", "--from", str(file)]) == 0
    assert run("web/items", "2026-01-05") == {"extracted": 30, "loaded": 30}


def test_url(web: str, tmp_path: Path, run: Run, dags: Path, query: Query) -> None:
    """A day in the URL becomes the slice's: the next day's file is fetched by the next day's run."""
    for day, count in (("2026-01-05", 40), ("2026-01-06", 25)):
        body = "id,what\n" + "".join(f'{n},"a ""b"", c"\n' for n in range(count))
        (tmp_path / "web" / f"events-{day}.csv").write_text(body)
    assert main(["new", "web/events", "--from", f"{web}/events-2026-01-05.csv"]) == 0
    assert f'path="{web}/events-{{slice}}.csv"' in (dags / "web" / "events.py").read_text()
    assert run("web/events", "2026-01-05") == {"extracted": 40, "loaded": 40}
    assert run("web/events", "2026-01-06") == {"extracted": 25, "loaded": 25}
    assert query("SELECT DISTINCT what FROM web.events") == [('a "b", c',)]


def test_url_that_does_not_tell_the_kind(web: str, tmp_path: Path, run: Run, dags: Path) -> None:
    """What the URL does not tell is seen from the first bytes and stands in the DAG."""
    (tmp_path / "web" / "export").write_text("".join(json.dumps({"n": n}) + "\n" for n in range(30)))
    assert main(["new", "web/export", "--from", f"{web}/export?key=1"]) == 0
    assert 'format="jsonl"' in (dags / "web" / "export.py").read_text()
    assert run("web/export", "2026-01-05") == {"extracted": 30, "loaded": 30}


def test_real_feeds(tmp_path: Path, run: Run, query: Query) -> None:
    """Of the bundled real data, invoices with their `C…` among numbers and readings with gaps, every row is loaded."""
    for name, rows in (("invoice_lines", 20_000), ("power_readings", 5_000)):
        with lzma.open(ROOT / "include" / "sources" / "data" / f"{name}.csv.xz", "rt", encoding="utf-8") as packed:
            (tmp_path / f"{name}.csv").write_text("".join(islice(packed, rows + 1)), encoding="utf-8")
        assert main(["new", f"real/{name}", "--from", str(tmp_path / f"{name}.csv")]) == 0
        assert run(f"real/{name}", "2026-01-05") == {"extracted": rows, "loaded": rows}


def test_overwrites_only_when_told(tmp_path: Path, dags: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a contract nor a DAG that is there is touched without --force, and the other is not written then."""
    file = tmp_path / "a.csv"
    file.write_text("id\n1\n")
    dag = dags / "a" / "b.py"
    dag.parent.mkdir(parents=True)
    dag.write_text("# mine\n")
    arguments = ["new", "a/b", "--from", str(file)]
    assert main(arguments) == 1
    assert "--force" in capsys.readouterr().err
    assert dag.read_text() == "# mine\n"
    assert not contract_path("a/b").exists()
    assert main([*arguments, "--force"]) == 0
    assert "FileExtractOperator" in dag.read_text()
    contract_path("a/b").write_text("# mine\n")
    dag.unlink()
    assert main(arguments) == 1
    assert not dag.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["new", "Shop/Orders", "--from", "x.csv"], 2, "is not <domain>/<table>"),
        (["new", "orders", "--from", "x.csv"], 2, "is not <domain>/<table>"),
        (["new", "a/b", "--from", "nothing.csv"], 1, "There is no file nothing.csv"),
        (["new", "a/b", "--from", "https://me:secret@example.org/x.csv"], 1, "The URL holds a password"),
        (["new", "a/b", "--from", "books", "--table", "public.nothing"], 1, "There is no table public.nothing"),
        (["new", "a/b", "--from", "http://127.0.0.1:9/x.csv"], 1, "No answer from http://127.0.0.1:9/x.csv"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], code: int, said: str, dags: Path, source: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    """A source that is not there, or a name that cannot be, is told in one line and nothing is written."""
    assert main(arguments) == code
    err = " ".join(capsys.readouterr().err.split())
    assert said in err
    assert "secret@" not in err
    assert not dags.exists()
