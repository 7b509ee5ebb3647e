"""Where the ranks of a run train: plain data that any process turns into a machine and a job."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cft.errors import CftError
from cft.home import Home
from cft.recipe import LaunchRecipe
from cft.training.launch import (
    ALONE,
    Machines,
    launch_command,
    launch_environment,
    resolve_device,
    world_size_for,
)
from cft.training.spec import TrainSpec
from tasks.machine.host import Host
from tasks.machine.job import Job, Machine
from tasks.machine.jobs import GRACE
from tasks.machine.local import LocalMachine
from tasks.machine.provider.caps import warning_moment
from tasks.machine.provider.ledger import Entry
from tasks.machine.several import SeveralMachines, mirror_of, require_alike
from tasks.machine.site import Site, training_job
from tasks.machine.ssh_machine import SshMachine

logger = logging.getLogger("cft.machine")

# The training process needs neither server nor credential: what it is not told it cannot leak.
PRIVATE = ("PREFECT_", "MLFLOW_", "CFT_NTFY_", "LAMBDA_")
STOP_SECONDS = 240.0  # before the end of a rental: to stop the job and to bring home what it saved
STOP_SHARE = 0.1  # of a short rental

Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """A machine that is ready.

    Attributes:
        host: how it is reached; None for this machine.
        site: what was found and made on it; None for this machine.
        entry: of the ledger, where it is rented.
        checkpoint_seconds: as of the machine's settings.
        others: further hosts, which train each run together with the first.
        main_address: of the first host, as the others reach it.
        main_port: free port there.
    """

    host: Host | None = None
    site: Site | None = None
    entry: Entry | None = None
    checkpoint_seconds: float = 600.0
    others: tuple[tuple[Host, Site], ...] = ()
    main_address: str = ""
    main_port: int = 29500

    @property
    def interval(self) -> float:
        """Seconds between two looks at a job: one over a network costs a round trip."""
        return 0.5 if self.host is None else 1.0

    def ranks(self, launch: LaunchRecipe) -> int:
        """Ranks of a job, on all hosts together.

        Raises:
            CftError: more are asked for than there are GPUs, or the hosts cannot share them evenly.
        """
        if self.site is None:
            return world_size_for(launch)
        sites = [self.site, *(site for _, site in self.others)]
        asked = launch.num_processes
        if asked and asked % len(sites):
            raise CftError(
                f"launch.num_processes: {asked} ranks on {len(sites)} hosts; it counts the ranks "
                "of all, so give a multiple"
            )
        share = launch.model_copy(update={"num_processes": asked // len(sites) if asked else None})
        require_alike([site.device for site in sites], "their devices")
        return len(sites) * require_alike([site.ranks(share) for site in sites], "their GPUs")

    @property
    def warning(self) -> float | None:
        """When 80% of the cost cap are spent, in seconds since the epoch; None: it costs nothing.

        Where the time runs out first, so does this moment not come.
        """
        if self.entry is None:
            return None
        return warning_moment(self.entry.cents_per_hour, self.entry.max_cost, self.entry.born)

    @property
    def last_call(self) -> float | None:
        """When a job has to stop so that what it saved still comes home, in epoch seconds."""
        if self.entry is None:
            return None
        whole = self.entry.ends - self.entry.born
        return self.entry.ends - min(STOP_SECONDS, STOP_SHARE * whole)


HERE = Place()


@contextlib.contextmanager
def at(
    place: Place, say: Say, on_failure: Callable[[int], None] | None = None
) -> Iterator[tuple[Machine, Callable[[Path, TrainSpec], Job]]]:
    """The machine of a place, and what makes a job for it from a run directory and its spec.

    Args:
        place: where.
        say: told what a person should know.
        on_failure: told of failed attempts to connect.

    Raises:
        CftError: from the machine's verbs, when the host cannot do it.
    """
    if place.host is None or place.site is None:
        yield LocalMachine(GRACE), job_here
        return
    hosts = [(place.host, place.site), *place.others]
    with contextlib.ExitStack() as open_ones:
        machines = []
        for host, site in hosts:
            connection = open_ones.enter_context(host.connect(on_failure))
            machines.append(
                SshMachine(
                    connection,
                    site.base,
                    grace=GRACE,
                    checkpoint_seconds=place.checkpoint_seconds,
                    say=say,
                )
            )

        def share(run: Path, spec: TrainSpec, rank: int) -> Job:
            machine, site, slot = machines[rank], hosts[rank][1], Path("gpu.lock")
            mine = Machines(len(hosts), rank, place.main_address, place.main_port)
            return training_job(
                machine, site, mirror_of(run, rank), spec, slot, mine if place.others else ALONE
            )

        if not place.others:
            yield machines[0], lambda run, spec: share(run, spec, 0)
            return
        several = SeveralMachines(machines, share, say)
        yield several, several.job


def job_here(run: Path, spec: TrainSpec) -> Job:
    """The job that trains a run directory on this machine."""
    device = spec.recipe.launch.device
    hidden = dict.fromkeys(name for name in os.environ if name.startswith(PRIVATE))
    return Job(
        run,
        launch_command(run, spec.world_size, device),
        {**hidden, **launch_environment(spec.world_size, device)},
        slot_of(device),
    )


def slot_of(device: str) -> Path | None:
    """What a job on this device must have to itself: this host's GPUs; a CPU is shared.

    The work pool lets one training run at a time, but a job outlives its flow run.
    """
    if resolve_device(device) != "cuda":
        return None
    return Home.from_environment().slots / "gpu.lock"


class BudgetSpentError(CftError):
    """The rental's time or money is nearly over, and the job has to stop."""


class Allowance:
    """Looks at the clock while a job runs on a rented machine.

    Args:
        place: where it runs.
        warn: told once when 80% of the cost cap are spent.
        now: seconds since the epoch.
    """

    def __init__(self, place: Place, warn: Callable[[], object], now: Callable[[], float]) -> None:
        self.place, self._warn, self._now = place, warn, now
        self._warned = False

    def __call__(self) -> None:
        """Warn or end.

        Raises:
            BudgetSpentError: the job has to stop now.
        """
        warning, last = self.place.warning, self.place.last_call
        if warning is not None and not self._warned and self._now() >= warning:
            self._warned = True
            self._warn()
        entry = self.place.entry
        if last is not None and entry is not None and self._now() >= last:
            raise BudgetSpentError(
                f"{entry.identity.name}: its time or its ${entry.max_cost:.2f} are nearly over; "
                "the job was stopped and its newest checkpoint fetched. Raise max_cost or "
                "max_duration_hours and retry to go on from there"
            )
