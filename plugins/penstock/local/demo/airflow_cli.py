"""The Airflow CLI for several commands in one process: a command a line on standard input, arguments split by tabs."""

import sys


def main() -> None:
    """Run each command as `airflow` itself would."""
    from airflow.cli import cli_parser

    parser = cli_parser.get_parser()
    for line in sys.stdin.read().splitlines():
        arguments = parser.parse_args(line.split("\t"))
        print("airflow", *line.split("\t"), flush=True)
        arguments.func(arguments)


if __name__ == "__main__":
    main()
