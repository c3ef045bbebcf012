"""Stage a slice from what was landed in the lake."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812

from penstock.core.contract.model import SLICE_FIELD, Contract
from penstock.core.drift import Drift, Extracted, decide, with_evolved
from penstock.core.lake import LakePath, landed_fields, landed_text, read_parts
from penstock.core.landing import UNKNOWN_FIELDS, Aside
from penstock.core.slice import day_slice
from penstock.core.stage import Stage, copy_into, create_text_stage, default_to_slice, record_stage


def stage_lake(
    warehouse: Connection, contract: Contract, stage: Stage, folder: LakePath, detail: Mapping[str, Any]
) -> Extracted:
    """Stage all rows of one landed attempt as text; commits.

    A row with a text that Postgres cannot hold is staged with the text escaped, and the gate quarantines it.

    Args:
        warehouse: Connection to the warehouse.
        contract: The contract.
        stage: The run's stage; what an earlier attempt left in it is replaced.
        folder: The attempt's folder, with its manifest.
        detail: What to keep with the stage and in the ledger.

    Raises:
        SourceError: The lake's files are not what their manifest says.
        SchemaMismatch: The fields that were landed do not fit the contract.
    """
    with warehouse, warehouse.cursor() as cur:
        contract = with_evolved(cur, contract)
        fields = landed_fields(folder)
        drift = decide(contract, dict.fromkeys(fields), stage) if fields else Drift()  # no record, no drift
        contract = drift.extend(contract)
        create_text_stage(cur, stage, contract, day_slice(stage.slice_key))
        columns = {c.name: c.source_name for c in contract.columns if c.source_name != SLICE_FIELD}
        statement = copy_into(stage, list(columns), binary=False)
        aside, rows = Aside(list(columns)), 0
        try:
            for part in read_parts(folder, columns | {_WATCHED + name: name for name in drift.watched}):
                rows += part.num_rows
                cur.copy_expert(statement, _good_rows(part, columns, aside))
            aside.copy(cur, stage)
        finally:
            aside.close()
        default_to_slice(cur, stage, contract, None)
        record_stage(cur, stage, contract, extracted=rows, detail={**detail, **drift.detail()})
    return Extracted(rows, drift)


_WATCHED = "$"  # no column's name begins so


def _good_rows(part: Any, columns: Mapping[str, str], aside: Aside) -> io.BytesIO:
    """Return the rows that can be staged as they are, as COPY takes them, and put the others aside."""
    import pyarrow
    from pyarrow import compute, csv

    odd = pyarrow.array([False] * part.num_rows)
    for name in part.column_names:
        column = part.column(name)
        if name.startswith(_WATCHED):
            suspect = compute.is_valid(column)
        elif pyarrow.types.is_binary(column.type):
            suspect = compute.is_valid(column)  # a column that is not Unicode throughout: each row is looked at
        else:
            suspect = compute.fill_null(compute.match_substring(column, "\0"), False)
        odd = compute.or_(odd, suspect)
    for record in part.filter(odd).to_pylist():
        texts = {name: landed_text(value) for name, value in record.items()}
        extra = {
            name[len(_WATCHED) :]: text for name, text in texts.items() if name[0] == _WATCHED and text is not None
        }
        aside.add({name: texts[name] for name in columns}, [UNKNOWN_FIELDS] if extra else [], (), extra)
    buffer = io.BytesIO()
    options = csv.WriteOptions(include_header=False, quoting_style="all_valid")  # NULL is the unquoted nothing
    good = part.filter(compute.invert(odd)).select(list(columns))
    csv.write_csv(good, buffer, options)
    buffer.seek(0)
    return buffer
