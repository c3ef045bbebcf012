"""`penstock new`: from a source to a draft contract and a DAG that run as they are."""

from __future__ import annotations

import re
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from penstock.cli.connections import connect
from penstock.cli.output import say, show, show_table
from penstock.core.contract import load_contract
from penstock.core.contract.columns import NAME
from penstock.core.errors import CredentialsError, SourceError
from penstock.project import DAGS, ROOT, contract_path

if TYPE_CHECKING:
    from penstock.core.draft import Drafted, FileSource, TableSource
    from penstock.core.profile import Profile

_DAY = re.compile(r"(?<![0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")


def new(
    name: Annotated[str, typer.Argument(help="<domain>/<table> of the new dataset", show_default=False)],
    *,
    source: Annotated[
        str, typer.Option("--from", help="Airflow connection (with --table), file, or URL.", show_default=False)
    ],
    table: Annotated[str | None, typer.Option("--table", help="schema.table behind the connection.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Channel to be told, e.g. '#shop-data'.")] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="The most rows to look at.")] = 10_000,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a contract and DAG that are there.")] = False,
) -> None:
    """Profile a source; write a draft contract and a DAG that run as they are."""
    from penstock.core.draft import draft

    if not all(map(NAME.fullmatch, name.split("/"))) or name.count("/") != 1:
        raise typer.BadParameter(f"{name!r} is not <domain>/<table>, both {NAME.pattern}", param_hint="name")
    contract, dag = contract_path(name), DAGS / f"{name}.py"
    there = [path for path in (contract, dag) if path.exists()]
    if there and not force:
        say(f"penstock: {' and '.join(map(str, there))} is there already; --force overwrites.")
        raise typer.Exit(1)
    profile, found = _profile_table(source, table, rows) if table else _profile_file(source, rows)
    drafted = draft(name, profile, found, owner=owner)
    _check(name, drafted.contract)
    for path, text in ((contract, drafted.contract), (dag, drafted.dag)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    _tell(name, profile, drafted, [contract, dag])


def _profile_table(conn_id: str, table: str, rows: int) -> tuple[Profile, TableSource]:
    import psycopg2

    from penstock.core.draft import TableSource
    from penstock.core.profile import profile_table

    with closing(connect(conn_id)) as connection, connection, connection.cursor() as cur:
        connection.set_session(readonly=True)
        try:
            return profile_table(cur, table, rows), TableSource(conn_id, table)
        except psycopg2.errors.InsufficientPrivilege as error:
            raise CredentialsError(
                f"The connection {conn_id!r} may not read {table}: {str(error).strip()}",
                next_step="grant it SELECT, and USAGE on the schema.",
            ) from error


def _profile_file(path: str, rows: int) -> tuple[Profile, FileSource]:
    from penstock.core.draft import FileSource
    from penstock.core.profile import profile_sample
    from penstock.core.sample import sample_file
    from penstock.hooks.files import read_blocks

    path = _as_the_dag_says(path)
    sample, form = sample_file(read_blocks(path), path, rows)
    return profile_sample(sample), FileSource(_with_slice(path), form)


def _as_the_dag_says(path: str) -> str:
    """Return a path below the project as relative to it, any other one as absolute; a URL as it is.

    Raises:
        SourceError: There is no such file, or the URL holds a password.
    """
    if "://" in path:
        if urlsplit(path).password:
            raise SourceError(
                "The URL holds a password, and a DAG file is no place for one.",
                next_step="take a URL without one, or an Airflow connection: `s3://<conn_id>@bucket/key`.",
            )
        return path
    for found in (Path(path).absolute(), ROOT / path):
        if found.is_file():
            return str(found.relative_to(ROOT) if found.is_relative_to(ROOT) else found)
    raise SourceError(
        f"There is no file {path}.", next_step="for a table behind an Airflow connection, say --table as well."
    )


def _with_slice(path: str) -> str:
    """Return a path whose name tells one day, with `{slice}` in the day's place."""
    return _DAY.sub("{slice}", path) if len(_DAY.findall(path)) == 1 else path


def _check(name: str, text: str) -> None:
    """Hold a draft to what `penstock check` asks, before any file is touched.

    Raises:
        ContractError: The source has something in it that a draft cannot say.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.yaml")
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        load_contract(path)


def _tell(name: str, profile: Profile, drafted: Drafted, written: list[Path]) -> None:
    show(f"Looked at {profile.rows:,} rows{', which are all' if profile.whole else ''}.")
    show_table(("column", "type", "in the sample"), drafted.columns)
    show("Decided:")
    for decision in drafted.decisions:
        show(f"  - {decision}")
    show("  - what the catalog states is a rule that acts; what only the sample shows is a warning")
    show("Written:")
    for path in written:
        show(f"  {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")
    day = drafted.last_day
    dag_id = name.replace("/", "_")
    show("Next:")
    show(f"  penstock check {name}")
    show(f"  penstock explain {name}")
    if day:
        show(f"  make airflow ARGS='backfill create --dag-id {dag_id} --from-date {day} --to-date {day}'")
    else:
        show(f"  make airflow ARGS='dags unpause {dag_id}'    # then trigger it: the run loads the latest whole day")
