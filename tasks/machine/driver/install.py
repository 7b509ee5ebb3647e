"""Plans: the commands that change a host, as data.

None of them ends in ``|| true`` and none hides its output: a package manager that says 0 without
having installed a module is found out by the last command of its own plan.
"""

from dataclasses import dataclass

from tasks.machine.driver.parse import Facts
from tasks.machine.driver.settings import DriverSettings

# First PCI device ids of the generations; younger chips have larger ids.
MAXWELL, TURING = 0x1340, 0x1E00
LAST_FOR_OLD = 580  # the last branch for Maxwell, Pascal and Volta
UBUNTU_RELEASES = ("22.04", "24.04", "26.04")
# NVIDIA's repository: (distribution, release, machine) to its folder.
NVIDIA_FOLDERS = {
    ("ubuntu", "22.04", "x86_64"): "ubuntu2204/x86_64",
    ("ubuntu", "22.04", "aarch64"): "ubuntu2204/sbsa",
    ("ubuntu", "24.04", "x86_64"): "ubuntu2404/x86_64",
    ("ubuntu", "24.04", "aarch64"): "ubuntu2404/sbsa",
    ("debian", "12", "x86_64"): "debian12/x86_64",
}
NVIDIA_ROOT = "https://developer.download.nvidia.com/compute/cuda/repos"

# Another apt may be at work on a young host: it is waited for, and nothing is ever asked.
APT = (
    "env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a "
    "apt-get -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold"
)
UPGRADES = ("unattended-upgrades.service", "apt-daily.timer", "apt-daily-upgrade.timer")


class NoPlanError(Exception):
    """No driver of ours is for this host; says which host would do."""


@dataclass(frozen=True)
class Plan:
    """Commands for root's shell, in order; the first that fails ends it."""

    name: str
    commands: tuple[str, ...]

    @property
    def script(self) -> str:
        """As one script that shows each command before it runs."""
        return "\n".join(["set -eux", *self.commands, ""])


def is_open(facts: Facts) -> bool:
    """Whether the open kernel modules are meant.

    Blackwell and Grace-Hopper have no others, from Turing on they are advised, and before Turing
    only the proprietary ones work. One host gets one driver, so its oldest GPU decides.

    Raises:
        NoPlanError: a GPU is older than Maxwell.
    """
    oldest = min((gpu.device for gpu in facts.bus), default=TURING)
    if oldest < MAXWELL:
        raise NoPlanError(
            f"the GPU with device id {oldest:#06x} is older than Maxwell, for which no driver "
            "that is kept up exists; take a younger one"
        )
    return oldest >= TURING


def install_plan(facts: Facts, settings: DriverSettings) -> Plan:
    """The plan that installs a driver, or builds the missing module of the one that is there.

    Ubuntu gets it from its own archive, unless packages of NVIDIA's repository are there already:
    the two never mix. Debian gets it from NVIDIA's repository.

    Raises:
        NoPlanError: no driver of ours is for this distribution, release or GPU.
    """
    opened = is_open(facts)
    branch = settings.branch if opened else min(settings.branch, LAST_FOR_OLD)
    headers = f"linux-headers-{facts.kernel}"
    commands = [
        *_hold_upgrades(settings),
        f"{APT} update",
        # First of all: without the headers of the running kernel the driver's package is content
        # with modules for another one, ends with 0, and no reboot ever helps.
        f"{APT} install -y build-essential dkms {headers}",
    ]
    ubuntu = facts.distribution == "ubuntu" and facts.release in UBUNTU_RELEASES
    if ubuntu and facts.source != "nvidia":
        kind = "-open" if opened else ""
        packages = f"nvidia-driver-{branch}-server{kind} nvidia-dkms-{branch}-server{kind}"
        utils = f"nvidia-utils-{branch}-server"
        commands.append(f"{APT} install -y {packages} {utils}")
        if facts.switches:
            commands += _fabric_manager(f"nvidia-fabricmanager-{branch}", utils)
    else:
        commands += _from_nvidia(facts, opened, branch)
    commands += [
        # Does nothing where the packages have done it.
        f"dkms autoinstall -k {facts.kernel}",
        f"modinfo -k {facts.kernel} -F version nvidia",
        "command -v nvidia-smi",
    ]
    return Plan("driver-install", tuple(commands))


def _from_nvidia(facts: Facts, opened: bool, branch: int) -> list[str]:
    folder = NVIDIA_FOLDERS.get((facts.distribution, facts.release, facts.machine))
    if folder is None:
        raise NoPlanError(
            f"there is no plan for {facts.distribution or 'this system'} {facts.release} on "
            f"{facts.machine}; install the driver by hand, or take Ubuntu 22.04 or 24.04, "
            "or Debian 12 on x86_64"
        )
    package = f"nvidia-open-{branch}" if opened else f"cuda-drivers-{branch}"
    keyring = "cuda-keyring_1.1-1_all.deb"
    commands = [
        f"{APT} install -y ca-certificates wget",
        f"wget -nv --timeout=60 --tries=3 -O /tmp/{keyring} {NVIDIA_ROOT}/{folder}/{keyring}",
        f"dpkg -i /tmp/{keyring}",
        f"{APT} update",
        f"{APT} install -y {package}",
    ]
    if facts.switches:
        commands += _fabric_manager(f"nvidia-fabricmanager-{branch}", package)
    return commands


def _fabric_manager(package: str, driver: str) -> list[str]:
    """Fabric manager of exactly the driver's version: with another one CUDA answers 802."""
    return [
        f"driver=$(dpkg-query -W -f '${{Version}}' {driver} | sed 's/^[0-9]*://; s/-.*//')",
        f"fabric=$(apt-cache madison {package} | tr -d ' ' | cut -d'|' -f2 "
        '| grep -m1 -E "^([0-9]+:)?$driver-")',
        f'{APT} install -y "{package}=$fabric"',
        "systemctl enable nvidia-fabricmanager",
    ]


def _hold_upgrades(settings: DriverSettings) -> list[str]:
    """No upgrade of the library under a running module; units that do not exist are left out."""
    how = "mask" if settings.hold_upgrades else "mask --runtime"
    return [
        f"if systemctl cat {unit} >/dev/null; then systemctl stop {unit}; "
        f"systemctl {how} {unit}; fi"
        for unit in UPGRADES
    ]


def load_plan(facts: Facts) -> Plan:
    """Load what CUDA needs; a box with NVSwitches needs its fabric manager as well."""
    commands = ["modprobe nvidia", "modprobe nvidia-uvm"]
    if facts.switches:
        commands.append("systemctl restart nvidia-fabricmanager")
    return Plan("driver-load", tuple(commands))


def blacklist_plan() -> Plan:
    """Keep nouveau from the GPU from the next boot on."""
    return Plan(
        "driver-blacklist",
        (
            "printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' "
            "> /etc/modprobe.d/cft-nouveau.conf",
            "update-initramfs -u",
        ),
    )


def reboot_command(root: bool) -> str:
    """Reboots in a moment, so that this command may still be answered."""
    systemctl = "systemctl reboot" if root else "sudo -n systemctl reboot"
    return f"setsid sh -c 'sleep 1; exec {systemctl}' </dev/null >/dev/null 2>&1 &"
