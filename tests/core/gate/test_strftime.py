"""strftime formats in Postgres: what Python's strptime takes, it takes, and nothing else."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

import pytest

from penstock.core.contract import Rule
from penstock.core.gate.expectations import Predicate, compile_rule
from penstock.core.gate.strftime import read_strftime

FORMATS = ("%Y-%m-%d", "%d/%m/%Y %H:%M", "%Y%m%d", "%H:%M:%S.%f", "%d.%m.", "[%Y] 100%% (%m)", "%Y-%m-%dT%H:%M:%SZ")


def parses(text: str, format_: str) -> bool:
    """Whether Python reads it."""
    try:
        datetime.strptime(text, format_)  # noqa: DTZ007 - only whether it can be read
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("format_", FORMATS)
def test_postgres_takes_what_python_takes(bench: Any, format_: str) -> None:
    """Over random dates, some of them broken in a character, both say the same."""
    rng = random.Random(format_)  # noqa: S311 - not for secrets
    texts = []
    for _ in range(300):
        day = datetime(rng.randint(1, 9999), rng.randint(1, 12), rng.randint(1, 28), rng.randint(0, 23), 5, 9)  # noqa: DTZ001
        text = day.strftime(format_) if day.year > 999 else "x"
        at = rng.randrange(len(text))
        changed = text[:at] + rng.choice("0123456789 -x") + text[at + 1 :]
        texts.append(rng.choice((text, changed, text.replace("0", "", 1), text.replace("28", "31"))))
    bench.fill("days", "day text", [(text,) for text in texts])
    test = compile_rule(Rule("r", "expect_column_values_to_match_strftime_format", {"column": "day", "strftime_format": format_}))  # fmt: skip # noqa: E501
    assert isinstance(test, Predicate)
    with bench.conn, bench.conn.cursor() as cur:
        cur.execute("SELECT day, " + test.broken.as_string(cur) + " FROM src.days")
        found = {text: not broken for text, broken in cur.fetchall()}
    # A blank before a digit Python takes for a missing zero; here it is no digit.
    assert {t: f for t, f in found.items() if f != parses(t, format_) and " " not in t.replace(" (", "")} == {}
    assert set(found.values()) == {True, False}


@pytest.mark.parametrize("format_", ["%A", "%Y-%Y", "%y", "%p", "plain", "%"])
def test_what_depends_on_a_locale_is_refused(format_: str) -> None:
    """A format that means something else elsewhere is no format."""
    with pytest.raises(ValueError, match="format"):
        read_strftime(format_)
