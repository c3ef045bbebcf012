"""Free ports on the loopback interface, below the range that outgoing connections use."""

import socket
from collections.abc import Iterable
from contextlib import suppress

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Tell whether nobody listens on `port`."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections linger in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind((LOOPBACK, port))
            return True
    return False


def free_port(preferred: int, *, avoid: Iterable[int] = (), tries: int = 200) -> int:
    """The first free port from `preferred` upwards that is not in `avoid`.

    Raises:
        OSError: if none of `tries` ports is free.
    """
    taken = set(avoid)
    for port in range(preferred, preferred + tries):
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port on {LOOPBACK} between {preferred} and {preferred + tries - 1}")
