"""Gaps: slices that a dataset should have and has not, or not as they would be loaded today.

A slice has a gap for one of these reasons, or several:

* `never`: it was never published;
* `refused`: it was refused after it was last published, or was never anything but refused;
* `contract`: it was loaded by a version of the contract that treats rows in another way;
* `code`: it was loaded when the DAG asked for the rows in another way (another table, endpoint, SQL …);
* `changed`: its source has other rows of it now, or a mart's producer has published it anew;
* `table`: the table does not hold what the ledger says, as the last reconciliation found.

A slice that was dropped on purpose, and one past the contract's retention, have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from penstock.core.contract.model import Contract
from penstock.core.reconcile import Figures, OpenSource, ask_sources, recorded_figures, source_changed
from penstock.core.slice import DAY_KEY_FORMAT, Slice, day_slice

_FOR_PEOPLE: Final = frozenset(
    (
        *("authoritativeDefinitions", "businessName", "contractCreatedTs", "dataGranularityDescription", "description"),
        *("examples", "id", "owner", "price", "roles", "servers", "slaDefaultElement", "slaProperties", "status"),
        *("support", "tags", "team", "tenant", "unit", "version"),
    )
)
_NOT_FOR_ROWS: Final = frozenset(("mask", "quarantineRetention", "reconcile", "renamedFrom"))


class Why(StrEnum):
    """Why a slice should be loaded (again)."""

    NEVER = "never"
    REFUSED = "refused"
    CONTRACT = "contract"
    CODE = "code"
    CHANGED = "changed"
    TABLE = "table"

    @property
    def words(self) -> str:
        """The reason, for people."""
        return {
            Why.NEVER: "never loaded",
            Why.REFUSED: "refused",
            Why.CONTRACT: "loaded by an older contract",
            Why.CODE: "loaded by an older DAG",
            Why.CHANGED: "changed at the source",
            Why.TABLE: "changed in the table",
        }[self]


@dataclass(frozen=True, slots=True)
class SliceState:
    """What the warehouse knows of a slice.

    Attributes:
        slice: The slice.
        attempt: Number of the latest attempt, 0 for none.
        kind: What made the slice as it is now (a kind of the ledger); None if it was never published.
        refused: Whether a load was refused since.
        contract_hash: The contract that its last load was judged by; None if there was none, or the slice was dropped.
        detail: What that load recorded.
        producers: Which attempt at the slice each producer has published; without those that have dropped it.
        differs: Whether reconciliation has found, since that load, that the table does not hold what the ledger says.
    """

    slice: Slice
    attempt: int = 0
    kind: str | None = None
    refused: bool = False
    contract_hash: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    producers: Mapping[str, int] = field(default_factory=dict)
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What a source had of a slice when it was loaded, and has now."""

    then: Figures
    now: Figures


@dataclass(frozen=True, slots=True)
class Gap:
    """A slice that should be loaded (again).

    Attributes:
        slice_key: The slice.
        why: The reasons; none where somebody asks for the slice whatever it is.
        attempt: Number of the latest attempt at it.
        change: What has changed at the source, where that is a reason.
        waits_for: Producers that have not published the slice: until then a mart has nothing to read.
        reads_now: Whether a load would put into the slice what the source has today, not what it had then.
    """

    slice_key: str
    why: tuple[Why, ...]
    attempt: int = 0
    change: Change | None = None
    waits_for: tuple[str, ...] = ()
    reads_now: bool = False

    @property
    def loadable(self) -> bool:
        """Whether a load now would give what the slice should hold."""
        return not self.waits_for and not self.reads_now

    def as_json(self) -> dict[str, Any]:
        """The gap for a machine."""
        change = asdict(self.change) if self.change else None
        return {
            "slice": self.slice_key,
            "why": list(self.why),
            "source": change,
            "waits_for": list(self.waits_for),
            "reads_now": self.reads_now,
        }


@dataclass(frozen=True, slots=True)
class Today:
    """How a dataset is loaded now.

    Attributes:
        contract: Its contract.
        known_as: Hashes of all versions of it that treat rows as it does, its own among them.
        code: Digest of how the rows are asked for; None where nobody knows.
        producers: The datasets that a mart reads.
        newest: The newest slice whose source is still as it was, for datasets that read it as it is.
        reads_now: Whether old slices would be filled with what the source has today.
    """

    contract: Contract
    known_as: frozenset[str]
    code: str | None = None
    producers: tuple[str, ...] = ()
    newest: Slice | None = None
    reads_now: bool = False


# --- which slices -------------------------------------------------------------------------------------------------


def slices_between(first: Slice, last: Slice) -> list[Slice]:
    """Return the slices from one to another, both included; none if the last is before the first."""
    days = (last.start - first.start).days + 1
    return [day_slice((first.start + timedelta(days=day)).strftime(DAY_KEY_FORMAT)) for day in range(days)]


def first_slice(cur: Cursor, datasets: Iterable[str]) -> Slice | None:
    """Return the oldest slice that the ledger has of any of these datasets; None if it has none."""
    cur.execute("SELECT min(slice_key) FROM ops.slice_ledger WHERE dataset = ANY(%s)", (list(datasets),))
    row = cur.fetchone()
    return day_slice(row[0]) if row and row[0] else None


def read_states(cur: Cursor, dataset: str, slices: Sequence[Slice], producers: Sequence[str] = ()) -> list[SliceState]:
    """Return what the warehouse knows of these slices, in their order.

    Args:
        cur: Cursor on the warehouse.
        dataset: The dataset.
        slices: The slices.
        producers: Datasets that it reads, if it is a mart.
    """
    keys = [slice_.key for slice_ in slices]
    cur.execute(
        "SELECT slice_key, max(attempt),"
        " coalesce(max(attempt) FILTER (WHERE (status, kind) = ('refused', 'load')), 0)"
        " > coalesce(max(attempt) FILTER (WHERE status = 'published'), 0)"
        " FROM ops.slice_ledger WHERE dataset = %s AND slice_key = ANY(%s) GROUP BY slice_key",
        (dataset, keys),
    )
    attempts = {key: (attempt, refused) for key, attempt, refused in cur.fetchall()}
    cur.execute(
        "SELECT slice_key, c.kind, l.contract_hash, l.detail, EXISTS (SELECT FROM ops.finding AS f"
        " WHERE (f.dataset, f.slice_key, f.kind) = (c.dataset, c.slice_key, 'table_differs') AND f.closed_at IS NULL"
        " AND f.last_seen > l.finished_at)"  # what was loaded since is for the next reconciliation to see
        " FROM ops.slice_current AS c"
        " LEFT JOIN ops.slice_loaded AS l USING (dataset, slice_key) WHERE dataset = %s AND slice_key = ANY(%s)",
        (dataset, keys),
    )
    published = {row[0]: row[1:] for row in cur.fetchall()}
    cur.execute(
        "SELECT slice_key, jsonb_object_agg(dataset, attempt) FROM ops.slice_current"
        " WHERE dataset = ANY(%s) AND slice_key = ANY(%s) AND kind <> 'drop' GROUP BY slice_key",
        (list(producers), keys),
    )
    above = dict(cur.fetchall())
    return [_state(slice_, attempts, published, above) for slice_ in slices]


def _state(
    slice_: Slice,
    attempts: Mapping[str, tuple[int, bool]],
    published: Mapping[str, tuple[Any, ...]],
    above: Mapping[str, Mapping[str, int]],
) -> SliceState:
    attempt, refused = attempts.get(slice_.key, (0, False))
    kind, contract_hash, detail, differs = published.get(slice_.key, (None, None, None, False))
    if kind == "drop":
        contract_hash, detail = None, None
    return SliceState(slice_, attempt, kind, refused, contract_hash, detail or {}, above.get(slice_.key, {}), differs)


def versions_like(cur: Cursor, contract: Contract) -> frozenset[str]:
    """Return the hashes of the versions of a contract that treat rows as it does; its own is always among them."""
    cur.execute("SELECT hash, document FROM ops.contract_version WHERE dataset = %s", (contract.dataset,))
    wanted = for_rows(contract.document)
    return frozenset((contract.hash, *(hash_ for hash_, document in cur.fetchall() if for_rows(document) == wanted)))


def for_rows(document: Any) -> Any:
    """Return a contract's document without what is for people: a change of that makes no slice an old one."""
    if isinstance(document, Mapping):
        kept = {key: for_rows(value) for key, value in document.items() if key not in _FOR_PEOPLE}
        return {key: value for key, value in kept.items() if value not in ([], {}) or not document[key]}
    if isinstance(document, list):
        return [for_rows(item) for item in document if not _is_for_people(item)]
    return document


def _is_for_people(item: Any) -> bool:
    return isinstance(item, Mapping) and "value" in item and item.get("property") in _NOT_FOR_ROWS


# --- the source ---------------------------------------------------------------------------------------------------


def changes_at_source(contract: Contract, states: Iterable[SliceState], open_source: OpenSource) -> dict[str, Change]:
    """Ask the database sources of slices what they have now; return what has changed, by the slice's key.

    Args:
        contract: The dataset's contract.
        states: The slices; those of which no figures were recorded are left out.
        open_source: Gives a session over the Airflow connection of this id.

    Raises:
        SchemaMismatch: A source lacks the table, or it cannot be cut into slices any more.
        SourceError: A source failed.
        PenstockError: What `open_source` raises.
    """
    details = {state.slice.key: state.detail for state in states}
    now = ask_sources(contract, [(day_slice(key), detail) for key, detail in details.items()], open_source)
    changes: dict[str, Change] = {}
    for key, figures in now.items():
        then = recorded_figures(details[key])
        if then is not None and source_changed(contract, then, figures):
            changes[key] = Change(then, figures)
    return changes


# --- gaps ---------------------------------------------------------------------------------------------------------


def find_gaps(
    states: Iterable[SliceState], today: Today, *, now: datetime, changes: Mapping[str, Change] | None = None
) -> list[Gap]:
    """Return the slices that should be loaded, in order.

    Args:
        states: The slices to look at.
        today: How they would be loaded now.
        now: The present.
        changes: What has changed at the source, by the slice's key.
    """
    gaps = []
    for state in states:
        if is_past_retention(today.contract, state.slice, now):
            continue
        change = (changes or {}).get(state.slice.key)
        reasons = tuple(_reasons(state, today, change))
        if reasons:
            gaps.append(gap_of(state, today, reasons, change))
    return gaps


def gap_of(state: SliceState, today: Today, why: Iterable[Why] = (), change: Change | None = None) -> Gap:
    """Return the gap of a slice, with what stands against a load of it."""
    is_old = today.newest is None or state.slice.start < today.newest.start
    return Gap(
        state.slice.key,
        tuple(why),
        state.attempt,
        change,
        waits_for=tuple(name for name in today.producers if name not in state.producers),
        reads_now=today.reads_now and is_old,
    )


def is_past_retention(contract: Contract, slice_: Slice, now: datetime) -> bool:
    """Tell whether a slice is older than its dataset keeps slices."""
    return contract.retention is not None and slice_.end + contract.retention <= now


def _reasons(state: SliceState, today: Today, change: Change | None) -> Iterator[Why]:
    if state.refused:
        yield Why.REFUSED
    elif state.kind is None:
        yield Why.NEVER
    if state.contract_hash is None:  # never loaded, or dropped
        return
    if state.contract_hash not in today.known_as:
        yield Why.CONTRACT
    if None not in (today.code, state.detail.get("code")) and state.detail["code"] != today.code:
        yield Why.CODE
    if change is not None or _read_older(state):
        yield Why.CHANGED
    if state.differs:
        yield Why.TABLE


def _read_older(state: SliceState) -> bool:
    """Tell whether a mart has not read what a producer has published."""
    read: Mapping[str, int] | None = state.detail.get("producers")
    return read is not None and any(read.get(name) != attempt for name, attempt in state.producers.items())
