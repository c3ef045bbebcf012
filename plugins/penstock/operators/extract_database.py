"""Stage a slice of a table, or of a query, of a database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from penstock.operators.slices import SliceOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from penstock.core.contract import Contract
    from penstock.core.drift import Extracted
    from penstock.core.wanted import Wanted
    from penstock.hooks.database import DatabaseHook
    from penstock.operators.slices import Work


class DatabaseExtractOperator(SliceOperator):
    """Takes the slice's rows from a database to the stage, in one read-only transaction.

    From a Postgres they are piped by COPY, and not read; several sessions, which see one snapshot, can read a large
    table at once. Any other database that SQLAlchemy knows is read by a server-side cursor, chunk by chunk.

    A table is cut by the contract's `partitionBy` column, else by its `cursor`. A query cuts itself by its parameters.

    Args:
        dataset: `<domain>/<table>`.
        conn_id: Connection of the source database.
        table: `schema.table` at the source.
        query: Instead of a table: a query, or a `.sql` file below `include/sql`; it may bind `%(slice_key)s`,
            `%(slice_start)s` and `%(slice_end)s`, or `%(watermark)s`. A literal percent sign is written twice.
        watermark: Column whose largest published value `%(watermark)s` stands for; NULL where nothing is published.
        lookback: How long before the slice rows are taken from, for those that were committed late; for `merge` and
            `scd2` by `cursor`.
        statement_timeout: After how long the source breaks a statement off.
        readers: Sessions that read at most. The task takes as many slots of its pool, unless `pool_slots` says
            otherwise.

    Raises:
        ValueError: There is not a single reader; neither or both of table and query are stated.
    """

    template_fields: Sequence[str] = (*SliceOperator.template_fields, "conn_id", "table", "query")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"query": "sql"}
    not_code: ClassVar[Sequence[str]] = ("readers", "statement_timeout")
    ui_color = "#dbeafe"

    def __init__(
        self,
        *,
        conn_id: str,
        table: str = "",
        query: str = "",
        watermark: str = "",
        lookback: timedelta = timedelta(),
        statement_timeout: timedelta | None = None,
        readers: int = 1,
        **kwargs: Any,
    ) -> None:
        if readers < 1:
            raise ValueError(f"readers is {readers}; a table is read by one session at least")
        if bool(table) == bool(query):
            raise ValueError("state either a table or a query")
        if watermark and not query:
            raise ValueError("a watermark is bound by a query; a table is cut by its slices")
        super().__init__(**{"pool_slots": readers, **kwargs})
        self.conn_id = conn_id
        self.table = table
        self.query = query
        self.watermark = watermark
        self.lookback = lookback
        self.statement_timeout = statement_timeout
        self.readers = readers

    @cached_property
    def source(self) -> DatabaseHook:
        """Hook of the source."""
        from penstock.hooks.database import DatabaseHook

        timeout = self.statement_timeout
        return DatabaseHook(self.conn_id, statement_timeout=timeout.total_seconds() if timeout else None)

    @property
    def wanted(self) -> Wanted:
        """What is asked of the source."""
        from penstock.core.wanted import Wanted

        return Wanted(self.table, self.query, self.lookback)

    def _wanted(self, work: Work, warehouse: Connection) -> tuple[Wanted, dict[str, Any]]:
        """Return what is asked of the source, from the watermark on where the query says so, and what to keep of it."""
        from penstock.core.watermark import watermark_of

        if not self.watermark:
            return self.wanted, self.asked
        with warehouse, warehouse.cursor() as cur:
            watermark = watermark_of(cur, work.contract, self.watermark)
        self.log.info("Reading on from %s", watermark.text or "the beginning: nothing is published yet")
        return replace(self.wanted, watermark=watermark), {**self.asked, "watermark": watermark.text}

    def execute(self, context: Context) -> dict[str, Any]:
        """Stage the slice; return slice, stage and number of rows."""
        work = self.work(context)
        found = self._piped(work) if self.source.is_postgres else self._read(work)
        name = self.wanted.name
        if self.readers > 1 and found.one_reader:
            self.log.info("One session has read %s: %s.", name, found.one_reader)
        for remark in found.drift.remarks():
            self.log.warning("%s: %s", name, remark)
        self.log.info("Staged %d rows of %s in staging.%s", found.rows, name, work.stage.name)
        return {"slice": work.slice.key, "stage": work.stage.name, "extracted": found.rows}

    def _piped(self, work: Work) -> Extracted:
        from penstock.core.parallel_read import Readers
        from penstock.core.source_table import stage_table

        with closing(self.source.postgres()) as connection, closing(self.session(work)) as warehouse:
            wanted, detail = self._wanted(work, warehouse)
            return stage_table(
                connection,
                warehouse,
                work.contract,
                work.slice,
                work.stage,
                wanted,
                detail=detail,
                readers=Readers(self.readers, self.source.postgres, self.warehouse.session),
            )

    def _read(self, work: Work) -> Extracted:
        from penstock.core.source_rows import stage_rows

        with self.source.session() as connection, closing(self.session(work)) as warehouse:
            wanted, detail = self._wanted(work, warehouse)
            return stage_rows(connection, warehouse, work.contract, work.slice, work.stage, wanted, detail=detail)

    def reads_now(self, contract: Contract) -> bool:
        """Tell whether the contract cuts the table into no slices, or the query binds nothing of the slice."""
        from penstock.core.reconcile import can_be_asked

        return "%(slice_" not in self.query if self.query else not can_be_asked(contract)
