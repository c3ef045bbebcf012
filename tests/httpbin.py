"""httpbin, a server that nobody here wrote, in an environment of its own: it wants older libraries than Airflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from penstock.local.ports import LOOPBACK, free_port

VERSION = "0.10.4"
ENVIRONMENT = Path(__file__).resolve().parents[1] / ".penstock" / f"httpbin-{VERSION}"
START_SECONDS = 60


def _python() -> Path:
    """Return its Python; makes the environment where it is not there."""
    python = ENVIRONMENT / "bin" / "python"
    if (ENVIRONMENT / "whole").exists():
        return python
    uv = Path(sys.executable).with_name("uv")
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, ENVIRONMENT], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, f"httpbin=={VERSION}", "setuptools<81"], check=True
    )
    (ENVIRONMENT / "whole").touch()
    return python


@pytest.fixture(scope="session")
def httpbin() -> Iterator[str]:
    """Its address; it runs for the session."""
    port = free_port(25800)
    command = [_python(), "-m", "httpbin.core", "--host", LOOPBACK, "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            until = time.monotonic() + START_SECONDS
            while True:
                try:
                    httpx.get(f"http://{LOOPBACK}:{port}/status/200", trust_env=False)
                    break
                except httpx.TransportError:
                    assert process.poll() is None and time.monotonic() < until, "httpbin does not start"  # noqa: PT018
                    time.sleep(0.1)
            yield f"{LOOPBACK}:{port}"
        finally:
            process.terminate()
