"""The rows that a source marks as deleted."""

from __future__ import annotations

from psycopg2.sql import SQL, Composed, Identifier

from penstock.core.contract.model import Contract, Deletes


def buries(contract: Contract) -> bool:
    """Tell whether rows that the source marks as deleted leave the table."""
    return contract.tombstone is not None and contract.deletes is Deletes.HARD


def is_deleted(contract: Contract) -> Composed:
    """Return the condition that a row is marked as deleted; never NULL."""
    if contract.tombstone is None:
        return SQL("{}").format(SQL("false"))
    mark = Identifier(contract.tombstone)
    boolean = contract.column(contract.tombstone).type == "boolean"
    return SQL("({} IS TRUE)" if boolean else "({} IS NOT NULL)").format(mark)
