"""Plain Python over data: no Airflow import, no clock, no environment."""
