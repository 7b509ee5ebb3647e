"""``cft machines doctor|logs|attach|stop``: what a host is like, and what a run does there."""

import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cft.errors import CftError
from cft.home import Home

if TYPE_CHECKING:
    from tasks.machine.host import Host
    from tasks.machine.remote_jobs import RemoteJob
    from tasks.machine.settings import MachineSettings

STAGE = click.option("--stage", metavar="STAGE", help="Of the run: stage1 or stage2.")


@click.command()
@click.option(
    "--machine",
    "word",
    required=True,
    metavar="local|USER@HOST|FILE|KEY",
    help="The host: this one, one of yours, as a YAML file says, or a rented one by its key.",
)
@click.option(
    "--gpu/--no-gpu",
    default=None,
    help="Whether a training needs its GPUs. Default: it takes those that there are.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(word: str, gpu: bool | None, as_json: bool) -> None:
    """Look at a machine and say what is well and what not; nothing is changed there.

    Exits with code 1 when something would keep a training from running.

    \b
    Examples
      cft machines doctor --machine local
      cft machines doctor --machine ubuntu@192.0.2.7 --gpu
      cft machines doctor --machine 0123456789ab --json
    """
    from tasks.machine.doctor import diagnose

    home = Home.from_environment()
    machine, host = _reached(home, word)
    found = diagnose(home, machine, host, gpu=gpu)
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else found.to_text())
    if not found.well:
        sys.exit(1)


def _reached(home: Home, word: str) -> "tuple[MachineSettings, Host | None]":
    from tasks.machine.hire import rented_host
    from tasks.machine.host import own_host
    from tasks.machine.provider.ledger import ledger_of
    from tasks.machine.rental import find_rental
    from tasks.machine.settings import machine_from

    if re.fullmatch("[0-9a-f]{8,}", word):  # a key or an instance's id
        rental = find_rental(home, ledger_of(home), word)
        if not rental.entry.open:
            raise CftError(f"machine: {word} is given back; `cft machines list` names the others")
        return rental.machine, rented_host(home, rental.machine, rental.entry)
    machine = machine_from(word)
    if machine.kind == "lambda":
        raise CftError(
            f"machine: {word} is no machine yet; rent one with `cft machines up` and give its key"
        )
    return machine, None if machine.kind == "local" else own_host(home, machine)


@click.command()
@click.argument("run")
@STAGE
@click.option("--follow", is_flag=True, help="Go on until the job has ended.")
@click.option(
    "--lines",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    metavar="N",
    help="Of each log, the last ones.",
)
def logs(run: str, stage: str | None, follow: bool, lines: int) -> None:
    """Print what a run's machine and its jobs have printed, wherever they run.

    RUN is the flow run's id, or as many of its first letters as only it has. Without --stage all
    of it is printed; --follow follows the newest stage.

    \b
    Examples
      cft machines logs 3f2a
      cft machines logs 3f2a --stage stage1 --follow
    """
    from tasks.machine.run_logs import find_run, follow_log, last_lines, machine_logs, stages_of

    folder = find_run(Home.from_environment(), run)
    stages = stages_of(folder, stage)
    before = [] if stage is not None else machine_logs(folder)
    before += [max(logs) for one in stages if (logs := list(one.path.glob("train-*.log")))]
    if not before and not (follow and stages):
        raise CftError(f"run {folder.name}: has no log yet; its steps are shown by Prefect")
    followed = stages[-1] if follow and stages else None
    for path in before:
        if followed is not None and path.parent == followed.path:
            continue
        _head(path)
        for line in last_lines(path, lines):
            click.echo(line)
    if followed is None:
        if follow:
            raise CftError(f"run {folder.name}: no stage has begun, so there is none to follow yet")
        return
    _head(followed.path)
    try:
        for line in follow_log(followed, lines):
            click.echo(line)
    except KeyboardInterrupt:
        sys.exit(130)  # the job goes on
    state = followed.read_status().get("state", "not known")
    click.echo(f"{followed.path.name}: {state}", err=True)


def _head(path: Path) -> None:
    click.echo(f"==> {path}", err=True)


@click.command()
@click.argument("run")
@STAGE
@click.option("--print", "only_print", is_flag=True, help="Print the command, do not run it.")
def attach(run: str, stage: str | None, only_print: bool) -> None:
    """Look at a run's job in tmux on its host, without a hand on it.

    It is the system's ssh, with the key and the host's key that cft uses. Leave with Ctrl-B D.

    \b
    Examples
      cft machines attach 3f2a
      cft machines attach 3f2a --print
    """
    from tasks.machine.login import attach_words
    from tasks.machine.run_logs import find_run

    home = Home.from_environment()
    folder = find_run(home, run)
    job = _attachable(home, folder, stage)
    from tasks.machine.remote_jobs import host_of_run, session_of

    host = host_of_run(home, folder.name, job.address)
    if host is None:
        raise CftError(
            f"run {folder.name}: its machine is given back; see `cft machines logs {run}`"
        )
    words = attach_words(host, session_of(job))
    if only_print:
        click.echo(shlex.join(words))
        return
    try:
        os.execvp(words[0], words)
    except OSError as error:
        raise CftError(f"ssh: cannot be run ({error.strerror}); install OpenSSH's client") from None


def _attachable(home: Home, folder: Path, stage: str | None) -> "RemoteJob":
    from tasks.machine.remote_jobs import remote_jobs
    from tasks.machine.run_logs import stages_of

    found = {job.stage: job for job in remote_jobs(home, folder.name)}
    stages = [one.path.name for one in stages_of(folder, stage)]
    there = [found[name] for name in stages if name in found]
    follow = f"`cft machines logs {folder.name[:8]} --follow`"
    if not there:
        raise CftError(f"run {folder.name}: its jobs run here and have no tmux; use {follow}")
    living = [job for job in there if job.state.running]
    if not living:
        raise CftError(
            f"run {folder.name}: {there[-1].stage} has ended ({there[-1].state}); use {follow}"
        )
    return living[-1]


@click.command()
@click.argument("run")
@STAGE
@click.option("--yes", is_flag=True, help="Do not ask.")
def stop(run: str, stage: str | None, yes: bool) -> None:
    """Stop a run's jobs, here or on their host; what they have saved is kept.

    The flow run sees that, and fails: cancel it in Prefect to end the flow itself, or retry it to
    go on from what was saved. A rented machine is given back by its flow, or by `down`.

    \b
    Examples
      cft machines stop 3f2a
      cft machines stop 3f2a --stage stage2 --yes
    """
    from tasks.machine.jobs import jobs_of, stop_jobs
    from tasks.machine.remote_jobs import remote_jobs, stop_remote_jobs
    from tasks.machine.run_logs import find_run, stages_of

    home = Home.from_environment()
    folder = find_run(home, run)
    stages_of(folder, stage)
    here = [job for job in jobs_of(home, folder.name) if stage in (None, job.stage)]
    there = [
        job
        for job in remote_jobs(home, folder.name)
        if job.state.running and stage in (None, job.stage)
    ]
    if not here and not there:
        click.echo(f"run {folder.name}: no job of it lives")
        return
    for name, place in [(job.stage, "here") for job in here] + [
        (job.stage, f"on {job.address}") for job in there
    ]:
        click.echo(f"{name} of {folder.name}, {place}")
    if not yes:
        click.confirm("Stop?", abort=True)
    for one in stop_jobs(home, folder.name, stage=stage):
        click.echo(f"{one.stage}: {one.state}")
    stopped = stop_remote_jobs(home, folder.name, stage=stage)
    for job in stopped:
        click.echo(f"{job.stage}: {job.state}")
    for job in there if not stopped else ():
        click.echo(f"{job.stage}: its machine is given back, and the job has ended with it")
