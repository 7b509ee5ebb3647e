"""Starts the stack in order, keeps it well, and ends all of it.

    CFT_HOME/stack/lock         held (flock) while the supervisor lives: there is one at most
    CFT_HOME/stack/stack.json   what runs, where, and how it is; written at every change
    CFT_HOME/stack/logs/        one file for each process

A supervisor that is killed leaves its processes alone for good; whoever comes next, to start or to
stop, finds them by the token in their environment and ends them first.
"""

import contextlib
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cft.errors import CftError
from cft.files import write_json
from cft.home import Home
from deployments.stack import services
from deployments.stack.lock import (
    LOGS,
    RUNS_GRACE,
    end_leftovers,
    opened,
    require_space,
    taken,
    told,
)
from deployments.stack.members import end, family
from deployments.stack.ports import chosen
from deployments.stack.process import Process
from deployments.stack.services import MLFLOW_PORT, POOLS, PREFECT_PORT, Ports, client_environment
from flows.environment import private_folders
from flows.living_stack import RECORD
from tasks.machine.process_table import start_time

INTERVAL = 0.5  # seconds between two looks until all is ready
STEADY_INTERVAL = 2.0  # and from then on
SERVER_GRACE = 15.0
RESTARTS_AT_START = 2  # a server that dies after these, having never answered, will not come up


class AlreadyUpError(Exception):
    """Another supervisor has this state folder."""


@dataclass(frozen=True)
class Asked:
    """What the person wants.

    Attributes:
        prefect_port: wanted port; the next free one is taken instead.
        mlflow_port: likewise.
        pools: that workers serve.
    """

    prefect_port: int = PREFECT_PORT
    mlflow_port: int = MLFLOW_PORT
    pools: tuple[str, ...] = POOLS


@dataclass
class Supervisor:
    """One stack of one state folder.

    Args:
        home: the state folder.
        asked: ports and pools.
        outer: environment that the services inherit.
        tell: is given the record at every change that a person may want to see.
    """

    home: Home
    asked: Asked
    outer: Mapping[str, str]
    tell: Callable[[dict[str, Any]], None] = lambda record: None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self.processes: list[Process] = []
        self.state = "starting"
        self.said = ""
        self._servers: list[Process] = []
        self._ports: Ports | None = None
        self._told: list[tuple[str, str]] = []
        self._stop = False

    def run(self) -> None:
        """Run the stack until SIGINT, SIGTERM or SIGHUP; nothing of it is left then.

        A SIGHUP that the caller ignores, as under `nohup`, stays ignored.

        Raises:
            AlreadyUpError: another supervisor has the state folder.
            CftError: a part did not come up; what had come up was ended.
        """
        lock = opened(self.home)
        if not taken(lock):
            os.close(lock)
            raise AlreadyUpError
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._asked_to_stop) for number in numbers}
        try:
            require_space(self.home)
            end_leftovers(self.home)
            self._start()
            while not self._stop:
                self._look()
        except CftError as error:
            self.said = str(error)
            raise
        finally:
            try:
                self._end()
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
                os.close(lock)

    def _start(self) -> None:
        with told(self.home.path):
            private_folders(self.home)
            self.home.mlflow_artifacts.mkdir(exist_ok=True)
        self._ports = ports = self._choose()
        self._servers = self._add(services.servers(self.home, ports, self.outer))
        self._until_well(self._servers)
        if not self._stop:
            self._deploy(ports)
        if not self._stop:
            self._until_well(self._add(services.workers(self.home, ports, self.outer)))
        if not self._stop:
            self.state = "ready"
            self._write()

    def _choose(self) -> Ports:
        prefect = chosen(self.asked.prefect_port)
        mlflow = chosen(self.asked.mlflow_port, (prefect,))
        taken, of_workers = [prefect, mlflow], {}
        for pool in self.asked.pools:
            with socket.socket() as probe:  # nobody needs to know these
                probe.bind(("127.0.0.1", 0))
                of_workers[pool] = chosen(probe.getsockname()[1], taken)
            taken.append(of_workers[pool])
        return Ports(prefect, mlflow, of_workers)

    def _add(self, wanted: Iterable[services.Service]) -> list[Process]:
        logs = self.home.stack / LOGS
        added = [Process(one, logs, self.token) for one in wanted]
        for process in added:
            process.start()
        self.processes += added
        self._write()
        return added

    def _until_well(self, awaited: Sequence[Process]) -> None:
        while not self._stop and any(one.state != "well" for one in awaited):
            self._look()
            for one in awaited:
                if one.state == "waiting" and one.restarts >= RESTARTS_AT_START:
                    raise CftError(
                        f"{one.service.name} does not come up: it {one.said}. {one.ending()}"
                    )

    def _deploy(self, ports: Ports) -> None:
        process = Process(
            services.deploying(self.home, ports, self.outer), self.home.stack / LOGS, self.token
        )
        process.start()
        self.said = "deploying"
        self._write()
        while process.returncode is None and not self._stop:
            self._look()
        if process.returncode is None:
            process.kill()
        elif process.returncode != 0:
            raise CftError(f"`cft deploy` failed with {process.returncode}. {process.ending()}")
        self.said = ""

    def _look(self) -> None:
        for process in self.processes:
            if not self._stop:
                process.look()
        seen: list[tuple[str, str]] = [(one.state, one.said) for one in self.processes]
        if seen != self._told:
            self._told = seen
            self._write()
        if not self._stop:
            time.sleep(STEADY_INTERVAL if self.state == "ready" else INTERVAL)

    def _end(self) -> None:
        self.state = "stopping"
        self._write()
        # First runs and jobs, which tell the server of their end; a worker that is to end kills its
        # runs before they have told. The servers last.
        of_servers = {pid for one in self._servers for pid in family(one.pid)}
        of_workers = {one.pid for one in self.processes if one.pid} - of_servers
        end(self.token, RUNS_GRACE, of_servers | of_workers)
        end(self.token, SERVER_GRACE, of_servers)
        end(self.token, SERVER_GRACE)
        for process in self.processes:
            process.stopped()
        self.state = "stopped"
        self._write()

    def _write(self) -> None:
        ports = self._ports
        record = {
            "state": self.state,
            "said": self.said,
            "pid": os.getpid(),
            "start": start_time(os.getpid()),
            "token": self.token,
            "clients": client_environment(ports) if ports else {},
            "services": [
                {
                    "name": one.service.name,
                    "state": one.state,
                    "said": one.said,
                    "since": one.since,
                    "pid": one.pid,
                    "url": one.service.url,
                    "restarts": one.restarts,
                    "log": str(one.log),
                }
                for one in self.processes
            ],
        }
        # A full disk or a terminal that was closed must not keep anything from being ended.
        with contextlib.suppress(OSError):
            write_json(self.home.stack / RECORD, record)
        with contextlib.suppress(OSError):
            self.tell(record)

    def _asked_to_stop(self, number: int, frame: Any) -> None:
        self._stop = True
