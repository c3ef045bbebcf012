"""Stage a slice from what was landed in the lake."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812

from penstock.core.contract.model import Contract, SchemaPolicy
from penstock.core.errors import SchemaMismatch, SourceError
from penstock.core.lake import LakePath, read_parts
from penstock.core.stage import Stage, copy_into, create_stage, record_stage


def unknown_fields(contract: Contract, fields: Sequence[str]) -> list[str]:
    """Return the fields that the contract does not name."""
    known = {column.source_name for column in contract.columns}
    return [name for name in fields if name not in known]


def check_fields(contract: Contract, fields: Sequence[str], stage: Stage) -> list[str]:
    """Apply the contract's `schemaPolicy` to the fields that a source sent.

    Returns:
        The fields that are left out of the stage (they stay in the lake).

    Raises:
        SchemaMismatch: The policy is `freeze` and there are unknown fields.
    """
    unknown = unknown_fields(contract, fields)
    if unknown and contract.schema_policy is SchemaPolicy.FREEZE:
        raise SchemaMismatch(
            f"The source sends fields that the contract does not name: {', '.join(unknown)}.",
            dataset=stage.dataset,
            slice_key=stage.slice_key,
            next_step="add them to the contract, or set schemaPolicy to discard, and clear `extract`.",
        )
    return unknown


def stage_lake(
    warehouse: Connection, contract: Contract, stage: Stage, folder: LakePath, detail: dict[str, Any]
) -> int:
    """Stage all rows of one landed attempt as text; commits.

    Args:
        warehouse: Connection to the warehouse.
        contract: The contract.
        stage: The run's stage; what an earlier attempt left in it is replaced.
        folder: The attempt's folder, with its manifest.
        detail: What to keep with the stage and in the ledger.

    Returns:
        The number of rows staged.

    Raises:
        SourceError: The lake's files are not what their manifest says, or hold a text that Postgres cannot hold (one
            with a NUL character).
    """
    from pyarrow import csv

    columns = {column.name: column.source_name for column in contract.columns}
    options = csv.WriteOptions(include_header=False, quoting_style="all_valid")  # NULL is the unquoted nothing
    rows = 0
    with warehouse, warehouse.cursor() as cur:
        create_stage(cur, stage, [(name, "text") for name in columns], contract)
        statement = copy_into(stage, list(columns), binary=False)
        for part in read_parts(folder, columns):
            buffer = io.BytesIO()
            csv.write_csv(part, buffer, options)
            buffer.seek(0)
            try:
                cur.copy_expert(statement, buffer)
            except psycopg2.errors.CharacterNotInRepertoire as error:
                where = str(error).strip().splitlines()[-1]
                raise SourceError(
                    f"A text in {folder} holds a NUL character, which Postgres cannot hold; {where}."
                ) from error
            rows += part.num_rows
        record_stage(cur, stage, contract, extracted=rows, detail=detail)
    return rows
