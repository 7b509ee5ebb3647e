"""A machine that is ready to train: rented where that is wanted, checked, given what it needs."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from cft.errors import CftError, one_line
from cft.files import write_json
from cft.home import Home
from cft.recipe import LaunchRecipe
from cft.tracking.runs import TrackedRun
from tasks.machine.hire import SETTINGS, hire_of, hired, lease_folder
from tasks.machine.host import Host, own_host, own_hosts
from tasks.machine.place import Place
from tasks.machine.provider.caps import cost_cents
from tasks.machine.provider.ledger import Entry, ledger_of
from tasks.machine.rental import cron_line
from tasks.machine.settings import MachineSettings
from tasks.machine.site import make_ready
from tasks.machine.watcher import watching
from tasks.notify.machines import machine_released, machine_rented, release_failed
from tasks.swept import unswept

DRIVER_KEY = "driver"
MACHINE_LOG = "machine-{:%Y%m%d%H%M%S}.log"


@task(name="provision", cache_policy=NO_CACHE, retries=0)
def provision(
    machine: MachineSettings,
    host: Host,
    entry: Entry | None,
    launch: LaunchRecipe,
    log: str,
    extras: tuple[str, ...] = (),
) -> Place:
    """Make a host ready to train: driver, code, environment. Doing so twice sends nothing twice.

    Args:
        machine: settings.
        host: how it is reached.
        entry: of the ledger, where it is rented.
        launch: of the recipe: whether GPUs are wanted.
        log: file that gets a timestamped line for all that goes on.
        extras: of the project, for an environment with more than training needs.

    Raises:
        CftError: it cannot be made ready; says why.
    """
    say = saying(Path(log), get_run_logger().info)
    hosts = [host]
    if machine.more_hosts:
        hosts += own_hosts(Home.from_environment(), machine)[1:]
        _require_address(machine)
    sites = []
    for one in hosts:
        with one.connect() as connection:
            site = make_ready(
                connection,
                launch,
                machine.driver,
                machine.environment,
                base=machine.base,
                python=machine.python,
                extras=extras,
                say=say,
            )
        sites.append(site)
        if site.driver is not None:
            create_markdown_artifact(
                site.driver.to_markdown(),
                key=DRIVER_KEY,
                description=f"Driver of {one.ssh.address}",
            )
    return Place(
        host,
        sites[0],
        entry,
        machine.checkpoint_seconds,
        tuple(zip(hosts[1:], sites[1:], strict=True)),
        machine.main_address or host.ssh.host,
        machine.main_port,
    )


def _require_address(machine: MachineSettings) -> None:
    """Refuse several hosts whose first one the others cannot find.

    Raises:
        CftError: it is reached from here in a way that says nothing to them.
    """
    if machine.main_address is not None or machine.ssh is None:
        return
    if machine.ssh.host in ("localhost", "127.0.0.1", "::1") or machine.ssh.jump is not None:
        raise CftError(
            "main_address: missing; the other hosts cannot reach the first one by "
            f"{machine.ssh.host}, so give its address in their network"
        )


@contextlib.contextmanager
def reached(
    machine: MachineSettings,
    home: Home,
    job: str,
    log: Path,
    tracked: TrackedRun | None = None,
    *,
    gpu: bool,
) -> Iterator[tuple[Host, Entry | None]]:
    """The host of a job for as long as a block runs: the one that is named, or a rented one.

    Args:
        machine: settings, of kind ``ssh`` or ``lambda``.
        home: the state folder.
        job: id of the flow run.
        log: file that gets a timestamped line for all that goes on.
        tracked: the run in MLflow, if any, which learns what the rental has cost.
        gpu: whether GPUs will be used.

    Raises:
        CftError: none could be rented, or another process trains for this job.
        ReleaseError: the rented one did not end in time; the sweep goes on with that.
    """
    if machine.kind == "ssh":
        folder = lease_folder(home, job)
        with watching(folder):
            write_json(folder / SETTINGS, machine.model_dump(mode="json"))
            yield own_host(home, machine), None
        return
    say = saying(log, get_run_logger().info)
    if (why := unswept(home)) is not None:
        say(
            f"nothing here is known to end the machine if this process is killed: {why}; run `cft "
            f"up` with the key, or put this into a crontab: {cron_line(home, machine)}"
        )
    lease = hired(
        hire_of(home, machine),
        home,
        machine,
        job,
        say=say,
        alarm=lambda alarm: _alarmed(alarm, home, say),
        gpu=gpu,
    )
    try:
        with lease as (entry, host):
            machine_rented(entry, home)
            yield host, entry
    finally:
        _settle(home, job, tracked, say)


def _alarmed(alarm: Any, home: Home, say: Callable[[str], None]) -> None:
    say(str(alarm))
    release_failed(alarm, home)


def _settle(home: Home, job: str, tracked: TrackedRun | None, say: Callable[[str], None]) -> None:
    """Write down what the job's machines have cost, and tell of those that are gone."""
    try:
        entries = [one for one in ledger_of(home).of_job(job) if one.instance_id]
        now = datetime.now(UTC).timestamp()
        cents = [cost_cents(one.cents_per_hour, one.born, one.ended_at or now) for one in entries]
        hours = sum((one.ended_at or now) - one.born for one in entries) / 3600
        if entries and tracked is not None:
            tracked.metrics(
                {"machine/dollars": round(sum(cents) / 100, 4), "machine/hours": round(hours, 4)}
            )
        for one, cost in zip(entries, cents, strict=True):
            if not one.open:
                say(f"{one.identity.name}: given back after ${cost / 100:.2f} ({one.note})")
                machine_released(one, cost / 100, home)
    except Exception as error:  # the books are not worth a result
        say(f"the rental's cost is not written down ({one_line(error)})")


def saying(log: Path, *also: Callable[[str], None]) -> Callable[[str], None]:
    """What is said goes, with the time, into a file as well, which outlives this process."""
    log.parent.mkdir(parents=True, exist_ok=True)

    def say(line: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
            file.write(f"{now} {line}\n")
        for one in also:
            one(line)

    return say


def machine_log(folder: Path) -> Path:
    """A new log file for what happens to a machine, in a flow run's folder."""
    return folder / MACHINE_LOG.format(datetime.now(UTC))
