"""Schema drift: what happens when a source sends other fields than the contract names.

`decide` holds the fields of a slice to the contract by its `schemaPolicy`; docs/drift.md lists every outcome. A column
that a slice brings along under `evolve` is staged at once, travels in the stage's detail and is added to the table in
the transaction that publishes the slice. `with_evolved` gives the contract as the table has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from typing import Any, Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Identifier, Literal

from penstock.core.contract.model import SLICE_FIELD, Column, Contract, SchemaPolicy
from penstock.core.contract.types import canonical_type
from penstock.core.errors import SchemaMismatch
from penstock.core.stage import Stage, Staged, column_types, stage_missing
from penstock.core.table_lock import lock_for_change

MAX_EVOLVED: Final = 50
"""The most columns that one slice may bring along: more of them are data that came as keys."""

_MOST_NAMES: Final = 100
_LONGEST_NAME: Final = 40
_ALIKE: Final = 0.6
_EVOLVED: Final = "evolved"


@dataclass(frozen=True, slots=True)
class Evolved:
    """A column that a source sent and the contract does not name."""

    name: str
    source_name: str
    type: str

    def column(self) -> Column:
        """Return it as a column of the contract; it may be null."""
        return Column(name=self.name, source_name=self.source_name, type=self.type)


@dataclass(frozen=True, slots=True)
class Drift:
    """What is done about the fields of one slice.

    Attributes:
        missing: Nullable columns that the source does not send; they are NULL.
        left_out: Unknown fields that are not loaded.
        watched: Unknown fields that send a row to quarantine where they hold something.
        evolved: New columns.
        renamed: By unknown field, the missing one that it looks like.
    """

    missing: tuple[Column, ...] = ()
    left_out: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    evolved: tuple[Evolved, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()

    def detail(self) -> dict[str, Any]:
        """Return what is kept with the stage and in the ledger."""
        return {
            **({"left_out": list(self.left_out[:_MOST_NAMES])} if self.left_out else {}),
            **({"left_out_in_all": len(self.left_out)} if len(self.left_out) > _MOST_NAMES else {}),
            **({"missing": [column.name for column in self.missing]} if self.missing else {}),
            **({"watched": list(self.watched)} if self.watched else {}),
            **({_EVOLVED: [asdict(column) for column in self.evolved]} if self.evolved else {}),
            **({"renamed": [_question(old, new) for new, old in self.renamed]} if self.renamed else {}),
        }

    def extend(self, contract: Contract) -> Contract:
        """Return the contract with the new columns."""
        return replace(contract, columns=(*contract.columns, *(column.column() for column in self.evolved)))

    def remarks(self) -> list[str]:
        """Return what people should know of it, in words."""
        named = {
            "left out, for the contract does not name them": self.left_out,
            "missing, loaded as NULL": [column.name for column in self.missing],
            "unknown; rows that hold something in them go to quarantine": self.watched,
            "new columns": [f"{column.name} ({column.type})" for column in self.evolved],
        }
        return [f"{what}: {', '.join(names[:_MOST_NAMES])}" for what, names in named.items() if names] + [
            _question(old, new) for new, old in self.renamed
        ]


@dataclass(frozen=True, slots=True)
class Extracted:
    """What an extract staged.

    Attributes:
        rows: Number of rows.
        drift: How the source's fields differed from the contract's.
        one_reader: Why one session read them, where more were asked for.
        told: How a file was taken to be written, as far as nobody had said.
    """

    rows: int
    drift: Drift
    one_reader: str = ""
    told: str = ""


def decide(contract: Contract, fields: Mapping[str, str | None], stage: Stage) -> Drift:
    """Decide what is done about the fields that a source sends.

    Args:
        contract: The contract, with the columns that evolved before (see `with_evolved`).
        fields: Type of each field as Postgres prints it, or None where the source sends text.
        stage: The run's stage, for errors.

    Raises:
        SchemaMismatch: A required field is missing, or the policy is `freeze` and any field is missing or unknown, or
            a slice brings along more than `MAX_EVOLVED` columns.
    """
    known = {column.source_name for column in contract.columns}
    unknown = [name for name in fields if name not in known]
    missing = [
        column
        for column in stated_columns(contract)
        if column.source_name not in fields and column.source_name != SLICE_FIELD
    ]
    renamed = _renamed(missing, unknown)
    _refuse(contract, missing, unknown, renamed, stage)
    policy = contract.schema_policy
    return Drift(
        missing=tuple(missing),
        left_out=tuple(unknown) if policy is SchemaPolicy.DISCARD else (),
        watched=tuple(unknown) if policy is SchemaPolicy.QUARANTINE else (),
        evolved=_evolve(contract, {name: fields[name] for name in unknown}) if policy is SchemaPolicy.EVOLVE else (),
        renamed=renamed,
    )


def stated_columns(contract: Contract) -> list[Column]:
    """Return the columns that the contract's file names, without those that evolved."""
    names = {item["name"] for table in contract.document.get("schema", ()) for item in table["properties"]}
    return [column for column in contract.columns if column.name in names]


def _refuse(
    contract: Contract,
    missing: Sequence[Column],
    unknown: Sequence[str],
    renamed: Sequence[tuple[str, str]],
    stage: Stage,
) -> None:
    """Raise where the slice cannot be taken."""
    frozen = contract.schema_policy is SchemaPolicy.FREEZE
    lacking = [column.source_name for column in missing if column.required or frozen]
    problems = [f"it sends no field {', '.join(lacking)}"] if lacking else []
    if unknown and frozen:
        problems.append(f"it sends fields that the contract does not name: {', '.join(unknown)}")
    if len(unknown) > MAX_EVOLVED and contract.schema_policy is SchemaPolicy.EVOLVE:
        problems.append(f"it sends {len(unknown)} new fields, and a slice may bring along {MAX_EVOLVED}")
    if not problems:
        return
    questions = [_question(old, new) for new, old in renamed]
    raise SchemaMismatch(
        f"The source does not fit the contract: {'; '.join(problems)}." + "".join(f" {text}" for text in questions),
        dataset=stage.dataset,
        slice_key=stage.slice_key,
        next_step="mend the source, or name the fields in the contract (or set another schemaPolicy), and clear"
        " `extract`.",
    )


def _question(old: str, new: str) -> str:
    return f"Was {old} renamed to {new}? Then set `physicalName: {new}`."


def _renamed(missing: Sequence[Column], unknown: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pair each unknown field with the missing one that it looks most like, if any; the best pairs first."""
    scored = sorted(
        ((_likeness(column.source_name, name), name, column.source_name) for column in missing for name in unknown),
        reverse=True,
    )
    pairs: dict[str, str] = {}
    for score, new, old in scored:
        if score >= _ALIKE and new not in pairs and old not in pairs.values():
            pairs[new] = old
    return tuple(pairs.items())


def _likeness(one: str, other: str) -> float:
    first, second = (re.sub(r"[\W_]", "", name).lower() for name in (one, other))
    return SequenceMatcher(None, first, second, autojunk=False).ratio()


def safe_name(field: str, taken: Sequence[str] | set[str]) -> str:
    """Return a column's name for a field: lower_snake, of letters, digits and underscores, and not taken yet."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", field)
    stem = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:_LONGEST_NAME].strip("_") or "field"
    if not stem[0].isalpha():
        stem = f"f_{stem}"[:_LONGEST_NAME]
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem[: _LONGEST_NAME - len(str(number)) - 1]}_{number}"
    return name


def _evolve(contract: Contract, unknown: Mapping[str, str | None]) -> tuple[Evolved, ...]:
    taken = {column.name for column in contract.columns}
    evolved = []
    for field in sorted(unknown):  # whatever their order in the slice, two slices give them the same names
        name = safe_name(field, taken)
        taken.add(name)
        evolved.append(Evolved(name, field, _type_of(unknown[field])))
    return tuple(evolved)


def _type_of(source_type: str | None) -> str:
    """Return the source's own type where a contract could state it too, else text."""
    try:
        return canonical_type(source_type or "text")
    except ValueError:
        return "text"


# --- what a dataset has taken in -----------------------------------------------------------------------------------


def evolved_columns(cur: Cursor, dataset: str) -> list[Evolved]:
    """Return the columns that a dataset has taken in, oldest first."""
    cur.execute(
        "SELECT name, source_name, type FROM ops.evolved_column WHERE dataset = %s ORDER BY added_at, name", (dataset,)
    )
    return [Evolved(*row) for row in cur.fetchall()]


def with_evolved(cur: Cursor, contract: Contract, also: Sequence[Evolved] = ()) -> Contract:
    """Return the contract with the columns that the dataset has taken in and it does not name itself.

    Args:
        cur: Cursor on the warehouse.
        contract: The contract, as its file says it.
        also: Further columns, of a stage that is not published yet.
    """
    names = {column.name for column in contract.columns}
    sources = {column.source_name for column in contract.columns}
    added = []
    for column in (*evolved_columns(cur, contract.dataset), *also):
        if column.name not in names and column.source_name not in sources:
            names.add(column.name)
            sources.add(column.source_name)
            added.append(column.column())
    return replace(contract, columns=(*contract.columns, *added)) if added else contract


def brought_along(staged: Staged) -> list[Evolved]:
    """Return the columns that a stage brings along."""
    return [Evolved(**column) for column in staged.detail.get(_EVOLVED, ())]


def as_staged(cur: Cursor, contract: Contract, stage: Stage, staged: Staged) -> Contract:
    """Return the contract with those evolved columns that a stage has: those known at its extract, and its own."""
    present = column_types(cur, stage.table)
    stated = {column.name for column in contract.columns}
    found = with_evolved(cur, contract, brought_along(staged))
    columns = [column for column in found.columns if column.name in stated or column.name in present]
    order = {name: position for position, name in enumerate(present)}
    columns[len(stated) :] = sorted(columns[len(stated) :], key=lambda column: order[column.name])
    return replace(found, columns=tuple(columns))


def take_in(cur: Cursor, contract: Contract, table: Identifier, stage: Stage, staged: Staged) -> Contract:
    """Add the columns that a stage brings along to the table, in the caller's transaction.

    Of two slices that bring along the same column, the second waits here and finds it there; a slice without new
    columns waits for one that has some, and the other way round.

    Args:
        cur: Cursor on the warehouse.
        contract: The contract, as its file says it.
        table: The warehouse table; it need not be there yet.
        stage: The run's stage.
        staged: What is recorded about it.

    Returns:
        The contract with all columns that the dataset has taken in.

    Raises:
        StageMissing: Another slice has brought along the same field, or column, with another type or meaning.
        psycopg2.errors.LockNotAvailable: Readers held the table at each of several tries.
    """
    wanted = brought_along(staged)
    if wanted or contract.schema_policy is SchemaPolicy.EVOLVE:
        lock = "pg_advisory_xact_lock" if wanted else "pg_advisory_xact_lock_shared"
        cur.execute(
            SQL("SELECT {}(hashtextextended(%s, 0))").format(Identifier(lock)), (f"penstock evolve {stage.dataset}",)
        )
    found = with_evolved(cur, contract)
    new = [column for column in wanted if column.column() not in found.columns]
    names = {column.name for column in found.columns}
    sources = {column.source_name for column in found.columns}
    if any(column.name in names or column.source_name in sources for column in new):
        shown = ", ".join(column.source_name for column in new)
        problem = f"Of the new fields {shown} one is known in another way meanwhile, by another slice or the contract."
        raise stage_missing(stage, problem, "extract")
    exists = bool(new and column_types(cur, table))
    if exists:
        lock_for_change(cur, table)
    for column in new:
        _add_column(cur, contract, table, column, stage, exists=exists)
    cur.execute("SET LOCAL lock_timeout = 0")
    return with_evolved(cur, contract) if new else found


def _add_column(
    cur: Cursor, contract: Contract, table: Identifier, column: Evolved, stage: Stage, *, exists: bool
) -> None:
    statement = SQL("ALTER TABLE {} ADD COLUMN {} {}").format(table, Identifier(column.name), SQL(column.type))
    if exists:
        cur.execute(statement)
        comment = f"Evolved: the source's field {column.source_name}, first in slice {stage.slice_key}"
        cur.execute(SQL("COMMENT ON COLUMN {}.{} IS {}").format(table, Identifier(column.name), Literal(comment)))
    cur.execute(
        "INSERT INTO ops.evolved_column (dataset, name, source_name, type, slice_key, run_id)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (stage.dataset, column.name, column.source_name, column.type, stage.slice_key, stage.run_id),
    )
    cur.execute(
        "INSERT INTO ops.schema_change (dataset, slice_key, made_by, change, statement, contract_hash)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (
            stage.dataset,
            stage.slice_key,
            f"run {stage.run_id}",
            f"add column {column.name} ({column.type}) for the source's field {column.source_name}",
            statement.as_string(cur),
            contract.hash,
        ),
    )


def complete(cur: Cursor, contract: Contract, candidate: Identifier) -> None:
    """Give a table that is to be published the evolved columns that it lacks: it was staged before they came."""
    present = column_types(cur, candidate)
    for column in contract.columns:
        if column.name not in present:
            cur.execute(
                SQL("ALTER TABLE {} ADD COLUMN {} {}").format(candidate, Identifier(column.name), SQL(column.type))
            )
