"""Land a slice's file in the lake, byte by byte, and stage it from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, get_args

from penstock.core.errors import PenstockError
from penstock.operators.slices import SliceOperator, Work

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from penstock.core.contract import Contract
    from penstock.core.drift import Extracted
    from penstock.core.lake import LakePath
    from penstock.core.slice import Slice
    from penstock.core.source_file import FileFormat, FileKind
    from penstock.core.stage import Stage


class FileExtractOperator(SliceOperator):
    """Takes a file: the file to the lake as it is, the lake to the stage.

    All rows of the file belong to the slice: one whose `partitionBy` value says another day goes to quarantine. In a
    CSV an unquoted nothing is NULL, and `""` is the empty string. A physical line is a row.

    Args:
        dataset: `<domain>/<table>`.
        path: `http(s)://…`, any URL that Airflow's object storage knows (`s3://conn_id@bucket/key`), or a path; a
            relative one lies below the project. `{slice}` stands for the slice's key. One with `*`, `?` or `[…]` stands
            for all files that match and that no other slice was loaded from.
        format: `csv`, `jsonl`, `json`, `parquet`, `avro`, `excel`, `xml`, `fixed` or `log`; by default what the path
            ends in.
        delimiter: What separates the values of a CSV; by default (`auto`) told by the header and the contract's
            fields, and in `.tsv` a tab.
        encoding: Encoding of a CSV, of fixed width and of logs; `auto` tells UTF-8 from Windows-1252 in a CSV. UTF-16
            and UTF-32 are told by their byte order mark, or named.
        header: Whether the first line of a CSV names the fields; None: told by the contract's fields. Without one the
            fields are the contract's, in their order.
        newlines_in_values: Whether a quoted value of a CSV may run over line ends. Then a quote that is not closed
            swallows the lines that follow.
        records: For `json`: the way to the array of rows through the names of objects, e.g. `data.items`.
        compression: `gzip`, `zstd`, `bz2` or `zip`; by default what the path ends in; `none` for none.
        options: What else there is to say of a kind of file: the `sheet` of an Excel file, the `record` of XML, the
            `widths` of fixed width, the `pattern` of a log (see `record_files.RecordFormat`), the `member` of a ZIP.
    """

    template_fields: Sequence[str] = (*SliceOperator.template_fields, "path")
    ui_color = "#dbeafe"

    def __init__(  # noqa: PLR0913 - keyword arguments, as all operators have
        self,
        *,
        path: str,
        format: FileKind | None = None,  # noqa: A002 - the word that users know
        delimiter: str | None = None,
        encoding: str = "utf-8",
        header: bool | None = True,
        newlines_in_values: bool = False,
        records: str = "",
        compression: str | None = None,
        options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.format = format
        self.delimiter = delimiter
        self.encoding = encoding
        self.header = header
        self.newlines_in_values = newlines_in_values
        self.records = records
        self.compression = compression
        self.options = options

    def execute(self, context: Context) -> dict[str, Any]:
        """Land and stage the slice; return slice, stage, number of rows, the file and the lake's folder.

        Raises:
            ValueError: Format, delimiter or encoding are none that can be read.
        """
        from penstock.hooks.lake import attempt_folder

        self._format()  # wrong arguments are told before anything is fetched
        work = self.work(context)
        path = self.path.replace("{slice}", work.slice.key)
        folder = attempt_folder(work.stage, context["ti"].try_number)
        try:
            with closing(self.session(work)) as warehouse:
                detail = {
                    "source": path,
                    "lake": str(folder),
                    **self.asked,
                    **self._land(warehouse, work, path, folder),
                }
                found = self.stage_landed(warehouse, work.contract, work.slice, work.stage, folder, detail)
        except PenstockError as error:
            error.dataset, error.slice_key = work.contract.dataset, work.slice.key
            raise
        if found.told:
            self.log.info("Told from the file: %s. To be sure of it, name it in the DAG.", found.told)
        for remark in found.drift.remarks():
            self.log.warning("%s: %s", path, remark)
        self.log.info("Landed and staged %d rows of %s; lake: %s", found.rows, path, folder)
        return {
            "slice": work.slice.key,
            "stage": work.stage.name,
            "extracted": found.rows,
            "file": path,
            "lake": str(folder),
        }

    def _land(self, warehouse: Connection, work: Work, path: str, folder: LakePath) -> dict[str, Any]:
        """Land the file, or the files of a pattern that no other slice was loaded from; return what to keep of them."""
        from penstock.core.errors import SourceError
        from penstock.core.file_ledger import choose, loaded_files, remarks
        from penstock.core.lake import land_file, land_files
        from penstock.hooks.files import is_pattern, list_files, read_blocks

        if not is_pattern(path):
            land_file(folder, path, read_blocks(path))
            return {}
        with warehouse, warehouse.cursor() as cur:
            loaded = loaded_files(cur, self.dataset, work.slice.key)
        chosen = choose(list_files(path), loaded, work.contract)
        for remark in remarks(chosen):
            self.log.warning(remark)
        self.log.info("%d files match %s and are new, %d are known", len(chosen.take), path, chosen.known)
        if not chosen.take:
            raise SourceError(
                f"No new file matches {path}; {chosen.known} were loaded with other slices.",
                next_step="nothing if it is only late: the task is retried; else correct `path` in the DAG.",
            )
        take = (({"path": file.path, "modified": file.modified}, read_blocks(file.path)) for file in chosen.take)
        return {"files": land_files(folder, path, take)}

    def stage_landed(
        self,
        warehouse: Connection,
        contract: Contract,
        slice_: Slice,
        stage: Stage,
        folder: LakePath,
        detail: Mapping[str, Any],
    ) -> Extracted:
        """Stage a landed file as the arguments say it is to be read; commits.

        Raises:
            ValueError: Format, delimiter or encoding are none that can be read.
            SourceError: The file is not what was landed, or cannot be read as it should.
            SchemaMismatch: Its fields do not fit the contract.
        """
        from penstock.core.source_file import stage_file

        return stage_file(warehouse, contract, slice_, stage, folder, self._format(), detail)

    def reads_now(self, contract: Contract) -> bool:  # noqa: ARG002 - the path alone decides
        """Tell whether the path is the same for every slice."""
        return "{slice}" not in self.path and "{{" not in self.path

    def _format(self) -> FileFormat:
        from penstock.core.compression import compression_of, named_compression
        from penstock.core.record_files import RecordFormat
        from penstock.core.source_file import FileFormat, FileKind, file_kind
        from penstock.core.text_lines import AUTO, CsvFormat, is_wide

        kind = self.format or file_kind(self.path)
        if kind not in get_args(FileKind):
            raise ValueError(f"format {kind!r} is none of {', '.join(get_args(FileKind))}")
        name, packed = compression_of(self.path.partition("?")[0])
        if self.compression is not None:
            packed = named_compression(self.compression)
        options = dict(self.options or {})
        member = options.pop("member", "*")
        if unknown := options.keys() - {"sheet", "record", "widths", "pattern"}:
            raise ValueError(f"options {', '.join(sorted(unknown))} are none of member, sheet, record, widths, pattern")
        delimiter = self.delimiter or ("\t" if name.lower().endswith(".tsv") else AUTO)
        wide = self.encoding if is_wide(self.encoding) else ""
        encoding = "utf-8" if wide else self.encoding
        if encoding == AUTO and kind != "csv":
            raise ValueError("the encoding is told of a CSV only: name it")
        return FileFormat(
            kind,
            CsvFormat(delimiter, encoding, self.newlines_in_values, self.header),
            self.records,
            RecordFormat(**options, encoding=encoding),
            packed,
            member,
            wide,
        )
