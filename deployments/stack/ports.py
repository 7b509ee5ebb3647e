"""Which port a server gets."""

import socket
from collections.abc import Collection

from cft.errors import CftError

TRIES = 200  # ports above the wanted one


def is_free(port: int) -> bool:
    """Whether a server on 127.0.0.1 could listen there now."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still being closed is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def chosen(wanted: int, taken: Collection[int] = ()) -> int:
    """The wanted port, or the next one above it that is free.

    Args:
        wanted: port, 1 to 65535.
        taken: ports that were chosen already, whose servers may not listen yet.

    Raises:
        CftError: none of the next ports is free.
    """
    last = min(wanted + TRIES, 65535)
    for port in range(wanted, last + 1):
        if port not in taken and is_free(port):
            return port
    raise CftError(f"ports {wanted} to {last} of 127.0.0.1 are all taken; name another by the flag")
