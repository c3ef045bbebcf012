"""The Great Expectations suite of a contract.

Great Expectations takes seconds to import, so it is imported by the functions that need it. The gate does not
need it for the rules that its plan covers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.core.errors import ContractError
from penstock.core.gate.covered import OWN_PREFIX

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.expectations.expectation import Expectation

    from penstock.core.contract.model import Contract, Rule

RULE_META: Final = "penstock_rule"
"""Key of an expectation's `meta` that holds the id of the rule it stands for."""


def compile_expectation(rule: Rule) -> Expectation:
    """Return a rule as Great Expectations knows it, with its severity and its id.

    Raises:
        ContractError: Great Expectations has no such expectation, or does not take these kwargs.
    """
    from great_expectations.compatibility.pydantic import ValidationError
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import get_expectation_impl

    own_meta = rule.kwargs.get("meta") or {}
    kwargs = {**rule.kwargs, "severity": rule.severity.value, "meta": {**own_meta, RULE_META: rule.id}}
    try:
        return get_expectation_impl(rule.expectation)(**kwargs)
    except ExpectationNotFoundError:
        problems = [f"Great Expectations has no expectation {rule.expectation!r}"]
    except ValidationError as error:
        # An item's `loc` names the kwarg; "__root__" stands for several together.
        problems = [
            " ".join((*(str(part) for part in item["loc"] if part != "__root__"), item["msg"]))
            for item in error.errors()
        ]
    raise ContractError([f"rule {rule.id}: {problem}" for problem in problems])


def compile_suite(contract: Contract) -> ExpectationSuite:
    """Return a contract's rules, also the implied ones, as one suite named after the dataset.

    Rules of Penstock's own types are left out: Great Expectations has nothing that stands for them.

    Raises:
        ContractError: With a line per rule that Great Expectations does not take.
    """
    from great_expectations import ExpectationSuite

    expectations, problems = [], []
    for rule in contract.rules:
        if rule.expectation.startswith(OWN_PREFIX):
            continue
        try:
            expectations.append(compile_expectation(rule))
        except ContractError as error:
            problems += [f"{contract.dataset}: {problem}" for problem in error.problems]
    if problems:
        raise ContractError(problems)
    return ExpectationSuite(
        name=contract.dataset,
        expectations=expectations,
        meta={"contract_version": contract.version, "contract_hash": contract.hash},
    )
