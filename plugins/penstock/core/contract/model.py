"""What a contract says, checked and without the YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final


class LoadMode(StrEnum):
    """How a gated slice becomes visible."""

    APPEND = "append"
    REPLACE_PARTITION = "replace_partition"
    MERGE = "merge"
    SCD2 = "scd2"
    SNAPSHOT = "snapshot"


class Deletes(StrEnum):
    """What happens to a row that the source marks as deleted.

    `hard`: it leaves the table. `soft`: it stays, with its mark, as any version of a row does.
    """

    HARD = "hard"
    SOFT = "soft"


class Reconcile(StrEnum):
    """What of a slice is compared between source, ledger and table."""

    COUNT = "count"
    CHECKSUM = "checksum"


class SchemaPolicy(StrEnum):
    """What happens to fields that the source sends and the contract does not name."""

    DISCARD = "discard"
    FREEZE = "freeze"
    EVOLVE = "evolve"
    QUARANTINE = "quarantine"


class Severity(StrEnum):
    """How much a broken rule weighs.

    `critical` acts: the row goes to quarantine, or, for a rule about the whole slice, the slice is refused.
    `warning` and `info` are recorded and the rows are loaded.
    """

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Mask(StrEnum):
    """How a column's values are shown wherever people read single rows: quarantine, samples, exports.

    The warehouse table itself is not masked.
    """

    REDACT = "redact"
    HASH = "hash"
    PARTIAL = "partial"


SLICE_FIELD: Final = "$slice"
"""`physicalName` of a column that the source does not send: it holds the slice's day or first instant."""


VALIDITY: Final = ("valid_from", "valid_to")
"""Columns that an scd2 table has beside the contract's: a version is valid from the first until before the second."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the warehouse table.

    Attributes:
        name: Name in the warehouse.
        source_name: Name at the source (ODCS `physicalName`; the column's own name when the contract is silent).
        type: Postgres type as `format_type()` prints it.
        required: Whether NULL breaks the contract.
        description: Text for the column comment, or None.
        mask: How its values are shown to people, or None where they may be seen.
        unit: Unit of its numbers, which a text from the source may carry (`12.5 kWh`), or None.
        timezone: IANA zone in which times without an offset are read, or None where they are refused.
        format: How the source writes dates and times, in the letters of ODCS (`dd/MM/yyyy`); None is ISO 8601.
        renamed_from: Name that the column had in the warehouse before, or None; `penstock apply` renames it.
    """

    name: str
    source_name: str
    type: str
    required: bool = False
    description: str | None = None
    mask: Mask | None = None
    unit: str | None = None
    timezone: str | None = None
    format: str | None = None
    renamed_from: str | None = None

    @property
    def is_moment(self) -> bool:
        """Whether its values are dates or timestamps, so that they can tell a slice."""
        return re.match(r"(date|timestamp)(?!.*\[)", self.type) is not None


@dataclass(frozen=True, slots=True)
class Rule:
    """One Great Expectations expectation of the contract.

    Attributes:
        id: Unique within the contract; what quarantine and verdicts name.
        expectation: The expectation's type in snake case, e.g. `expect_column_values_to_not_be_null`.
        kwargs: Its arguments, as GX takes them.
        severity: What a breach leads to.
    """

    id: str
    expectation: str
    kwargs: Mapping[str, Any]
    severity: Severity = Severity.CRITICAL


@dataclass(frozen=True, slots=True)
class Budget:
    """The most rows that may be quarantined before the slice is refused.

    Attributes:
        share: Largest share of the extracted rows, 0 to 1, or None.
        count: Largest number of rows, or None.
    """

    share: Fraction | None = None
    count: int | None = None

    def allows(self, quarantined: int, extracted: int) -> bool:
        """Tell whether a slice with these counts (rows) is within the budget."""
        if self.count is not None and quarantined > self.count:
            return False
        return self.share is None or quarantined <= self.share * extracted

    def __str__(self) -> str:
        parts = []
        if self.share is not None:
            parts.append(f"{float(self.share):.2%} of the rows")
        if self.count is not None:
            parts.append(f"{self.count} rows")
        return " and ".join(parts) or "any number of rows"


@dataclass(frozen=True, slots=True)
class Contract:
    """A dataset's contract.

    Attributes:
        dataset: `<domain>/<table>`.
        version: The contract's own version.
        hash: SHA-256 over the meaning of the file, in hex; changes with any field.
        columns: In the order of the table.
        key: Column names of the primary key, in order; empty where there is none.
        load_mode: How slices are published.
        partition_by: Column whose value places a row in its slice, or None; of append and snapshot the `$slice` column.
        cursor: Column that orders versions of a row, or None.
        schema_policy: What to do with fields the contract does not name.
        budget: How many rows may be quarantined.
        rules: All rules, those implied by `required` and `unique` first.
        description: What the table holds, or None.
        owner: Who is to be told, or None.
        quarantine_retention: How long quarantined rows are kept, whole days, or None for ever.
        tombstone: Column that marks a row as deleted (true, or any date or time), or None.
        deletes: What happens to such rows.
        retention: How long slices are kept, whole days, or None for ever.
        reconcile: What is compared with a database source.
        document: The file's whole content, as JSON has it.
    """

    dataset: str
    version: str
    hash: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    load_mode: LoadMode
    partition_by: str | None
    cursor: str | None
    schema_policy: SchemaPolicy
    budget: Budget
    rules: tuple[Rule, ...]
    description: str | None = None
    owner: str | None = None
    quarantine_retention: timedelta | None = None
    tombstone: str | None = None
    deletes: Deletes = Deletes.HARD
    retention: timedelta | None = None
    reconcile: Reconcile = Reconcile.COUNT
    document: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _by_name: Mapping[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {column.name: column for column in self.columns})

    @property
    def domain(self) -> str:
        """Warehouse schema of the table."""
        return self.dataset.split("/")[0]

    @property
    def table(self) -> str:
        """Name of the table in its schema."""
        return self.dataset.split("/")[1]

    @property
    def partitioned(self) -> bool:
        """Whether the table has a partition for each slice."""
        return self.load_mode in (LoadMode.APPEND, LoadMode.REPLACE_PARTITION, LoadMode.SNAPSHOT)

    @property
    def slice_column(self) -> Column | None:
        """The column by which a source is cut into slices; `$slice` where each slice reads the whole source.

        It is `partitionBy`, else `cursor`. What is appended belongs to the slice it comes in, whatever its own time,
        so there `cursor` cuts the source.
        """
        appends = self.load_mode is LoadMode.APPEND
        name = (appends and self.cursor) or self.partition_by or self.cursor
        return self._by_name[name] if name else None

    def column(self, name: str) -> Column:
        """Return a column by its warehouse name.

        Raises:
            KeyError: There is no such column.
        """
        return self._by_name[name]
