"""How a host is talked to: one command at a time, each with a bound."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from cft.errors import CftError

KILL_SECONDS = 5.0  # how long the kernel may take to end a killed process


@dataclass(frozen=True)
class Result:
    """How a command ended.

    Attributes:
        exit_code: None when it is not known: the connection was lost, or the time-out came. The
            command may have done all, some or nothing, and may go on.
        stdout: decoded as UTF-8; bytes that are none are replaced.
        stderr: likewise.
    """

    exit_code: int | None
    stdout: str = ""
    stderr: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is known to have ended well."""
        return self.exit_code == 0

    @property
    def last_words(self) -> str:
        """Its last line of output, for an error message."""
        lines = [line.strip() for line in (self.stdout + "\n" + self.stderr).splitlines()]
        return next((line[:300] for line in reversed(lines) if line), "no output")


class Remote(Protocol):
    """A host on which commands run."""

    def run(self, command: str, *, timeout: float, stdin: bytes | None = None) -> Result:
        """Run a command in the host's POSIX shell.

        Args:
            command: in shell syntax; what comes from elsewhere is quoted by the caller.
            timeout: seconds until the answer is given up.
            stdin: what the command reads; without it, nothing. Secrets go here, since the
                command itself is seen by every user of the host.
        """


class LocalRemote:
    """This host, by its own shell.

    Args:
        environment: of every command; by default that of this process.
    """

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self.environment = environment

    def run(self, command: str, *, timeout: float, stdin: bytes | None = None) -> Result:
        """Run a command in a process group of its own, which is killed at the time-out.

        A process that left the group (``setsid``) lives on, as it would behind SSH.

        Raises:
            CftError: this host has no shell.
        """
        shell = shutil.which("sh", path=os.defpath)
        if shell is None:
            raise CftError("sh: this host has no POSIX shell; machine: local needs one")
        process = subprocess.Popen(
            [shell, "-c", command],
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=self.environment,
        )
        with _ended_with(process):
            try:
                output, errors = process.communicate(stdin, timeout)
                code: int | None = process.returncode
            except subprocess.TimeoutExpired:
                _kill_group(process)
                code = None
                try:
                    output, errors = process.communicate(timeout=KILL_SECONDS)
                except subprocess.TimeoutExpired as late:  # a child that left holds the pipes
                    output, errors = late.stdout or b"", late.stderr or b""
        # A shell that was killed is 128 + signal to whoever asks a shell, and so it is here.
        if code is not None and code < 0:
            code = 128 - code
        return Result(code, output.decode(errors="replace"), errors.decode(errors="replace"))


@contextlib.contextmanager
def _ended_with(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """The group ends with the block when it is left by an exception, such as Ctrl-C."""
    try:
        yield
    except BaseException:
        _kill_group(process)
        raise
    finally:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILL_SECONDS)


class Clock(Protocol):
    """Time that passes; another one lets minutes of waiting pass in no time."""

    def now(self) -> float:
        """Seconds since some moment; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""


class SystemClock:
    """The clock of this host."""

    def now(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""
        time.sleep(seconds)
