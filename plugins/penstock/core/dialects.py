"""What differs between databases: how a snapshot is begun, what types mean, how a value keeps all it says as text.

`Dialect` is what holds for any database that SQLAlchemy knows; MySQL (with MariaDB) and SQLite say more of themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from penstock.core.slice import Slice

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, FromClause
    from sqlalchemy.types import TypeEngine

ZONED: Final = "timestamp with time zone"
NAIVE: Final = "timestamp without time zone"
_SHORT_TEXT: Final = 1024
_NAIVE_FORMAT: Final = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a table or query at the source.

    Attributes:
        name: Its name.
        type: The Postgres type that has all its values; None where it is not known.
        exact: Whether each value, as it is sent, is sure to be one of that type; else the gate looks at each.
        short: Whether its values are known to be short.
        bits: Whether it holds bits, which are sent as a number.
    """

    name: str
    type: str | None = None
    exact: bool = False
    short: bool = False
    bits: bool = False


def local_edge(moment: datetime, timezone: str) -> datetime:
    """Return the first local time of a zone, without an offset, that the gate reads as `moment` or later.

    The gate reads a local time that comes twice as the second of the two. So where `moment` lies in the first pass, the
    edge is where that begins.
    """
    zone = ZoneInfo(timezone)
    local = moment.astimezone(zone)
    edge = local.replace(tzinfo=None, fold=0)
    if local.fold == 0 and _comes_twice(edge, zone):
        while _comes_twice(edge - timedelta(minutes=1), zone):
            edge -= timedelta(minutes=1)
    return edge


def _comes_twice(local: datetime, zone: ZoneInfo) -> bool:
    first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    return first is not None and second is not None and first > second


def _date_edge(edge: datetime) -> date:
    """Return the first day whose midnight is not before a local time."""
    return edge.date() if edge.time() == datetime.min.time() else edge.date() + timedelta(days=1)


class Dialect:
    """Any database that SQLAlchemy knows, with no more than SQLAlchemy knows of it."""

    typed = True
    """Whether a column's type says what its values are."""

    def begin(self, connection: Connection) -> None:
        """Begin the transaction that is read in."""

    def field(self, name: str, type_: TypeEngine[Any]) -> Field:
        """Return what is known of a table's column."""
        return Field(name, pg_type_of(type_), short=_is_short(type_))

    def described(self, name: str, code: Any) -> Field:  # noqa: ARG002 - codes are each driver's own
        """Return what is known of a query's column by the driver's type code."""
        return Field(name)

    def read(self, column: ColumnElement[Any], field: Field) -> ColumnElement[Any]:  # noqa: ARG002 - for those that differ
        """Return how a column is read, so that what is sent keeps all that it says."""
        return column

    def window(
        self, column: ColumnElement[Any], field: Field, slice_: Slice, timezone: str | None
    ) -> ColumnElement[bool]:
        """Return the condition that a row is of a slice.

        Args:
            column: The column that tells it.
            field: What is known of it; a date or a timestamp.
            slice_: The slice.
            timezone: Zone in which its times are read, if they say no offset; UTC where it is None.
        """
        start, end = (self.edge(moment, field, timezone or "UTC") for moment in (slice_.start, slice_.end))
        return (column >= start) & (column < end)

    def edge(self, moment: datetime, field: Field, timezone: str) -> date | datetime:
        """Return an end of a slice as it is compared with a column's values."""
        if field.type == ZONED:
            return moment
        edge = local_edge(moment, timezone)
        return _date_edge(edge) if field.type == "date" else edge

    def unreadable(self, column: ColumnElement[Any]) -> ColumnElement[bool] | None:  # noqa: ARG002
        """Return the condition that a column's value is no time, where its type does not rule that out."""
        return None

    def parameter(self, moment: datetime) -> Any:
        """Return an instant as it is bound to a query's parameter."""
        return moment.replace(tzinfo=None)


def pg_type_of(type_: TypeEngine[Any]) -> str | None:
    """Return the Postgres type that stands for a type of SQLAlchemy's; None where there is none."""
    from sqlalchemy import types

    if isinstance(type_, types.DateTime):
        return ZONED if type_.timezone else NAIVE
    if isinstance(type_, types.Numeric) and not isinstance(type_, types.Float):
        return "numeric" if type_.precision is None else f"numeric({type_.precision},{type_.scale or 0})"
    simple = (
        (types.Boolean, "boolean"),
        (types.SmallInteger, "smallint"),
        (types.BigInteger, "bigint"),
        (types.Integer, "integer"),
        (types.Float, "double precision"),
        (types.Date, "date"),
        (types.Time, "time without time zone"),
        (types.JSON, "jsonb"),
        (types.Uuid, "uuid"),
        (types.LargeBinary, "bytea"),
        (types._Binary, "bytea"),
        (types.String, "text"),
    )
    return next((name for kind, name in simple if isinstance(type_, kind)), None)


def _is_short(type_: TypeEngine[Any]) -> bool:
    """Tell whether a type's values are short: numbers, times, and texts and bytes of a stated length."""
    from sqlalchemy import types

    if isinstance(type_, (types.String, types._Binary)):
        return type_.length is not None and type_.length <= _SHORT_TEXT
    return isinstance(type_, (types.Integer, types.Numeric, types.Float, types.Date, types.DateTime, types.Time))


def _without_last_zeros(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a time without zeros at the end of its fraction, as Postgres writes it."""
    from sqlalchemy import case, func, literal_column

    def trimmed(letter: str, text: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.trim(literal_column(f"TRAILING '{letter}' FROM").op("")(text))

    has_fraction = func.locate(literal_column("'.'"), column) > literal_column("0")
    return case((has_fraction, trimmed(".", trimmed("0", column))), else_=column)


class MySql(Dialect):
    """MySQL and MariaDB, by PyMySQL, which leaves each value as the text that the server has written."""

    _WHOLE: Final = {
        "TINYINT": ("smallint", "smallint"),
        "SMALLINT": ("smallint", "integer"),
        "MEDIUMINT": ("integer", "integer"),
        "INTEGER": ("integer", "bigint"),
        "BIGINT": ("bigint", "numeric(20,0)"),
        "YEAR": ("smallint", "smallint"),
    }
    # Source: MySQL's client protocol, `enum_field_types`. A result does not say whether a whole number is signed.
    _CODES: Final = {
        1: Field("", "smallint", exact=True, short=True),
        2: Field("", "integer", exact=True, short=True),
        3: Field("", "bigint", exact=True, short=True),
        4: Field("", "real", exact=True, short=True),
        5: Field("", "double precision", exact=True, short=True),
        7: Field("", ZONED, short=True),
        8: Field("", "numeric(20,0)", exact=True, short=True),
        9: Field("", "integer", exact=True, short=True),
        10: Field("", "date", short=True),
        11: Field("", "time without time zone", short=True),
        12: Field("", NAIVE, short=True),
        13: Field("", "smallint", exact=True, short=True),
        16: Field("", "numeric(20,0)", exact=True, short=True, bits=True),
    }

    def begin(self, connection: Connection) -> None:
        """Begin a read-only transaction on one snapshot of the InnoDB tables; `TIMESTAMP`s are sent in UTC."""
        driver: Any = connection.connection.driver_connection
        driver.decoders = {}  # no date that Python lacks becomes None, no number is parsed twice
        connection.exec_driver_sql("SET SESSION time_zone = '+00:00', SESSION net_write_timeout = 600")
        connection.exec_driver_sql("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def field(self, name: str, type_: TypeEngine[Any]) -> Field:
        """Return what is known of a column: numbers and bytes are exact, times may be none (`0000-00-00`)."""
        from sqlalchemy import types

        kind, unsigned = type_.__visit_name__.upper(), bool(getattr(type_, "unsigned", False))
        if kind in self._WHOLE:
            return Field(name, self._WHOLE[kind][unsigned], exact=True, short=True)
        if kind == "BIT":
            one = getattr(type_, "length", None) in (None, 1)
            return Field(name, "boolean" if one else "numeric(20,0)", exact=not one, short=True, bits=True)
        if kind == "TIMESTAMP":
            return Field(name, ZONED, short=True)
        if kind == "FLOAT":
            return Field(name, "real", exact=True, short=True)
        found = super().field(name, type_)
        exact = isinstance(type_, (types.Numeric, types.Float, types.LargeBinary, types._Binary))
        return Field(name, found.type, exact=exact and found.type is not None, short=found.short)

    def described(self, name: str, code: Any) -> Field:
        """Return what is known of a query's column by the type code of the protocol."""
        known = self._CODES.get(code, Field(""))
        return Field(name, known.type, known.exact, known.short, known.bits)

    def read(self, column: ColumnElement[Any], field: Field) -> ColumnElement[Any]:
        """Return how a column is read.

        The server writes a FLOAT with six digits, and a DOUBLE with all; a TIMESTAMP, which is an instant, without
        its offset; bits as bytes.
        """
        from sqlalchemy import func, literal_column

        if field.bits:
            return column.op("+")(literal_column("0"))
        if field.type == "real":
            return column.op("*")(literal_column("1e0"))
        if field.type == ZONED:
            return func.concat(_without_last_zeros(column), literal_column("'+00'"))
        return column

    def edge(self, moment: datetime, field: Field, timezone: str) -> date | datetime:
        """Return an end of a slice; the session is in UTC, and offsets are not written."""
        if field.type == ZONED:
            return moment.astimezone(UTC).replace(tzinfo=None)
        return super().edge(moment, field, timezone)


class Sqlite(Dialect):
    """SQLite, in which each value has a type of its own, and a time is an ISO 8601 text."""

    typed = False

    def begin(self, connection: Connection) -> None:
        """Begin a read-only transaction; a text that is not UTF-8 comes as `surrogateescape` has it."""
        driver: Any = connection.connection.driver_connection
        driver.text_factory = lambda body: body.decode("utf-8", "surrogateescape")
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.exec_driver_sql("BEGIN")

    def field(self, name: str, type_: TypeEngine[Any]) -> Field:
        """Return what is known of a column: what its declared type says, which binds no value."""
        return Field(name, pg_type_of(type_))

    def window(
        self,
        column: ColumnElement[Any],
        field: Field,  # noqa: ARG002 - each value says of itself whether it has an offset
        slice_: Slice,
        timezone: str | None,
    ) -> ColumnElement[bool]:
        """Return the condition that a row is of a slice; a time with an offset is an instant, whatever the zone."""
        from sqlalchemy import func

        read: Any = func.datetime(column)

        def between(start: datetime, end: datetime) -> ColumnElement[bool]:
            bounds = (start.strftime(_NAIVE_FORMAT), end.strftime(_NAIVE_FORMAT))
            return (read >= bounds[0]) & (read < bounds[1])  # type: ignore[no-any-return]

        instants = between(slice_.start, slice_.end)
        if timezone in (None, "UTC"):
            return instants
        offset: Any = column.op("GLOB")("*[Zz]") | column.op("GLOB")("*[+-][0-9][0-9]:[0-9][0-9]")
        edges = [local_edge(moment, str(timezone)) for moment in (slice_.start, slice_.end)]
        return (offset & instants) | (~offset & between(edges[0], edges[1]))  # type: ignore[no-any-return]

    def unreadable(self, column: ColumnElement[Any]) -> ColumnElement[bool] | None:
        """Return the condition that a value is no text in ISO 8601."""
        from sqlalchemy import func

        return column.is_not(None) & ((func.typeof(column) != "text") | func.datetime(column).is_(None))

    def parameter(self, moment: datetime) -> Any:
        """Return an instant as `datetime()` writes it."""
        return moment.strftime(_NAIVE_FORMAT)


_DIALECTS: Final[dict[str, type[Dialect]]] = {"mysql": MySql, "mariadb": MySql, "sqlite": Sqlite}


def dialect_of(connection: Connection) -> Dialect:
    """Return what is known of a connection's database."""
    return _DIALECTS.get(connection.dialect.name, Dialect)()


def selected(dialect: Dialect, relation: FromClause, fields: Sequence[Field]) -> list[ColumnElement[Any]]:
    """Return how columns of a relation are read, in order."""
    return [dialect.read(relation.c[field.name], field) for field in fields]
