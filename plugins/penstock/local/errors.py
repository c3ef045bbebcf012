"""What goes wrong on one machine, said in words that tell what to do next.

LocalError
├── PostgresError       the embedded server cannot be installed, started or stopped
├── StackError          a component of Airflow cannot be started
└── DemoError           the demo's runs failed or stalled
"""


class LocalError(RuntimeError):
    """Base of every error of the one-machine stack; its text is shown to the user without a traceback."""


class PostgresError(LocalError):
    """The embedded Postgres cannot be installed, started or stopped."""


class StackError(LocalError):
    """A component of the one-machine Airflow cannot be started."""


class DemoError(LocalError):
    """The demo's runs failed or stalled."""
