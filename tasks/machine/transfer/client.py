"""Push files to a host and pull them from it, over a connection that may break on the way."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko
from tqdm import tqdm

from cft.errors import CftError
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.errors import TransientSshError
from tasks.machine.transfer import far_end, program
from tasks.machine.transfer.names import BadNameError, listing, place
from tasks.machine.transfer.receiving import receive
from tasks.machine.transfer.sending import send
from tasks.machine.transfer.wire import BEGIN, BrokenError, Reader, Told, Write, line

logger = logging.getLogger("cft.transfer")

STALLED = 300.0  # seconds without any progress, after which a transfer is given up
# The program is read from where the files come from: nothing need be installed on the host.
_BOOT = """exec python3 -I -S -c 'import os
def take(n):
    data = b""
    while len(data) < n:
        more = os.read(0, n - len(data))
        if not more: raise SystemExit(1)
        data += more
    return data
exec(compile(take(int(take(8))), "cft-transfer", "exec"))'"""


@dataclass(frozen=True)
class Transferred:
    """What a transfer dealt with.

    Attributes:
        files: paths of all files, relative to the folder; all are in place.
        size: of all files, in bytes.
        sent: bytes that had to be sent, all attempts together.
        seconds: from beginning to end.
    """

    files: tuple[str, ...]
    size: int
    sent: int
    seconds: float


def push(
    connection: Connection,
    local: Path,
    remote: str,
    names: list[str] | None = None,
    *,
    stalled: float = STALLED,
) -> Transferred:
    """Bring files to a host: what is there already is not sent, what was begun is continued.

    Args:
        connection: to the host.
        local: folder here.
        remote: folder there; ``~/`` is the user's home.
        names: files and folders below ``local``; by default all of it.
        stalled: seconds without progress until it is given up. Broken connections are made anew
            until then.

    Raises:
        CftError: a file vanished or could not be written there, or nothing moved any more.
    """
    files = listing(local, names)
    missing = [one for one in names or [] if not place(local, one).exists()]
    if missing or not local.is_dir():
        raise CftError(f"{local / (missing or [''])[0]}: no such file; nothing was sent")

    def once(write: Write, reader: Reader, told: Told) -> set[int]:
        return send(write, reader, local, files, told)

    asked = {"do": "receive", "root": remote}
    return _repeated(connection, f"to {connection.settings.host}", asked, once, files, stalled)


def pull(
    connection: Connection,
    remote: str,
    local: Path,
    names: list[str] | None = None,
    *,
    stalled: float = STALLED,
) -> Transferred:
    """Bring files from a host; nothing that it says can write outside of ``local``.

    A file that grows meanwhile arrives as it was listed. One that vanishes meanwhile is left out.

    Args:
        connection: to the host.
        remote: folder there; ``~/`` is the user's home.
        local: folder here.
        names: files and folders below ``remote``; by default all of it. Missing ones are left out.
        stalled: seconds without progress until it is given up.

    Raises:
        CftError: the host names a file outside of the folder, no file can be written here, or
            nothing moved any more.
    """
    files: list[dict[str, Any]] = []

    def once(write: Write, reader: Reader, told: Told) -> set[int]:
        def begun(listed: list[dict[str, Any]]) -> None:
            files[:] = listed

        return receive(write, reader, local, told, begun)

    asked = {"do": "send", "root": remote, "names": names}
    return _repeated(connection, f"from {connection.settings.host}", asked, once, files, stalled)


def _repeated(
    connection: Connection,
    what: str,
    asked: dict[str, Any],
    once: Callable[[Write, Reader, Told], set[int]],
    files: list[dict[str, Any]],
    stalled: float,
) -> Transferred:
    """Until all files are in place; an attempt that moved something earns the next one its time."""
    begun = time.monotonic()
    deadline, sent, tries = begun + stalled, 0, 0
    with tqdm(desc=what, unit="B", unit_scale=True, leave=False) as bar:

        def told(count: int) -> None:
            nonlocal deadline
            deadline = time.monotonic() + stalled
            bar.update(count)

        while True:
            tries += 1
            try:
                with _spoken(connection, asked, deadline, stalled) as (write, reader, counter):
                    try:
                        done = once(write, reader, told)
                    finally:
                        sent += counter[0]
            except BadNameError as error:
                raise CftError(
                    f"{connection.settings.address}: {error}; nothing is written"
                ) from None
            except (_LostError, TransientSshError) as error:
                if time.monotonic() >= deadline:
                    raise CftError(
                        f"{connection.settings.address}: nothing moved for {stalled:g} s "
                        f"({error}); what arrived is kept, run again"
                    ) from None
                logger.info("%s: %s; going on where it was cut off", what, error)
                time.sleep(min(1.0, stalled / 10))
                continue
            left = [one["path"] for at, one in enumerate(files) if at not in done]
            if not left or asked["do"] == "send":
                break
            if tries >= 3:
                raise CftError(
                    f"{left[0]}: changed or vanished while it was sent ({len(left)} files); "
                    "run again when nobody writes there"
                )
    seconds = time.monotonic() - begun
    paths = tuple(one["path"] for at, one in enumerate(files) if at in done)
    size = sum(one["size"] for at, one in enumerate(files) if at in done)
    logger.info(
        "%s: %d files, %.1f MB (%.1f MB sent), %.1f s, %.1f MB/s",
        what, len(paths), size / 1e6, sent / 1e6, seconds, size / 1e6 / max(seconds, 1e-9),
    )  # fmt: skip
    return Transferred(paths, size, sent, seconds)


class _LostError(Exception):
    """The connection or the other end was lost; what arrived is kept."""


@contextlib.contextmanager
def _spoken(
    connection: Connection, asked: dict[str, Any], deadline: float, idle: float
) -> Iterator[tuple[Write, Reader, list[int]]]:
    """The host's end, started and greeted. Only its silence or death is an error that may pass.

    Raises:
        CftError: it says what is wrong, and that is not the connection.
        _LostError: it was lost.
    """
    counter = [0]
    with connection.session(deadline) as channel:
        channel.settimeout(idle)

        def write(data: bytes) -> None:
            channel.sendall(memoryview(data))  # a view: it is cut into packets without copies
            counter[0] += len(data)

        def take(count: int) -> bytes:
            data: bytes = channel.recv(count)
            counter[0] += len(data)
            return data

        source = program.source()
        reader = Reader(take)
        try:
            channel.exec_command(_BOOT)
            write(b"%8d" % len(source) + source)
            reader.after(BEGIN)
            write(line(asked | {"idle": far_end.IDLE}))
            counter[0] = 0
            yield write, reader, counter
        except (OSError, EOFError, paramiko.SSHException, BrokenError) as error:
            if isinstance(error, OSError) and error.filename is not None:  # a file of this side
                name = error.filename2 or error.filename
                raise CftError(f"{name}: {error.strerror}; nothing half-written") from None
            said = _last_words(channel)
            if said:
                raise CftError(f"{connection.settings.address}: {said}") from None
            raise _LostError(str(error) or type(error).__name__) from None


def _last_words(channel: paramiko.Channel) -> str:
    """What the host's end says of its death; nothing when the connection died."""
    try:
        channel.settimeout(2)
        text = b""
        while data := channel.recv_stderr(65536):
            text += data
        if not channel.status_event.wait(2) or channel.exit_status in (-1, 0):
            return ""
    except (OSError, EOFError, paramiko.SSHException):
        return ""
    lines = [one for one in text.decode(errors="replace").splitlines() if one.strip()]
    if channel.exit_status == 127:
        return "python3: not found on the host; install Python 3.10 or newer there"
    return lines[-1][:300] if lines else f"the transfer ended with code {channel.exit_status} there"
