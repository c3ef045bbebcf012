"""The tables that a contract asks for."""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.contract.model import Column, Contract, LoadMode
from penstock.core.errors import SchemaMismatch
from penstock.core.stage import column_types


def table_name(contract: Contract) -> Identifier:
    """Return the warehouse table of a contract."""
    return Identifier(contract.domain, contract.table)


def has_table_key(contract: Contract) -> bool:
    """Tell whether the primary key can stand on the table itself.

    A key of a partitioned table must contain the partition column (Postgres manual, 5.12.2.3). Where it does not,
    each partition carries a unique index of its own.
    """
    return bool(contract.key) and (contract.partition_by is None or contract.partition_by in contract.key)


def _column(column: Column) -> Composed:
    null = SQL(" NOT NULL") if column.required else SQL("")
    return SQL("{} {}{}").format(Identifier(column.name), SQL(column.type), null)  # type: canonical, contract.types


def create_statements(contract: Contract) -> list[Composed]:
    """Return the statements that create the contract's table with its key, partitioning and comments."""
    parts: list[Composable] = [_column(column) for column in contract.columns]
    if has_table_key(contract):
        parts.append(SQL("PRIMARY KEY ({})").format(SQL(", ").join(map(Identifier, contract.key))))
    partitioned = contract.load_mode is LoadMode.REPLACE_PARTITION and contract.partition_by
    clause = (
        SQL(" PARTITION BY RANGE ({})").format(Identifier(contract.partition_by))
        if partitioned and contract.partition_by
        else SQL("")
    )
    name = table_name(contract)
    statements = [
        SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(contract.domain)),
        SQL("CREATE TABLE {} ({}){}").format(name, SQL(", ").join(parts), clause),
    ]
    if contract.description:
        statements.append(SQL("COMMENT ON TABLE {} IS {}").format(name, Literal(contract.description)))
    statements += [
        SQL("COMMENT ON COLUMN {}.{} IS {}").format(name, Identifier(column.name), Literal(column.description))
        for column in contract.columns
        if column.description
    ]
    return statements


def ensure_table(cur: Cursor, contract: Contract) -> None:
    """Create the contract's table where it is missing; in the caller's transaction.

    Raises:
        SchemaMismatch: The table exists with other columns than the contract's.
    """
    present = column_types(cur, table_name(contract))
    if not present:
        # Two first slices at once: the second waits here and then finds the table made.
        cur.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"penstock table {contract.dataset}",))
        present = column_types(cur, table_name(contract))
    if not present:
        for statement in create_statements(contract):
            cur.execute(statement)
        return
    wanted = {column.name: column.type for column in contract.columns}
    if present != wanted:
        raise SchemaMismatch(
            f"The table {contract.domain}.{contract.table} does not have the contract's columns:"
            f" {describe_difference(wanted, present)}.",
            dataset=contract.dataset,
            next_step="alter the table to match the contract (or put the contract back) and clear `publish`.",
        )


def describe_difference(wanted: dict[str, str], present: dict[str, str]) -> str:
    """Say in words how two sets of columns differ."""
    parts = [f"{name} is missing" for name in wanted if name not in present]
    parts += [f"{name} is not in the contract" for name in present if name not in wanted]
    parts += [
        f"{name} is {present[name]}, not {wanted[name]}"
        for name in wanted
        if name in present and present[name] != wanted[name]
    ]
    return "; ".join(parts)
