"""All commands, and how a command ends.

Exit codes: 0 done, nothing wrong; 1 something is wrong, and it is said what; 2 the command was not understood.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from penstock.cli import checking, docs_site, migrating, quarantine, redriving, removing, replaying
from penstock.cli.backfilling import backfill
from penstock.cli.gaps import gaps
from penstock.cli.new import new
from penstock.cli.output import say
from penstock.core.errors import PenstockError
from penstock.local.errors import LocalError

INTERRUPTED = 130

app = typer.Typer(
    name="penstock",
    help="Contracts, tables and quarantine of this Penstock project. docs/cli.md describes each command.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("new")(new)
app.command("check")(checking.check)
app.command("explain")(checking.explain)
app.command("plan")(migrating.plan)
app.command("apply")(migrating.apply)
app.add_typer(quarantine.commands, name="quarantine")
app.command("redrive")(redriving.redrive)
app.command("replay")(replaying.replay)
app.command("drop-slice")(removing.drop_slice)
app.command("gaps")(gaps)
app.command("backfill")(backfill)
app.command("docs-site")(docs_site.docs_site)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a problem is told in words, without a traceback."""
    try:
        app(list(arguments) if arguments is not None else sys.argv[1:], prog_name="penstock", standalone_mode=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except (PenstockError, LocalError) as error:
        say(f"penstock: {error}")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
