"""What Airflow itself loads of Penstock: registrations, no logic."""

from airflow.plugins_manager import AirflowPlugin

from penstock.timetable import DailySliceTimetable


class PenstockPlugin(AirflowPlugin):
    """Registers the timetable of daily slices."""

    name = "penstock"
    timetables = [DailySliceTimetable]  # noqa: RUF012 - the base class declares it so
