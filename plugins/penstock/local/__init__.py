"""The one-machine stack: an embedded Postgres, Airflow's components as processes, and the demo.

Nothing here is needed where Airflow and Postgres are run by something else (containers, a cluster).
"""
