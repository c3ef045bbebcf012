"""How the rows of a slice that passed the gate become the warehouse table's: one module per way.

Each way is set-based SQL in the caller's transaction, and gives the same table whatever the order in which slices come
and however often one comes again.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the rows that passed the gate; counts in rows.

    Attributes:
        loaded: Rows that are in the table because of the slice, those that were kept among them.
        marks: Rows that were there only to say that a key was deleted.
        deleted: Rows that left the table on account of those.
        kept: Rows that an earlier load of the slice gave and this one did not.
    """

    loaded: int
    marks: int = 0
    deleted: int = 0
    kept: int = 0
