"""A rented machine for a job: rented once, reached by any process, and given back however it ends.

Everything that another process needs to do so in our place (a retry, a hook, a sweep) stands in the
ledger and in the lease's own folder; the lock in that folder tells whether we are still there.
"""

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cft.errors import CftError, one_line
from cft.files import locked_within, write_atomic, write_json
from cft.home import Home
from tasks.machine.busy import jobs_on
from tasks.machine.driver.ensure import ensure_driver
from tasks.machine.host import Host
from tasks.machine.provider.alarm import OnAlarm, log_alarm
from tasks.machine.provider.clock import RentalClock, SystemRentalClock
from tasks.machine.provider.errors import BadMachineError, UnavailableError
from tasks.machine.provider.lambda_cloud import LambdaCloud, api_key
from tasks.machine.provider.launch import Wish
from tasks.machine.provider.lease import leased, release_job
from tasks.machine.provider.ledger import Entry, Ledger, ledger_of
from tasks.machine.provider.protocol import LOST, Provider
from tasks.machine.settings import MachineSettings
from tasks.machine.ssh.errors import SshError
from tasks.machine.ssh.settings import SshSettings, known_hosts_file
from tasks.machine.watcher import watching

logger = logging.getLogger("cft.machine")

KEY_NAME = "cft-machines"
LOOK_SECONDS = 30.0  # for one look into a machine that boots
LOST_AFTER = 3  # failed connections in a row, before the provider is asked what became of it
SETTINGS = "machine.json"


@dataclass(frozen=True)
class Hire:
    """Who rents: a provider, our record of it, and the time.

    Attributes:
        provider: of the machines.
        ledger: where everything is written down before it is done.
        clock: by which all waiting is done.
    """

    provider: LambdaCloud
    ledger: Ledger
    clock: RentalClock


def hire_of(home: Home, machine: MachineSettings) -> Hire:
    """The provider of a machine's settings, with the key of the environment.

    Raises:
        CftError: there is no key.
    """
    clock = SystemRentalClock()
    return Hire(LambdaCloud(machine.cloud, api_key(), clock), ledger_of(home), clock)


def lease_folder(home: Home, job: str) -> Path:
    """Folder of a job's lease: its lock, and the settings with which it is given back."""
    return home.path / "machines" / "leases" / job


def lease_settings(home: Home, job: str) -> MachineSettings | None:
    """The settings of a job's lease; None where it has none.

    Raises:
        CftError: they cannot be read.
    """
    path = lease_folder(home, job) / SETTINGS
    try:
        return MachineSettings.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CftError(f"{path}: not a machine's settings ({one_line(error)})") from None


def rented_host(home: Home, machine: MachineSettings, entry: Entry) -> Host:
    """How a rented machine is reached: its host key is its own, since addresses are used again.

    Raises:
        CftError: it has no address yet.
    """
    if entry.ip is None:
        raise CftError(f"{entry.identity.name}: has no address yet; wait until it is ready")
    name = f"lambda-{entry.instance_id}"
    ssh = SshSettings(
        host=entry.ip, port=entry.port, user=machine.user, identity=identity_of(home, machine)
    )
    return Host(name, ssh, known_hosts_file(home, name))


def identity_of(home: Home, machine: MachineSettings) -> Path:
    """Private key for rented machines: the one that is named, else one that is made once."""
    if machine.identity is not None:
        return Path(machine.identity).expanduser()
    path = home.path / "machines" / "id_ed25519"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked_within(path.with_suffix(".lock"), LOOK_SECONDS):
        if not path.exists():
            _write_key(path)
    return path


def public_key_of(identity: Path) -> str:
    """The public half, as one line of OpenSSH's form.

    Raises:
        CftError: there is no ``.pub`` file beside the key.
    """
    try:
        return identity.with_name(f"{identity.name}.pub").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise CftError(
            f"{identity}.pub: no such file; make it with `ssh-keygen -y -f {identity}`"
        ) from None


def _write_key(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    write_atomic(path.with_name(f"{path.name}.pub"), public + b" cft\n")
    write_atomic(path, private, private=True)


def wish_for(hire: Hire, home: Home, machine: MachineSettings, job: str) -> Wish:
    """What is asked for, with our key registered at the provider.

    Raises:
        CftError: the key cannot be read, or the provider does not take it.
    """
    public = public_key_of(identity_of(home, machine))
    # A name is one key's at the provider, and a person may change to another key.
    digest = hashlib.sha256(" ".join(public.split()[:2]).encode()).hexdigest()[:8]
    name = hire.provider.register_key(f"{KEY_NAME}-{hire.ledger.owner}-{digest}", public)
    return Wish(ssh_key=name, job=job, settings=machine.rent)


def looks_healthy(
    home: Home, machine: MachineSettings, say: Callable[[str], None], *, gpu: bool = True
) -> Callable[[Entry], bool]:
    """The look into a machine that the provider calls active: does it let us in, is its GPU well.

    Args:
        home: the state folder.
        machine: settings, of which the driver's policy is one.
        say: told what goes on.
        gpu: whether its GPUs will be used.
    """

    def look(entry: Entry) -> bool:
        host = rented_host(home, machine, entry)
        with host.connect() as connection:
            try:
                if not connection.run("true", timeout=LOOK_SECONDS).ok:
                    return False
            except SshError as error:
                # While it boots, a machine may know neither our user nor its own key yet.
                say(f"{host.ssh.address}: not yet ({one_line(error)})")
                return False
            if not gpu:
                return True
            report = ensure_driver(
                connection,
                machine.driver,
                jobs_running=lambda: jobs_on(connection, machine.base),
                on_line=say,
            )
            if report.verdict == "reroll":
                raise BadMachineError(f"driver: {report.state}: {report.reason}")
            return True

    return look


@contextlib.contextmanager
def hired(
    hire: Hire,
    home: Home,
    machine: MachineSettings,
    job: str,
    *,
    say: Callable[[str], None] = logger.info,
    alarm: OnAlarm = log_alarm,
    gpu: bool = True,
) -> Iterator[tuple[Entry, Host]]:
    """The machine of a job for as long as a block runs.

    A process that is killed leaves it: the next block for the same job gets the same machine, and
    without one the sweep ends it.

    Raises:
        CftError: none could be rented, or another process uses the job's machine.
        ReleaseError: it did not end in the time of the settings; the sweep goes on with that.
    """
    folder = lease_folder(home, job)
    with watching(folder):
        write_json(folder / SETTINGS, machine.model_dump(mode="json"))
        with leased(
            hire.provider,
            hire.ledger,
            wish_for(hire, home, machine, job),
            hire.clock,
            looks_healthy(home, machine, say, gpu=gpu),
            alarm=alarm,
            give_up_after=machine.rent.release_seconds,
        ) as entry:
            say(
                f"{entry.instance_type} in {entry.region} at ${entry.cents_per_hour / 100:.2f}/h, "
                f"{entry.ip}; at most ${entry.max_cost:.2f}"
            )
            yield entry, rented_host(home, machine, entry)


def give_back(
    home: Home, job: str, note: str, seconds: float, alarm: OnAlarm = log_alarm
) -> list[Entry]:
    """Release what a job has rented, for a process that knows nothing but the job.

    Args:
        home: the state folder.
        job: id of the flow run.
        note: why, for the ledger.
        seconds: for the provider to say that it is gone. Its end is asked for at once; what takes
            longer is the sweep's.
        alarm: told of what is not gone.

    Returns:
        The entries, released; none where the job had rented nothing.

    Raises:
        ReleaseError: it is not gone yet.
        CftError: the key or the ledger cannot be read.
    """
    machine = lease_settings(home, job)
    if machine is None or not any(one.open for one in ledger_of(home).of_job(job)):
        return []
    hire = hire_of(home, machine)
    return release_job(
        hire.provider, hire.ledger, job, hire.clock, note, alarm=alarm, give_up_after=seconds
    )


def still_there(provider: Provider, entry: Entry) -> Callable[[int], None]:
    """For a connection's failures: after some in a row, ask the provider what became of it.

    Raises (from the call):
        CftError: the machine is gone, and waiting for it is of no use.
    """

    def ask(failures: int) -> None:
        if failures < LOST_AFTER or failures % LOST_AFTER:
            return
        try:
            found = provider.describe(str(entry.instance_id))
        except UnavailableError as error:
            logger.info("%s", error)
            return
        if found is None or found.status in LOST:
            what = "gone" if found is None else found.status
            raise CftError(
                f"{entry.identity.name}: the machine is {what}; what its job had saved is here. "
                "Retry the run to go on from there on another one"
            )

    return ask
