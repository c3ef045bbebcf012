"""A landed file is staged as it is: each row once, what is no row in quarantine, in memory that does not grow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.core.errors import SchemaMismatch, SourceError
from penstock.core.lake import land_file
from penstock.core.slice import day_slice
from penstock.core.source_file import FileFormat, file_kind, stage_file
from penstock.core.text_lines import AUTO, CsvFormat

DAY = "2026-01-01"
NOON = f"{DAY}T12:00:00Z"
CSV = FileFormat("csv")
JSONL = FileFormat("jsonl")


def stage_of_file(bench: Any, contract: Any, folder: Path, body: bytes, form: FileFormat = CSV) -> Any:
    """Land a body and stage it; the stage and what the extract said."""
    stage = bench.stage(contract, DAY)
    land_file(folder / stage.name, "test", [body])
    return stage, stage_file(bench.conn, contract, day_slice(DAY), stage, folder / stage.name, form, {"source": "t"})


def load(bench: Any, contract: Any, folder: Path, body: bytes, form: FileFormat = CSV) -> Any:
    """The whole flow of a file."""
    stage, _ = stage_of_file(bench, contract, folder, body, form)
    bench.judge(contract, stage)
    return bench.publish(contract, stage)


ROWS = f"order_id,code,amount,sold_at\n1,A100,1.50,{NOON}\n2,A100,,{NOON}\n".encode()
LINES = (
    f'{{"order_id": 1, "code": "A100", "amount": 1.50, "sold_at": "{NOON}"}}\n'
    f'{{"order_id": 2, "code": "A100", "sold_at": "{NOON}"}}\n'
).encode()
DOCUMENTS = {
    "csv": (ROWS, CSV),
    "csv in another order, with semicolons": (
        f"amount;sold_at;order_id;code\n1.50;{NOON};1;A100\n;{NOON};2;A100\n".encode(),
        FileFormat("csv", CsvFormat(";")),
    ),
    "jsonl": (LINES, JSONL),
    "json": (b"[" + LINES.replace(b"}\n{", b"},\n{") + b"]", FileFormat("json")),
    "json within an object": (
        b'{"data": {"rows": [' + LINES.replace(b"}\n{", b"},{") + b"]}}",
        FileFormat("json", records="data.rows"),
    ),
}


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_each_format_gives_the_same_rows(bench: Any, build: Any, tmp_path: Path, name: str) -> None:
    """The same two rows from every format: decimals as written, what is left out as NULL."""
    body, form = DOCUMENTS[name]
    contract = build.contract(build.ORDERS)
    assert load(bench, contract, tmp_path, body, form).loaded == 2
    assert bench.run("SELECT order_id, code, amount::text FROM test.orders ORDER BY 1") == [
        (1, "A100", "1.50"),
        (2, "A100", None),
    ]


def staged_types(bench: Any, stage: Any) -> dict[str, str]:
    """The types of a stage's columns."""
    return dict(
        bench.run(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            f" WHERE attrelid = 'staging.{stage.name}'::regclass AND attnum > 0"
        )
    )


def test_a_file_whose_texts_are_all_proved_is_staged_in_the_contracts_types(
    bench: Any, build: Any, tmp_path: Path
) -> None:
    """Nothing is left to cast; blank lines count, and the attempt before has left no trace."""
    contract = build.contract(build.ORDERS)
    rows = ROWS.replace(NOON.encode(), f"{DAY} 12:00:00+00".encode())
    for body in (rows + b"3,x,1e5,now\n", rows + b"\n"):
        stage, found = stage_of_file(bench, contract, tmp_path, body)
    types = {column.name: column.type for column in contract.columns}
    assert (staged_types(bench, stage), found.rows) == (types, 2)
    assert bench.one(f"SELECT detail->>'blank_lines' FROM ops.stage WHERE name = '{stage.name}'") == "1"


cells = st.sampled_from(
    ["1", "2", "-3", "1.50", "1e5", "A100", "x", "", '"A100"', "NaN", NOON, f"{DAY} 12:00:00", "a\tb"]
)


@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.tuples(st.integers(1, 5), cells, cells, st.sampled_from([NOON, f"{DAY} 10:00:00+01", "x"]))))
def test_a_file_gives_the_same_whether_it_is_proved_or_looked_at(
    bench: Any, build: Any, tmp_path: Path, rows: list[Any]
) -> None:
    """Table and quarantine are the same; only the way there is shorter."""
    body = "order_id,code,amount,sold_at\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    found = []
    for known in (True, False):
        bench.reset("test")
        contract = build.contract(build.ORDERS, build.set_custom("quarantineBudget", "100%"))
        with pytest.MonkeyPatch.context() as patch:
            if not known:
                patch.setattr("penstock.core.proof.pattern_of", lambda _: None)
            load(bench, contract, tmp_path, body.encode())
        table = bench.run("SELECT * FROM test.orders ORDER BY 1, 2, 3, 4") if rows else []
        quarantine = bench.run("SELECT rules, payload FROM ops.quarantine ORDER BY 1, 2")
        found.append((table, quarantine))
        bench.run("TRUNCATE ops.quarantine")
    assert found[0] == found[1]


def test_broken_lines_are_in_quarantine_and_nothing_else(bench: Any, build: Any, tmp_path: Path) -> None:
    """Malformed, ragged and undecodable lines, and a value that does not cast: each with its own reason."""
    body = ROWS + f'3,"A100,1,{NOON}\n4,A100\n5,A\xff00,1,{NOON}\n6,A100,much,{NOON}\n7,\0,x,{NOON}\n'.encode("latin-1")
    contract = build.contract(build.ORDERS)
    outcome = load(bench, contract, tmp_path, body)
    assert (outcome.extracted, outcome.loaded, outcome.quarantined) == (7, 2, 5)
    found = bench.run("SELECT rules, payload FROM ops.quarantine")
    assert {tuple(rules): payload.get("$extra", payload["code"]) for rules, payload in found} == {
        ("amount.cast",): "A100",
        ("code.encoding",): "A\\xff00",
        ("code.encoding", "amount.cast"): "\\u0000",
        ("row.malformed",): {"$line": f'3,"A100,1,{NOON}'},
        ("row.shape",): {"$line": "4,A100"},
    }
    assert bench.one("SELECT detail->>'source' FROM ops.slice_ledger") == "t"


def test_a_contract_of_texts_only_has_its_broken_lines_too(bench: Any, build: Any, tmp_path: Path) -> None:
    """Where nothing needs a cast, a line that is no row still goes to quarantine, and the slice is filled in."""

    def texts(document: Any) -> None:
        properties = document["schema"][0]["properties"]
        for item in properties[:3]:
            item.update(logicalType="string", physicalType="text", quality=[])
        properties[3].update(physicalName="$slice")

    contract = build.contract(build.ORDERS, texts)
    outcome = load(bench, contract, tmp_path, b"order_id,code,amount\n1,a,b\n2\n")
    assert (outcome.loaded, outcome.quarantined) == (1, 1)
    assert bench.run("SELECT order_id, sold_at::text FROM test.orders") == [("1", f"{DAY} 00:00:00+00")]
    outcome = load(bench, contract, tmp_path, b"order_id,code,amount\n1,a,b\n")
    assert (outcome.loaded, outcome.quarantined) == (1, 0)
    defaults = bench.run("SELECT adrelid::regclass::text FROM pg_attrdef WHERE adrelid::regclass::text LIKE 'test.%'")
    assert defaults == []


def test_a_second_try_replaces_the_first(bench: Any, build: Any, tmp_path: Path) -> None:
    """The same run again leaves only what it read itself."""
    contract = build.contract(build.ORDERS)
    for number, body in enumerate((ROWS, ROWS + b"x\n")):
        stage = bench.stage(contract, DAY, "same")
        land_file(tmp_path / str(number), "test", [body])
        stage_file(bench.conn, contract, day_slice(DAY), stage, tmp_path / str(number), CSV, {})
    assert bench.run("SELECT extracted FROM ops.stage") == [(3,)]


REFUSED: dict[str, tuple[bytes, FileFormat, type[Exception], str]] = {
    "no header": (b"", CSV, SourceError, "no header"),
    "a required field missing": (b"order_id,amount\n1,2\n", CSV, SchemaMismatch, "no field code, sold_at"),
    "no array": (b'{"a": 1}', FileFormat("json"), SourceError, "no array as a whole"),
    "no array there": (b'{"a": 1}', FileFormat("json", records="a.b"), SourceError, "no array at 'a.b'"),
    "no json": (b"oops", FileFormat("json"), SourceError, "not JSON"),
    "json that is cut off": (b"[" + LINES.replace(b"}\n{", b"},{"), FileFormat("json"), SourceError, "cut off"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_file_that_is_none_is_told(bench: Any, build: Any, tmp_path: Path, name: str) -> None:
    """What cannot be read at all is an error in words, and nothing is staged."""
    body, form, error, said = REFUSED[name]
    contract = build.contract(build.ORDERS)
    with pytest.raises(error, match=said):
        stage_of_file(bench, contract, tmp_path, body, form)
    assert bench.staged_tables() == []


def test_items_that_are_no_objects_go_aside(bench: Any, build: Any, tmp_path: Path) -> None:
    """A number among the objects of an array is no row, and takes none with it."""
    body = b"[" + LINES.replace(b"}\n{", b"},\n{") + b", 7]"
    outcome = load(bench, build.contract(build.ORDERS), tmp_path, body, FileFormat("json"))
    assert (outcome.loaded, outcome.quarantined) == (2, 1)
    assert bench.run("SELECT rules, payload->'$extra' FROM ops.quarantine") == [(["row.malformed"], {"$line": "7"})]


def test_a_file_that_was_changed_in_the_lake_stages_nothing(bench: Any, build: Any, tmp_path: Path) -> None:
    """The bytes are held to the manifest while they are staged."""
    contract = build.contract(build.ORDERS)
    stage = bench.stage(contract, DAY)
    land_file(tmp_path, "test", [ROWS])
    (tmp_path / "raw").write_bytes(ROWS.replace(b"1.50", b"2.50"))
    with pytest.raises(SourceError, match="not the file that was landed"):
        stage_file(bench.conn, contract, day_slice(DAY), stage, tmp_path, CSV, {})
    assert bench.staged_tables() == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [("a/b.csv", "csv"), ("B.TSV", "csv"), ("s3://x/y.ndjson", "jsonl"), ("https://h/d.json?x=.csv", "json")],
)
def test_the_name_tells_the_kind(path: str, kind: str) -> None:
    """By its end, whatever its case, without the query."""
    assert file_kind(path) == kind


def test_a_name_that_does_not_tell_is_refused() -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="say `format`"):
        file_kind("https://host/export")


def blocks(rows: int, form: str) -> Iterator[bytes]:
    """A feed of so many sound rows."""
    if form == "csv":
        yield b"order_id,code,amount,sold_at\n"
    if form == "json":
        yield b"["
    for start in range(0, rows, 1000):
        numbers = range(start, min(start + 1000, rows))
        if form == "csv":
            yield "".join(f"{n},A100,{n % 1000}.25,{NOON}\n" for n in numbers).encode()
        else:
            yield "".join(
                f'{{"order_id":{n},"code":"A100","amount":{n % 1000}.25,"sold_at":"{NOON}"}}'
                + (",\n" if form == "json" and n < rows - 1 else "\n")
                for n in numbers
            ).encode()
    if form == "json":
        yield b"]"


GROWTH = """
import resource, sys
from pathlib import Path
import psycopg2
from penstock.core.contract import load_contract
from penstock.core.ops import ensure_ops
from penstock.core.slice import day_slice
from penstock.core.source_file import FileFormat, stage_file
from penstock.core.stage import open_session, stage_of
conn = psycopg2.connect(sys.argv[1]); open_session(conn)
contract = load_contract(Path(sys.argv[2])); day = day_slice("2026-01-01")
stage = stage_of(contract.dataset, day, "memory")
found = stage_file(conn, contract, day, stage, Path(sys.argv[3]), FileFormat(sys.argv[4]), {})
print(found.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("form", ["csv", "jsonl", "json"])
def test_memory_does_not_grow_with_the_file(bench: Any, build: Any, tmp_path: Path, form: str) -> None:
    """A hundred times the rows take at most 24 MB more."""
    path = build.write(build.ORDERS)
    peaks = []
    for rows in (2_000, 200_000):
        folder = tmp_path / str(rows)
        land_file(folder, "test", blocks(rows, form))
        done = subprocess.run(
            [sys.executable, "-c", GROWTH, bench.dsn, str(path), str(folder), form],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(Path(__file__).parents[2] / "plugins")},
        )
        count, peak = map(int, done.stdout.split())
        assert count == rows
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 24 * 1024


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_wide_texts_are_read(bench: Any, build: Any, tmp_path: Path, encoding: str, kind: str) -> None:
    """UTF-16 and UTF-32, told by their byte order mark, else named; half a pair of surrogates goes aside."""
    body, form = DOCUMENTS[kind]
    wide = body.decode().replace("A100", "A\U0001f600", 1).encode(encoding)
    form = replace(form, wide=encoding if encoding.endswith("e") else "")
    contract = build.contract(build.ORDERS)
    _, found = stage_of_file(bench, contract, tmp_path, wide, form)
    assert found.rows == 2
    (table,) = bench.staged_tables()
    assert bench.one(f"SELECT min(code) FILTER (WHERE order_id::int = 1) FROM staging.{table}") == "A\U0001f600"


def test_a_torn_wide_text_is_an_error(bench: Any, build: Any, tmp_path: Path) -> None:
    """It ends amid a character: nothing is staged."""
    with pytest.raises(SourceError, match=r"no utf-16: .*see whether it is torn"):
        stage_of_file(bench, build.contract(build.ORDERS), tmp_path, ROWS.decode().encode("utf-16")[:-1])
    assert bench.staged_tables() == []


def test_what_is_told_of_a_csv_is_kept_with_the_rows(bench: Any, build: Any, tmp_path: Path) -> None:
    """Delimiter, encoding and header, in the ledger and for the log; the rows are those of a file that was named."""
    body = f"1;A100;1.50;{NOON}\n2;A100;;{NOON}\n".encode()
    form = FileFormat("csv", CsvFormat(AUTO, AUTO, header=None))
    contract = build.contract(build.ORDERS)
    stage, found = stage_of_file(bench, contract, tmp_path, body, form)
    assert found.told == "delimiter=';', encoding='utf-8', header=False"
    bench.judge(contract, stage)
    assert bench.publish(contract, stage).loaded == 2
    told = {"delimiter": ";", "encoding": "utf-8", "header": False}
    assert bench.one("SELECT detail -> 'told' FROM ops.slice_ledger") == told
