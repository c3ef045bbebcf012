"""Penstock: an Airflow project whose every row passes a gate and is accounted for."""
