"""One service as a process: started, looked at, started again after a death, ended."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Literal

import httpx

from deployments.stack.services import Service

TOKEN = "CFT_STACK"  # environment variable that marks every process of a stack
State = Literal["starting", "well", "unwell", "waiting", "stopped"]

PATIENCE = 300.0  # seconds that a service may take to answer for the first time
SILENCE = 60.0  # seconds without an answer after which it is ended and started again
STEADY = 60.0  # seconds of health after which its earlier deaths are forgotten
LONGEST_PAUSE = 60.0
LOG_BYTES = 20_000_000  # an older log is kept once


class Process:
    """A service and whatever process is at work for it now.

    Args:
        service: what to run.
        logs: folder of its log file.
        token: of the stack.
    """

    def __init__(self, service: Service, logs: Path, token: str) -> None:
        self.service, self.token = service, token
        self.log = logs / f"{service.name}.log"
        self.state: State = "stopped"
        self.restarts = 0
        self.since = time.time()  # of the state
        self.said = ""  # why it is not well
        self._popen: subprocess.Popen[bytes] | None = None
        # One for all looks: making one reads the system's certificates, which takes longer than
        # the rest. A connection is not kept, as that of a server that died would be.
        self._client = httpx.Client(
            timeout=3,
            trust_env=False,
            verify=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._deaths = 0
        self._again = self._begun = self._heard = 0.0

    @property
    def pid(self) -> int | None:
        """Of the living process."""
        return self._popen.pid if self._popen and self._popen.poll() is None else None

    @property
    def returncode(self) -> int | None:
        """Of the process that has ended."""
        return self._popen.poll() if self._popen else None

    def start(self) -> None:
        """Start the process in a session of its own: a Ctrl-C at the terminal passes it by."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.service.command,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**self.service.environment, TOKEN: self.token},
            )
        self._begun = self._heard = time.monotonic()
        self._become("starting")

    def look(self) -> None:
        """Bring the state up to date, and start again what has died or gone silent."""
        now = time.monotonic()
        if self.state == "waiting":
            if now >= self._again:
                self.restarts += 1
                self.start()
        elif self._popen is not None and (code := self._popen.poll()) is not None:
            self.kill()
            self._died(f"ended with {code}" if code >= 0 else f"killed by signal {-code}")
        elif (trouble := self._trouble()) is None:
            self._heard = now
            self._become("well")
            if now - self._begun > STEADY:
                self._deaths = 0
        elif now - self._heard > (PATIENCE if self.state == "starting" else SILENCE):
            self.kill()
            self._died(f"did not answer for {now - self._heard:.0f} s ({trouble})")
        elif self.state == "well":
            self._become("unwell", trouble)

    def kill(self) -> None:
        """End the process at once, and what is left of a server's own.

        A child that outlived its parent would keep the port, and answer in the next one's name.
        """
        if self._popen is None:
            return
        if self.service.whole:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)  # it leads the group of its session
        self._popen.kill()
        self._popen.wait()

    def ending(self) -> str:
        """Where the log is and how it ends, as the end of a message."""
        if words := self.last_words():
            return f"{self.log} ends with\n{words}"
        return f"{self.log} is empty"

    def last_words(self, lines: int = 15) -> str:
        """End of the log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 8000))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def stopped(self) -> None:
        """Note that it was ended on purpose."""
        if self._popen is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel may still hold it
                self._popen.wait(5)
        self._become("stopped")

    def _died(self, how: str) -> None:
        self._deaths += 1
        # The first time at once, then after 2, 4, 8 ... seconds.
        pause = 0.0 if self._deaths == 1 else min(LONGEST_PAUSE, 2.0 ** (self._deaths - 1))
        self._again = time.monotonic() + pause
        self._become("waiting", how)

    def _trouble(self) -> str | None:
        try:
            answer = self._client.get(self.service.health)
        except httpx.HTTPError as error:
            return type(error).__name__
        return None if answer.status_code == httpx.codes.OK else f"HTTP {answer.status_code}"

    def _become(self, state: State, said: str = "") -> None:
        if state != self.state:
            self.since = time.time()
        self.state, self.said = state, said
