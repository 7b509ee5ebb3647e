"""``cft up``, ``cft status``, ``cft down`` and ``cft doctor``."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cft.errors import CftError
from cft.home import Home
from deployments.stack.services import MLFLOW_PORT, POOLS, PREFECT_PORT

if TYPE_CHECKING:
    from deployments.stack.supervisor import Asked

COME_UP_SECONDS = 900.0
FIRST_WORD_SECONDS = 180.0  # it may have to end first what a killed one has left


@click.command()
@click.option("--detach", is_flag=True, help="Return when all is well; the stack goes on.")
@click.option(
    "--prefect-port", type=click.IntRange(1, 65535), default=PREFECT_PORT, show_default=True,
    metavar="N", help="Of Prefect's UI and API; the next free one is taken instead.",
)  # fmt: skip
@click.option(
    "--mlflow-port", type=click.IntRange(1, 65535), default=MLFLOW_PORT, show_default=True,
    metavar="N", help="Of MLflow's UI and API; likewise.",
)  # fmt: skip
@click.option(
    "--pool", "pools", multiple=True, type=click.Choice(POOLS), default=POOLS,
    show_default=True, help="Work pools that this machine serves; may be repeated.",
)  # fmt: skip
@click.option("--alone", is_flag=True, hidden=True, help="Where the stack is up already, end.")
def up(
    detach: bool, prefect_port: int, mlflow_port: int, pools: tuple[str, ...], alone: bool
) -> None:
    """Run the whole system on this machine: Prefect, MLflow, all deployments and their workers.

    Everything listens on 127.0.0.1 alone and keeps its state under CFT_HOME. What dies is started
    again. Ctrl-C ends all of it. Where the stack is up already, this shows it and goes along;
    Ctrl-C then leaves it running.

    \b
    Examples
      cft up
      cft up --detach && cft status
    """
    from deployments.stack.supervisor import Asked

    asked, home = Asked(prefect_port, mlflow_port, pools), Home.from_environment()
    if detach:
        _detached(home, asked)
    else:
        _foreground(home, asked, alone)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show the stack of this machine. The exit code is 1 unless all of it is well."""
    from flows.living_stack import is_up

    home = Home.from_environment()
    record = _record(home)
    if as_json:
        public = {name: value for name, value in record.items() if name != "token"}
        click.echo(json.dumps(public | {"up": is_up(home)}, indent=2))
    else:
        _print_table(home, record)
    well = record["state"] == "ready" and all(one["state"] == "well" for one in record["services"])
    if not well:
        sys.exit(1)


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask, whatever runs.")
def down(yes: bool) -> None:
    """End the stack of this machine with all that runs in it.

    A training that is ended goes on from its newest checkpoint when its run is retried. A run that
    was started from a terminal is not ended, and loses its server.
    """
    from deployments.stack.lock import down as end

    home = Home.from_environment()
    if not yes:
        _ask(_record(home))
    click.echo("the stack is down" if end(home) else "nothing was up")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Say what is well with this installation and this machine, and what to do about the rest.

    Versions, memory, disk, GPU and driver, ports, servers, tokens; nothing is changed. Exits with
    code 1 when something would keep it from running.
    """
    from deployments.stack.doctor import examine

    found = examine(Home.from_environment())
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else found.to_text())
    if not found.well:
        sys.exit(1)


def _ask(record: dict[str, Any]) -> None:
    """Name what is at work, and ask whether the stack shall end all the same."""
    from deployments.stack.members import running_flow_runs
    from deployments.stack.runs import runs_at_server

    own = running_flow_runs(record.get("token", ""))
    others = runs_at_server(record) - own
    if not own | others:
        return
    click.echo("At work:")
    for run in sorted(own):
        click.echo(f"  flow run {run}")
    for run in sorted(others):
        click.echo(f"  flow run {run}, which no worker here has started: it loses its server")
    click.confirm("End the stack and the runs of its workers?", abort=True)


def _foreground(home: Home, asked: "Asked", alone: bool) -> None:
    from deployments.stack.supervisor import AlreadyUpError, Supervisor

    watcher = _Watcher(home)
    try:
        Supervisor(home, asked, dict(os.environ), watcher).run()
    except AlreadyUpError:
        if alone:
            return
        click.echo("the stack is up already; Ctrl-C leaves it running")
        _follow(home, watcher)


def _follow(home: Home, watcher: "_Watcher") -> None:
    from flows.living_stack import is_up

    try:
        while is_up(home):
            watcher(_record(home))
            time.sleep(1)
    except KeyboardInterrupt:
        return
    click.echo("the stack is down")


def _detached(home: Home, asked: "Asked") -> None:
    from flows.living_stack import is_up

    if not is_up(home):
        _spawn(home, asked)
    deadline = time.monotonic() + COME_UP_SECONDS
    # One that could not start ends what it had started; only then this is over.
    while (record := _record(home))["state"] in ("starting", "stopping"):
        if time.monotonic() > deadline:
            raise CftError(f"the stack is not up after {COME_UP_SECONDS:g} s; look at `cft status`")
        time.sleep(0.5)
    if record["state"] != "ready":
        raise CftError(record["said"] or f"the stack is {record['state']}")
    _print_table(home, record)


def _spawn(home: Home, asked: "Asked") -> None:
    """Start a supervisor that outlives this terminal, and wait for its first word.

    Another one may have been started at the same moment and have the stack: then that is it.
    """
    from deployments.stack.lock import LOGS, require_folder, require_space, told
    from flows.living_stack import is_up

    require_folder(home)
    require_space(home)
    log = home.stack / LOGS / "supervisor.log"
    words = [
        "--alone",
        "--prefect-port",
        str(asked.prefect_port),
        "--mlflow-port",
        str(asked.mlflow_port),
    ]
    for pool in asked.pools:
        words += ["--pool", pool]
    with told(log), log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cft.cli", "up", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + FIRST_WORD_SECONDS
    while _record(home).get("pid") != process.pid:
        if process.poll() is not None:
            if is_up(home):
                return
            raise CftError(f"the supervisor ended at once; {log} ends with\n{_tail(log)}")
        if time.monotonic() > deadline:
            process.terminate()
            raise CftError(
                f"the supervisor wrote nothing for {FIRST_WORD_SECONDS:g} s and was ended; {log} "
                f"ends with\n{_tail(log)}"
            )
        time.sleep(0.1)


def _record(home: Home) -> dict[str, Any]:
    """The stack's record; one that a killed supervisor has left says ``dead``."""
    from flows.living_stack import is_up, read_record
    from tasks.machine.process_table import start_time

    none: dict[str, Any] = {"state": "stopped", "said": "", "services": [], "clients": {}}
    record = none | read_record(home)
    if not is_up(home):
        return record if record["state"] == "stopped" else record | {"state": "dead"}
    if not record.get("pid") or start_time(record["pid"]) != record.get("start"):
        # One that has just begun has not written yet; this record is an older one's.
        return none | {"state": "starting"}
    return record


def _print_table(home: Home, record: dict[str, Any]) -> None:
    from rich.console import Console

    from deployments.stack.lock import LOGS
    from deployments.stack.table import hints, table

    console = Console()
    console.print(table(record))
    console.print(f"logs: {home.stack / LOGS}", soft_wrap=True, markup=False, highlight=False)
    if record["state"] == "ready":
        console.print(hints(record), soft_wrap=True, markup=False, highlight=False)
    elif record["said"]:
        console.print(record["said"], soft_wrap=True, markup=False, highlight=False)


def _tail(path: Path, size: int = 2000) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-size:].strip()


class _Watcher:
    """Prints what has changed since the last record, and the table when all is ready."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen: dict[str, tuple[str, str]] = {}
        self._state = ""

    def __call__(self, record: dict[str, Any]) -> None:
        for one in record["services"]:
            now = (one["state"], one["said"])
            if self._seen.get(one["name"]) != now:
                self._seen[one["name"]] = now
                click.echo(f"{one['name']}: {one['state']}" + (f", {now[1]}" if now[1] else ""))
        if record["state"] != self._state:
            self._state = record["state"]
            if self._state == "ready":
                _print_table(self._home, record)
            else:
                click.echo(f"stack: {self._state}")
