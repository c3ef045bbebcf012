"""Great Expectations' Data Docs, built from the verdicts in the warehouse.

The pages ask public servers for their style sheets and scripts when they are opened; that is how Great Expectations
writes them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from penstock.core.contract.model import Contract
from penstock.core.contract.suite import compile_suite
from penstock.core.gate.custom import import_custom
from penstock.core.results import Validation, as_validation, read_validations, suite_name

if TYPE_CHECKING:
    from great_expectations.data_context import AbstractDataContext

LATEST: Final = 30
"""Validations of each dataset that the site shows."""

_SITE: Final = "site"
_RESULTS: Final = "validations"


def build_site(cur: Cursor, contracts: Sequence[Contract], folder: Path, custom: Path) -> Path:
    """Write the Data Docs of the datasets' latest validations; what the folder held of an earlier site is replaced.

    Beside the pages (`site/`) lie the validations in Great Expectations' JSON (`validations/<dataset>/…`). Values in
    them are masked by the contracts.

    Args:
        cur: Cursor on the warehouse.
        contracts: The datasets.
        folder: Where to write.
        custom: The folder of the project's own expectations, which need not exist.

    Returns:
        The site's first page.

    Raises:
        ContractError: Great Expectations does not take one of the rules, or an expectation of the project's own
            cannot be imported.
    """
    import_custom(custom)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as name:
        work = Path(name)
        context = _open_context(work)
        for contract in contracts:
            context.suites.add(_named_suite(contract))
            for validation in read_validations(cur, contract.dataset, LATEST):
                _store(context, validation)
                _write_json(work / _RESULTS, validation)
        context.build_data_docs()
        for part in (_SITE, _RESULTS):
            shutil.rmtree(folder / part, ignore_errors=True)
            if (work / part).exists():
                (work / part).rename(folder / part)
    return folder / _SITE / "index.html"


def _open_context(work: Path) -> AbstractDataContext:
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, FilesystemStoreBackendDefaults

    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(work / _SITE)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    return gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=FilesystemStoreBackendDefaults(root_directory=str(work / "gx")),
            data_docs_sites={"penstock": site},
            progress_bars={"globally": False},
            analytics_enabled=False,
        ),
    )


def _named_suite(contract: Contract) -> Any:
    suite = compile_suite(contract)
    suite.name = suite_name(contract.dataset)
    return suite


def _store(context: AbstractDataContext, validation: Validation) -> None:
    from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    result = expectationSuiteValidationResultSchema.load(as_validation(validation))
    key = ValidationResultIdentifier(
        expectation_suite_identifier=ExpectationSuiteIdentifier(suite_name(validation.dataset)),
        run_id=RunIdentifier(run_name=_file_name(validation), run_time=validation.judged_at),
        batch_identifier=validation.slice_key,
    )
    context.validation_results_store.set(key, result)


def _write_json(folder: Path, validation: Validation) -> None:
    path = folder / validation.dataset / f"{_file_name(validation)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_validation(validation), ensure_ascii=False, indent=1), encoding="utf-8")


def _file_name(validation: Validation) -> str:
    """Return slice and run in letters that every file system takes."""
    text = f"{validation.slice_key} {validation.run_id}"
    return "".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "_" for char in text)
