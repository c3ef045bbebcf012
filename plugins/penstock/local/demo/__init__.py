"""The demo: real data through real pipelines by `airflow backfill create`, watched until the last slice is in."""
