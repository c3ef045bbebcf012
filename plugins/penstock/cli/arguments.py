"""Arguments that several commands take."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from penstock.core.contract import Contract
from penstock.project import contract_of, datasets


def _known(incomplete: str) -> list[str]:
    return [name for name in datasets() if name.startswith(incomplete)]


Dataset = Annotated[
    str, typer.Argument(metavar="DATASET", help="<domain>/<table>", autocompletion=_known, show_default=False)
]
Datasets = Annotated[
    list[str] | None,
    typer.Argument(metavar="DATASET", help="<domain>/<table>; all where none is named", autocompletion=_known),
]
SliceKey = Annotated[str | None, typer.Option("--slice", help="Key of a slice, e.g. 2010-09-20.")]
AsJson = Annotated[bool, typer.Option("--json", help="For a machine.")]
By = Annotated[
    str,
    typer.Option(
        "--by", help="Who does it, for the records.", default_factory=getpass.getuser, show_default="your user name"
    ),
]


def contracts_of(names: list[str] | None) -> list[Contract]:
    """Return the contracts of these datasets, or of all.

    Raises:
        ContractError: One of them is broken or missing.
    """
    return [contract_of(name) for name in names or datasets()]
