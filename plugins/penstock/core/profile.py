"""What a source holds, as far as its catalog and its first rows tell: the ground of a draft contract.

A type is taken for a text column only if the gate would read nearly all of the sampled texts as that type; how a text
is written is asked of the gate itself (`gate.text_values.shape`). What the catalog states is certain, and what only
the sample shows is likely: `draft` keeps the two apart.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Any, Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Composable, Identifier, Literal

from penstock.core.contract.model import Column
from penstock.core.contract.moments import moment_format
from penstock.core.contract.types import canonical_type
from penstock.core.errors import SourceError
from penstock.core.gate.text_values import is_number, shape
from penstock.core.lake import Number, text_of
from penstock.core.sample import Sample

ENOUGH: Final = 20
"""Rows below which a sample shows nothing but types."""

_TOLERANCE: Final = 0.02
_LONGEST_TEXT: Final = 1000
_MOST_VALUES: Final = 12
_ROWS_PER_VALUE: Final = 10
_LONGEST_VALUE: Final = 40
_PROBE: Final = 50
_BIGINT: Final = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """What is known of one field.

    Attributes:
        field: Its name at the source.
        type: Postgres type, canonical.
        rows: Rows in the sample.
        nulls: Rows without a value.
        distinct: Different values.
        misfits: Rows whose text the gate would not read as the type.
        stated: Whether the type is the catalog's, not a guess.
        not_null: Whether the catalog says that it always has a value.
        format: How its dates or times are written, where that is not ISO 8601.
        least: The smallest number or the first moment, or None.
        greatest: The largest number or the last moment, or None.
        lengths: Characters of the shortest and of the longest text; None of other types.
        values: All values of a text column with few of them, in order; else empty.
        personal: What its values seem to be, if people should not see them: `e-mail addresses`, `telephone numbers`.
        comment: What the catalog says about it, or None.
        remark: What was odd about its values, or None.
    """

    field: str
    type: str
    rows: int
    nulls: int = 0
    distinct: int = 0
    misfits: int = 0
    stated: bool = False
    not_null: bool = False
    format: str | None = None
    least: Any = None
    greatest: Any = None
    lengths: tuple[int, int] | None = None
    values: tuple[str, ...] = ()
    personal: str | None = None
    comment: str | None = None
    remark: str | None = None

    @property
    def unique(self) -> bool:
        """Whether every row of the sample has a value of its own."""
        return self.rows > 0 and self.distinct == self.rows

    @property
    def is_moment(self) -> bool:
        """Whether it tells a day."""
        return self.type == "date" or self.type.startswith("timestamp")


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a source.

    Attributes:
        columns: In the order of the source.
        rows: Rows in the sample.
        whole: Whether these are all rows of the source.
        key: Fields of the key, in order; empty where there is none.
        key_from: How the key is known, in words.
        skipped: Lines of the sample that are no rows.
        comment: What the catalog says about the table, or None.
    """

    columns: tuple[ColumnProfile, ...]
    rows: int
    whole: bool
    key: tuple[str, ...] = ()
    key_from: str = ""
    skipped: int = 0
    comment: str | None = None


# --- how a text is read ------------------------------------------------------------------------------------------


def _whole(text: str) -> int | None:
    digits = text.strip().lstrip("+-")
    if digits.startswith("0") and digits != "0":
        return None  # 00123 is a code: as a number it would lose its zeros
    number = int(text)
    return number if number in _BIGINT else None


def _number(text: str) -> Decimal | None:
    if re.match(r"\s*[+-]?0[0-9]", text):
        return None
    return _finite(text)


def _finite(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _day(text: str) -> date | None:
    return None if ":" in text else date.fromisoformat(text.strip()[:10])


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.strip().upper())


def _nested(text: str) -> bool | None:
    return isinstance(json.loads(text), dict | list) or None


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "bigint": _whole,
    "numeric": _number,
    "date": _day,
    "timestamp with time zone": _moment,
    "timestamp without time zone": lambda text: _moment(text).replace(tzinfo=None),  # what is told is UTC
    "time without time zone": lambda text: time.fromisoformat(text.strip()),
    "boolean": lambda text: text.strip().lower(),
    "uuid": lambda text: re.fullmatch(r"\s*[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\s*", text),
    "jsonb": lambda text: _nested(text) if text.lstrip()[:1] in ("{", "[") else None,
}
"""From a text to its value, None where it is none; the more special type before the more general one."""

_BOOLEANS: Final = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"})
_DAYS: Final = (
    "dd/MM/yyyy",
    "MM/dd/yyyy",
    "dd.MM.yyyy",
    "dd-MM-yyyy",
    "yyyy/MM/dd",
    "d/M/yyyy",
    "M/d/yyyy",
    "d.M.yyyy",
)
_TIMES: Final = ("", " HH:mm", " HH:mm:ss", " H:mm", " H:mm:ss")
_KINDS: Final[Mapping[str, frozenset[str]]] = {
    "number": frozenset(("bigint", "numeric")),
    "boolean": frozenset(("boolean",)),
    "nested": frozenset(("jsonb",)),
    "text": frozenset(
        ("date", "timestamp with time zone", "timestamp without time zone", "time without time zone", "uuid")
    ),
}
"""What the values of a source can be that tells numbers from text."""


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, dict | list):
        return "nested"
    return "number" if isinstance(value, Number) else "text"


def _parsed(counts: Counter[str], read: Callable[[str], Any], wanted: str | None) -> dict[str, Any]:
    """Return the value by text, of those texts that can be read; empty where hardly any of the first ones can."""
    found: dict[str, Any] = {}
    pattern = re.compile(wanted) if wanted else None
    for tried, text in enumerate(counts):
        if tried == _PROBE and len(found) < _PROBE / 2:
            return {}
        if pattern and not pattern.match(text):
            continue
        try:
            value = read(text)
        except (ValueError, RecursionError):
            continue
        if value is not None:
            found[text] = value
    return found


def _written(pattern: str) -> Callable[[str], Any]:
    form = moment_format(pattern)

    def read(text: str) -> Any:
        numbers = [int(part) for part in re.split(r"\D+", re.sub(form.regex, form.iso, text))]
        return datetime(*numbers) if form.has_time else date(*numbers)  # type: ignore[arg-type]  # noqa: DTZ001

    return read


@dataclass(frozen=True, slots=True)
class _Guess:
    type: str
    format: str | None
    parsed: Mapping[str, Any]
    misfits: int


def _guesses(counts: Counter[str], kind: str | None) -> list[_Guess]:
    """Return what the texts could be, the likeliest first."""
    total = counts.total()

    def guess(type_: str, read: Callable[[str], Any], pattern: str | None = None) -> _Guess:
        wanted = shape(Column("x", "x", type_, format=pattern))
        found = _parsed(counts, read, wanted)
        return _Guess(type_, pattern, found, total - sum(counts[text] for text in found))

    allowed = [type_ for type_ in _READERS if kind is None or type_ in _KINDS[kind]]
    found = [guess(type_, _READERS[type_]) for type_ in allowed]
    if kind in (None, "text"):
        for day, clock in product(_DAYS, _TIMES):
            type_ = "timestamp without time zone" if clock else "date"
            found.append(guess(type_, _written(day + clock), day + clock))
    good = [each for each in found if each.misfits <= _TOLERANCE * total and _is_sensible(each)]
    return sorted(good, key=lambda each: each.misfits)  # stable: of equals, the more special


def _is_sensible(guess: _Guess) -> bool:
    return guess.type != "boolean" or set(guess.parsed.values()) in _BOOLEANS


def _guess_type(counts: Counter[str], kind: str | None) -> tuple[_Guess, str | None]:
    """Return the type of a field with any value, and what is to be said about it."""
    as_text = _Guess("text", None, {}, 0)
    found = _guesses(counts, kind)
    if not found:
        return as_text, _oddity(counts, kind)
    best = found[0]
    rivals = [each.format for each in found if each.misfits == best.misfits and each.parsed != best.parsed]
    if best.format and rivals:
        return as_text, f"a date that is written {best.format} or {rivals[0]}: the sample does not tell which"
    if not best.misfits:
        return best, None
    odd = [text for text in counts if text not in best.parsed]
    told = f"{best.misfits} of {counts.total()} values are no {best.type}, such as {odd[0][:_LONGEST_VALUE]!r}"
    return (best, told) if _says_nothing(best.type, odd) else (as_text, f"text, for {told}")


def _says_nothing(type_: str, odd: Sequence[str]) -> bool:
    """Tell whether misfits of a number or moment have no digit: `n/a`, not `C523031`, which means something."""
    return type_ not in ("boolean", "uuid", "jsonb") and not any(re.search("[0-9]", text) for text in odd)


def _oddity(counts: Counter[str], kind: str | None) -> str | None:
    """Say which one value keeps a text column from being of another type."""
    odd, times = counts.most_common(1)[0]
    rest = Counter({text: number for text, number in counts.items() if text != odd})
    found = _guesses(rest, kind) if rest and times > _TOLERANCE * counts.total() else []
    if not found:
        return None
    return f"text, for {times} of {counts.total()} values are {odd[:_LONGEST_VALUE]!r}, else it were {found[0].type}"


# --- columns -----------------------------------------------------------------------------------------------------

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]{2,}")
_EMAIL_NAME: Final = re.compile(r"e_?mail")
_PHONE: Final = re.compile(r"\+?[0-9(][0-9 ()/.-]{5,20}[0-9]")
_PHONE_NAME: Final = re.compile(r"phone|mobile|(^|_)(tel|fax|cell)($|_)")


def _personal(field: str, counts: Counter[str]) -> str | None:
    """Tell e-mail addresses by their look or name, telephone numbers by their name and look."""
    total = counts.total()
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", field).lower()
    if 2 * sum(number for text, number in counts.items() if _EMAIL.fullmatch(text.strip())) > total:
        return "e-mail addresses"
    if _PHONE_NAME.search(name) and all(map(_PHONE.fullmatch, map(str.strip, list(counts)[:_PROBE]))):
        return "telephone numbers"
    return "e-mail addresses" if _EMAIL_NAME.search(name) and total else None


def _column(
    field: str, values: Sequence[Any], *, typed: bool = False, stated: Mapping[str, Any] | None = None
) -> ColumnProfile:
    """Profile one field.

    Args:
        field: Its name.
        values: Its value in each row of the sample.
        typed: Whether the source tells numbers from text.
        stated: What the catalog says: `type`, `not_null`, `comment`.
    """
    present = [value for value in values if value is not None]
    counts = Counter(text for value in present if (text := text_of(value)) is not None)
    personal = _personal(field, counts) if counts else None
    if stated is not None:
        best, remark = _Guess(stated["type"], None, _known_values(stated["type"], counts), 0), None
    elif counts:
        kinds = Counter(map(_kind, present))
        kind, times = kinds.most_common(1)[0]
        mixed = typed and len(present) - times > _TOLERANCE * len(present)
        as_text = _Guess("text", None, {}, 0), "values of several kinds: " + ", ".join(sorted(kinds))
        best, remark = as_text if mixed else _guess_type(counts, kind if typed else None)
        if personal:
            best, remark = _Guess("text", None, {}, 0), None
    else:
        best, remark = _Guess("text", None, {}, 0), "no value in the sample, so nothing tells its type"
    comparable = list(best.parsed.values()) if is_number(best.type) or re.match("date|timestamp", best.type) else []
    is_text = best.type == "text" or best.type.startswith("character varying")
    return ColumnProfile(
        field=field,
        type=best.type,
        rows=len(values),
        nulls=len(values) - len(present),
        distinct=len(counts),
        misfits=best.misfits,
        format=best.format,
        least=min(comparable, default=None),
        greatest=max(comparable, default=None),
        lengths=(min(map(len, counts)), max(map(len, counts))) if is_text and counts else None,
        values=_few_values(counts) if is_text and personal is None else (),
        personal=personal,
        remark=remark,
        stated=stated is not None,
        not_null=bool(stated and stated["not_null"]),
        comment=stated["comment"] if stated else None,
    )


def _known_values(type_: str, counts: Counter[str]) -> dict[str, Any]:
    """Return the values of texts of a type that is known; what Python cannot hold (`infinity`) is left out."""
    if is_number(type_):
        return _parsed(counts, _finite, None)
    if type_.startswith("timestamp"):
        return _parsed(counts, _moment, None)
    return _parsed(counts, _day, None) if type_ == "date" else {}


def _few_values(counts: Counter[str]) -> tuple[str, ...]:
    few = 1 < len(counts) <= _MOST_VALUES and counts.total() >= max(ENOUGH, _ROWS_PER_VALUE * len(counts))
    return tuple(sorted(counts)) if few and max(map(len, counts)) <= _LONGEST_VALUE else ()


# --- keys --------------------------------------------------------------------------------------------------------

_KEY_TYPES: Final = ("text", "uuid", "bigint", "integer", "smallint", "character varying")
_KEY_NAME: Final = re.compile(r"(^|_)(id|key|uuid|guid|code|number|no|nr|sku)$")


def is_key_name(field: str) -> bool:
    """Tell whether a field is named like something that identifies."""
    return bool(_KEY_NAME.search(re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", field).lower()))


def _likely_key(columns: Sequence[ColumnProfile], rows: int) -> tuple[str, ...]:
    """Return the first field that is unique in the sample, of a type and with a name (or in the place) of a key."""
    for position, column in enumerate(columns):
        suits = column.type.startswith(_KEY_TYPES) and not (column.personal or column.misfits)
        if rows >= ENOUGH and column.unique and suits and (is_key_name(column.field) or position == 0):
            return (column.field,)
    return ()


# --- sources -----------------------------------------------------------------------------------------------------


def profile_sample(sample: Sample) -> Profile:
    """Profile the rows of a file."""
    columns = tuple(
        _column(field, [row[position] for row in sample.rows], typed=sample.typed)
        for position, field in enumerate(sample.fields)
    )
    return _profile(columns, sample, None, None)


def _profile(
    columns: tuple[ColumnProfile, ...], sample: Sample, stated: tuple[tuple[str, ...], str] | None, comment: str | None
) -> Profile:
    rows = len(sample.rows)
    key, key_from = stated or (_likely_key(columns, rows), f"it is different in all {rows:,} rows of the sample")
    return Profile(columns, rows, sample.whole, key, key_from if key else "", sample.skipped, comment)


def profile_table(cur: Cursor, table: str, rows: int) -> Profile:
    """Profile a table or view of a Postgres: types, keys and comments from its catalog, the rest from a sample.

    Of a large table the sample is spread over its pages, and the same rows each time.

    Args:
        cur: Cursor on the source, in a transaction.
        table: `schema.table`.
        rows: The most rows to look at.

    Raises:
        SourceError: There is no such table.
    """
    name = Identifier(*table.split("."))
    cur.execute("SET LOCAL TIME ZONE 'UTC'")
    cur.execute("SET LOCAL DateStyle = 'ISO, YMD'")
    cur.execute(
        "SELECT oid, relkind::text, reltuples::float8, obj_description(oid, 'pg_class') FROM pg_class"
        " WHERE oid = to_regclass(%s)",
        (name.as_string(cur),),
    )
    found = cur.fetchone()
    if found is None:
        raise SourceError(
            f"There is no table {table} that this connection may see.",
            next_step="name it as `schema.table`, as the source spells it.",
        )
    oid, kind, tuples, comment = found
    cur.execute(
        "SELECT attname, coalesce(format_type(nullif(typbasetype, 0), typtypmod), format_type(atttypid, atttypmod)),"
        " attnotnull, col_description(attrelid, attnum) FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid"
        " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (oid,),
    )
    fields = cur.fetchall()
    share = 100 * rows / tuples if kind in ("r", "m") and tuples > rows else None
    sample = _sample_table(cur, name, [field for field, *_ in fields], rows, share)
    columns = tuple(
        _column(
            field,
            [row[position] for row in sample.rows],
            stated={"type": _known_type(type_), "not_null": not_null, "comment": comment_},
        )
        for position, (field, type_, not_null, comment_) in enumerate(fields)
    )
    return _profile(columns, sample, _stated_key(cur, oid), comment)


def _known_type(type_: str) -> str:
    try:
        return canonical_type(type_)
    except ValueError:
        return "text"


def _sample_table(cur: Cursor, name: Identifier, fields: Sequence[str], rows: int, share: float | None) -> Sample:
    """Read rows as text; `share` is the percentage of the pages to look at, None for the first rows."""
    texts = [SQL("left({}::text, {})").format(Identifier(field), Literal(_LONGEST_TEXT)) for field in fields]
    some: Composable = SQL("")
    if share is not None:
        some = SQL("TABLESAMPLE SYSTEM ({}) REPEATABLE (1)").format(Literal(share))
    cur.execute(SQL("SELECT {} FROM {} {} LIMIT {}").format(SQL(", ").join(texts), name, some, Literal(rows + 1)))
    found = [list(row) for row in cur.fetchall()]
    return Sample(tuple(fields), found[:rows], share is None and len(found) <= rows)


def _stated_key(cur: Cursor, oid: int) -> tuple[tuple[str, ...], str] | None:
    """Return the columns of the primary key, else of the shortest unique index whose columns are all NOT NULL."""
    cur.execute(
        "SELECT array_agg(a.attname::text ORDER BY k.n), i.indisprimary, c.relname FROM pg_index AS i"
        " JOIN pg_class AS c ON c.oid = i.indexrelid, unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)"
        " JOIN pg_attribute AS a ON a.attnum = k.attnum"
        " WHERE i.indrelid = %s AND a.attrelid = i.indrelid AND i.indisunique AND i.indisvalid"
        " AND i.indpred IS NULL AND i.indexprs IS NULL AND k.n <= i.indnkeyatts"
        " GROUP BY i.indisprimary, c.relname HAVING bool_and(a.attnotnull)"
        " ORDER BY i.indisprimary DESC, count(*), c.relname LIMIT 1",
        (oid,),
    )
    found = cur.fetchone()
    if found is None:
        return None
    fields, primary, index = found
    return tuple(fields), "it is the source's primary key" if primary else f"the source's index {index} is unique"
