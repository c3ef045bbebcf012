"""Watching: it ends, whatever happens."""

from collections.abc import Mapping
from typing import Any, Self

import pytest

from penstock.local.demo import watch
from penstock.local.demo.pipelines import PIPELINES
from penstock.local.demo.watch import Watch
from penstock.local.errors import DemoError, StackError
from penstock.local.layout import PROJECT, Layout

KEY = "2010-09-20"


class Scene:
    """Airflow, ledger and view at once, each as simple as it can be: scripted, for states that are rare in truth."""

    def __init__(self, *, published: bool = False, unfinished: int = 0, failed: int = 0, dead: bool = False) -> None:
        self._published, self._unfinished, self._failed, self._dead = published, unfinished, failed, dead
        self.layout = Layout(PROJECT, PROJECT / ".penstock")
        self.url = "http://127.0.0.1:8080"
        self.said: list[str] = []
        self.shown: list[Mapping[str, int]] = []

    def published(self, keys: list[str]) -> dict[str, set[str]]:
        """The ledger."""
        return {pipeline.dataset: set(keys) if self._published else set() for pipeline in PIPELINES}

    def list_runs(self, *, states: list[str], **_: Any) -> dict[str, Any]:
        """Airflow's runs."""
        count = self._failed if states == ["failed"] else self._unfinished
        run = {"dag_id": PIPELINES[0].dag_id, "dag_run_id": "run", "partition_key": KEY, "state": states[0]}
        return {"dag_runs": [run] * count}

    def get(self, path: str, **_: Any) -> dict[str, Any]:
        """Airflow's task instances."""
        tasks = [{"task_id": "validate", "try_number": 1}] if path.endswith("dagRuns/run/taskInstances") else []
        return {"task_instances": tasks, "total_entries": 0}

    def health(self) -> dict[str, str]:
        """Airflow's health."""
        return {"metadatabase": "healthy", "scheduler": "unhealthy"}

    def check_alive(self) -> None:
        """The stack's processes."""
        if self._dead:
            raise StackError("scheduler ended")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, done: Mapping[str, int], failed: Mapping[str, int]) -> None:
        """The view's bars."""
        assert set(done) == {pipeline.dataset for pipeline in PIPELINES}
        self.shown.append(failed)

    def say(self, text: str) -> None:
        """The view's lines."""
        self.said.append(text)

    def watch(self) -> Watch:
        """A watch over this scene."""
        everything: Any = self
        return Watch(everything, everything, everything, [KEY], everything)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits in hundredths of a second."""
    for name, seconds in {"LOOK": 0.01, "ASK": 0.01, "QUIET": 0.05, "STALL": 0.2}.items():
        monkeypatch.setattr(watch, f"{name}_SECONDS", seconds)


def test_it_ends_when_all_is_published() -> None:
    """The ledger decides, not the state of runs."""
    assert Scene(published=True, unfinished=1).watch().until_done()


def test_it_ends_when_nothing_runs_any_more() -> None:
    """Failed slices are told once each, counted, and not waited for."""
    scene = Scene(failed=1)
    seen = scene.watch()
    assert not seen.until_done()
    assert len(scene.said) == 1
    assert scene.said[0].startswith("commerce/order_lines 2010-09-20: task validate failed")
    assert scene.shown[-1] == {"commerce/order_lines": 1}
    assert list(seen.failures) == ["run"]


def test_it_ends_when_nothing_moves() -> None:
    """Runs that stay queued for long are an error that names the sick component and where to look."""
    with pytest.raises(DemoError, match="scheduler is unhealthy") as caught:
        Scene(unfinished=1).watch().until_done()
    assert "127.0.0.1:8080" in str(caught.value)


def test_it_ends_when_a_component_dies() -> None:
    """No minutes are spent waiting for a scheduler that is gone."""
    with pytest.raises(StackError, match="scheduler ended"):
        Scene(unfinished=1, dead=True).watch().until_done()
