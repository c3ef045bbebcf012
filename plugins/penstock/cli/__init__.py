"""The command line: `penstock …`, or `python -m penstock …`. Thin: arguments → core → what people or machines read."""
