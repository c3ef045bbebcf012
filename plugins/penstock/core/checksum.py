"""A checksum over rows that does not depend on their order, the same at a source and in the warehouse.

Each row gives a number: the first 64 bits of the MD5 of the text of its key and cursor (UTF-8), read as a signed
integer. The checksum is their sum, after a digest of the columns' names and types:

    <8 hex digits>:<sum of ('x' || left(md5(convert_to(ROW(key…, cursor)::text, 'UTF8')), 16))::bit(64)::bigint>

Two checksums say something about each other only if the digests are equal. A column that the source has in a type
which the contract's cannot hold exactly travels as text, and its checksum can be compared with the source's only.
The sessions must agree on time zone and DateStyle (`core.stage.open_session`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from penstock.core.contract.model import SLICE_FIELD, Column, Contract, Reconcile
from penstock.core.drift import stated_columns

_DIGITS: Final = 8


def checksum_columns(contract: Contract) -> tuple[Column, ...]:
    """Return the columns that the checksum is over: key and cursor; all that the source sends where there are none."""
    sent = [column for column in stated_columns(contract) if column.source_name != SLICE_FIELD]
    telling = [column for column in sent if column.name in contract.key or column.name == contract.cursor]
    return tuple(telling or sent)


def checksum(values: Sequence[tuple[str, Composable, str]]) -> Composed:
    """Return the aggregate that gives the checksum as text.

    Args:
        values: Name, expression and type (canonical) of each column. An expression has the type that it is said to
            have.
    """
    basis = ", ".join(f"{name} {type_}" for name, _, type_ in values)
    digest = hashlib.sha256(basis.encode()).hexdigest()[:_DIGITS]
    row = SQL(", ").join(expression for _, expression, _ in values)
    return SQL(
        "{} || coalesce(sum(('x' || left(md5(convert_to(ROW({})::text, 'UTF8')), 16))::bit(64)::bigint), 0)::text"
    ).format(Literal(f"{digest}:"), row)


def table_checksum(contract: Contract) -> Composed:
    """Return the aggregate over rows of the contract's own table, or of a stage that has its types."""
    return checksum([(column.name, Identifier(column.name), column.type) for column in checksum_columns(contract)])


def note_checksum(cur: Cursor, contract: Contract, partition: Identifier) -> dict[str, str]:
    """Return what the ledger keeps of a slice's partition: its checksum, where the contract asks for one."""
    if not contract.partitioned or contract.reconcile is not Reconcile.CHECKSUM:
        return {}
    cur.execute(SQL("SELECT {} FROM {}").format(table_checksum(contract), partition))
    return {"table_checksum": cur.fetchall()[0][0]}


def source_checksum(contract: Contract, read: Mapping[str, tuple[Composable, str]]) -> Composed:
    """Return the aggregate over rows of a source.

    Args:
        contract: The contract.
        read: By the contract's name of a column: how it is read, and the type it is staged in.
    """
    return checksum([(column.name, *read[column.name]) for column in checksum_columns(contract)])


def comparable(one: str | None, other: str | None) -> bool:
    """Tell whether two checksums are over the same columns in the same types; None is comparable with nothing."""
    return one is not None and other is not None and one.split(":")[0] == other.split(":")[0]
