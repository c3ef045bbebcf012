"""`penstock docs-site`: Great Expectations' Data Docs of what the gate has found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.arguments import Datasets, contracts_of
from penstock.cli.connections import warehouse
from penstock.cli.output import say, show
from penstock.project import DATA_DOCS, EXPECTATIONS


def docs_site(
    names: Datasets = None,
    *,
    to: Annotated[Path, typer.Option(help="The folder to write to.")] = DATA_DOCS,
) -> None:
    """Build GX Data Docs from the rule results in the warehouse; takes some seconds, for GX is imported."""
    from penstock.core.data_docs import build_site

    contracts = contracts_of(names)
    with warehouse() as connection, connection, connection.cursor() as cur:
        index = build_site(cur, contracts, to, EXPECTATIONS)
    say(f"Data Docs of {len(contracts)} datasets:")
    show(str(index))
