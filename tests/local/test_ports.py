"""Free ports."""

import socket

import pytest

from penstock.local.ports import LOOPBACK, free_port, is_free


def test_a_port_with_a_listener_is_not_free() -> None:
    """A port is free until somebody listens on it, on loopback or on every address."""
    for address in (LOOPBACK, "0.0.0.0"):  # noqa: S104 - the listener is what must be noticed
        with socket.create_server((address, 0)) as server:
            port = server.getsockname()[1]
            assert not is_free(port)
            assert free_port(port) != port
        assert is_free(port)


def test_avoided_ports_are_skipped() -> None:
    """A port promised to another service is not given twice."""
    first = free_port(28000)
    assert free_port(first, avoid=[first]) > first


def test_no_free_port_is_an_error() -> None:
    """The search ends."""
    with socket.create_server((LOOPBACK, 0)) as server, pytest.raises(OSError, match="no free port"):
        free_port(server.getsockname()[1], tries=1)
