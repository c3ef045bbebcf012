"""The tables that a contract asks for."""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.contract.model import VALIDITY, Column, Contract, LoadMode
from penstock.core.contract.shape import ColumnShape, TableShape, read_shape
from penstock.core.errors import SchemaMismatch


def table_name(contract: Contract) -> Identifier:
    """Return the warehouse table of a contract."""
    return Identifier(contract.domain, contract.table)


def has_table_key(contract: Contract) -> bool:
    """Tell whether the primary key can stand on the table itself.

    A key of a partitioned table must contain the partition column (Postgres manual, 5.12.2.3). Where it does not,
    each partition carries a unique index of its own.
    """
    return bool(contract.key) and (contract.partition_by is None or contract.partition_by in contract.key)


def table_columns(contract: Contract) -> tuple[Column, ...]:
    """Return the columns of the contract's table: its own, and in an scd2 table those of the versions' validity."""
    if contract.load_mode is not LoadMode.SCD2:
        return contract.columns
    assert contract.cursor is not None  # noqa: S101 - checked when the contract is read
    moment, (since, until) = contract.column(contract.cursor).type, VALIDITY
    return (
        *contract.columns,
        Column(since, since, moment, required=True, description="The version is valid from then on"),
        Column(until, until, moment, description="The version is valid until before then; NULL: it is the current one"),
    )


def table_key(contract: Contract) -> tuple[str, ...]:
    """Return the columns of the table's primary key; empty where the table has none."""
    if not has_table_key(contract):
        return ()
    return (*contract.key, VALIDITY[0]) if contract.load_mode is LoadMode.SCD2 else contract.key


def _column(column: Column) -> Composed:
    null = SQL(" NOT NULL") if column.required else SQL("")
    return SQL("{} {}{}").format(Identifier(column.name), SQL(column.type), null)  # type: canonical, contract.types


def column_comment(column: Column) -> str | None:
    """Return the comment that a column carries in the warehouse, or None."""
    unit = f"Unit: {column.unit}" if column.unit else None
    return " ".join(filter(None, (column.description, unit))) or None


def create_statements(contract: Contract) -> list[Composed]:
    """Return the statements that create the contract's table with its key, partitioning and comments."""
    columns = table_columns(contract)
    parts: list[Composable] = [_column(column) for column in columns]
    if key := table_key(contract):
        parts.append(SQL("PRIMARY KEY ({})").format(SQL(", ").join(map(Identifier, key))))
    cut_by = partition_column(contract)
    clause = SQL(" PARTITION BY RANGE ({})").format(Identifier(cut_by)) if cut_by else SQL("")
    name = table_name(contract)
    statements = [
        SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(contract.domain)),
        SQL("CREATE TABLE {} ({}){}").format(name, SQL(", ").join(parts), clause),
    ]
    if contract.description:
        statements.append(SQL("COMMENT ON TABLE {} IS {}").format(name, Literal(contract.description)))
    statements += [
        SQL("COMMENT ON COLUMN {}.{} IS {}").format(name, Identifier(column.name), Literal(comment))
        for column in columns
        if (comment := column_comment(column))
    ]
    return statements


def partition_column(contract: Contract) -> str | None:
    """Return the column by which the contract's table is partitioned, or None where it is one plain table."""
    return contract.partition_by if contract.partitioned else None


def wanted_shape(contract: Contract) -> TableShape:
    """Return the shape that a contract asks for."""
    return TableShape(
        columns={
            column.name: ColumnShape(column.type, column.required, column_comment(column))
            for column in table_columns(contract)
        },
        key=table_key(contract),
        partition_by=partition_column(contract),
        comment=contract.description or None,
    )


def lock_table(cur: Cursor, contract: Contract) -> None:
    """Let one transaction at a time make or change the structure of a dataset's table; released at its end."""
    cur.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"penstock table {contract.dataset}",))


def _lock_schema(cur: Cursor, contract: Contract) -> None:
    """Let the first slices of a domain's datasets make its schema one after another: IF NOT EXISTS does not wait."""
    cur.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
        " WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)",
        (f"penstock schema {contract.domain}", contract.domain),
    )


def ensure_table(cur: Cursor, contract: Contract) -> None:
    """Create the contract's table where it is missing; in the caller's transaction.

    Raises:
        SchemaMismatch: The table exists and does not fit the contract.
    """
    present = read_shape(cur, table_name(contract))
    if present is None:
        # Two first slices at once: the second waits here and then finds the table made.
        lock_table(cur, contract)
        present = read_shape(cur, table_name(contract))
    if present is None:
        _lock_schema(cur, contract)
        for statement in create_statements(contract):
            cur.execute(statement)
        return
    problems = misfits(contract, present)
    if problems:
        raise SchemaMismatch(
            f"The table {contract.domain}.{contract.table} does not fit the contract: {'; '.join(problems)}.",
            dataset=contract.dataset,
            next_step=(
                f"`penstock plan {contract.dataset}` shows what would change, `penstock apply {contract.dataset}`"
                " changes it; then clear `publish`."
            ),
        )


def misfits(contract: Contract, present: TableShape) -> list[str]:
    """Say in words what keeps a slice from being published into a table; empty where nothing does.

    Comments are no obstacle, nor is a column that the table allows to be NULL and the contract does not.
    """
    wanted = wanted_shape(contract)
    parts = [f"{name} is missing" for name in wanted.columns if name not in present.columns]
    parts += [f"{name} is not in the contract" for name in present.columns if name not in wanted.columns]
    for name, column in wanted.columns.items():
        found = present.columns.get(name)
        if found is not None and found.type != column.type:
            parts.append(f"{name} is {found.type}, not {column.type}")
        if found is not None and found.not_null and not column.not_null:
            parts.append(f"{name} may not be NULL in the table")
    if present.key != wanted.key:
        parts.append(f"its primary key is ({', '.join(present.key)}), not ({', '.join(wanted.key)})")
    if present.partition_by != wanted.partition_by:
        parts.append(f"it is partitioned by {present.partition_by}, not {wanted.partition_by}")
    return parts
