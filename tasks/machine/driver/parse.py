"""From raw answers to facts. What a host does not say is None, and never 0."""

import csv
import json
import re
from dataclasses import dataclass

from tasks.machine.driver.probe import Probes

NVIDIA = "0x10de"
DISPLAY_CLASS = "0x03"  # VGA and 3D controllers
BRIDGE_CLASS = "0x0680"  # an NVSwitch is one
# [N/A], [Not Supported], [Unknown Error], [GPU requires reset], and whatever else comes in brackets
_NO_VALUE = re.compile(r"\[.*\]|N/A|")


@dataclass(frozen=True)
class PciGpu:
    """A GPU as the bus shows it, with a driver or without."""

    slot: str
    device: int  # the device id: larger ids are younger chips


@dataclass(frozen=True)
class Gpu:
    """A GPU as its driver shows it. Sizes are MiB, utilisation per cent, temperature °C."""

    index: int
    uuid: str | None
    name: str | None
    driver: str | None
    memory_total: int | None
    memory_used: int | None
    utilization: int | None
    temperature: int | None
    bus: str | None
    compute: str | None = None


@dataclass(frozen=True)
class Cuda:
    """What CUDA itself says: the code of ``cuInit`` (None when it was not reached)."""

    code: int | None
    count: int | None = None
    version: str | None = None
    problem: str = ""


@dataclass(frozen=True)
class Smi:
    """How nvidia-smi ended, and what it printed when it did not end well."""

    exit_code: int | None
    text: str
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True)
class Facts:
    """What is known of a host.

    Attributes:
        loaded: version of the module that runs.
        on_disk: version of the module that the running kernel would load.
        secure_boot: None when nobody could say.
        xids: the kernel's lines on GPU errors since the boot.
        source: whose packages of the driver are installed, ``ubuntu`` or ``nvidia``; empty: none.
        root: whether commands run as root already.
        sudo: whether they may.
        disk_free, shm: bytes.
    """

    kernel: str
    machine: str
    distribution: str
    release: str
    boot_id: str
    bus: tuple[PciGpu, ...]
    switches: int
    smi: Smi
    cuda: Cuda
    loaded: str | None
    on_disk: str | None
    headers: bool
    nouveau: bool
    secure_boot: bool | None
    xids: tuple[str, ...]
    source: str
    root: bool
    sudo: bool
    disk_free: int | None
    shm: int | None
    cloud_init: str
    fabric_manager: str


def parse(probes: Probes) -> Facts:
    """The facts in a host's answers."""
    release = dict(
        re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', probes.text("release"), flags=re.MULTILINE)
    )
    bus, switches = _bus(probes)
    modules = [line.split()[0] for line in probes.text("modules").splitlines() if line.strip()]
    root = probes.text("user") == "0"
    return Facts(
        kernel=probes.text("kernel"),
        machine=probes.text("machine"),
        distribution=release.get("ID", ""),
        release=release.get("VERSION_ID", ""),
        boot_id=probes.text("boot_id"),
        bus=bus,
        switches=switches,
        smi=_smi(probes),
        cuda=_cuda(probes),
        loaded=probes.text("module_loaded") or None,
        on_disk=probes.text("module_file") or None,
        headers=probes.answers["headers"].ok,
        nouveau="nouveau" in modules,
        secure_boot=_secure_boot(probes),
        xids=tuple(line.strip() for line in probes.text("xid").splitlines()),
        # dpkg-query fails as soon as one of its patterns finds nothing, and lists the others.
        source=_source(probes.answers["packages"].stdout),
        root=root,
        sudo=root or probes.answers["sudo"].ok,
        disk_free=_kilobytes(probes.text("disk"), column=3),
        shm=_kilobytes(probes.text("shm"), column=1),
        cloud_init=probes.answers["cloud_init"].stdout.partition(":")[2].split("\n")[0].strip(),
        fabric_manager=probes.answers["fabric_manager"].stdout.strip(),
    )


def value(text: str) -> str | None:
    """A field of nvidia-smi, or None where it has none to say."""
    text = text.strip()
    return None if _NO_VALUE.fullmatch(text) else text


def _number(text: str) -> int | None:
    found = value(text)
    try:
        return int(float(found)) if found is not None else None
    except ValueError:
        return None


def _smi(probes: Probes) -> Smi:
    answer = probes.answers["smi"]
    if not answer.ok and answer.exit_code != 14:  # 14 is a warning beside a full answer
        return Smi(answer.exit_code, (answer.stdout + "\n" + answer.stderr).strip(), ())
    compute = {row[0]: value(row[1]) for row in _rows(probes.text("smi_compute")) if len(row) == 2}
    gpus = [
        Gpu(
            index=int(row[0]),
            uuid=value(row[1]),
            name=value(row[2]),
            driver=value(row[3]),
            memory_total=_number(row[4]),
            memory_used=_number(row[5]),
            utilization=_number(row[6]),
            temperature=_number(row[7]),
            bus=value(row[8]),
            compute=compute.get(row[0]),
        )
        for row in _rows(answer.stdout)
        if len(row) == 9 and row[0].isdigit()
    ]
    return Smi(answer.exit_code, "" if gpus else answer.stdout.strip(), tuple(gpus))


def _rows(text: str) -> list[list[str]]:
    return list(csv.reader(text.splitlines(), skipinitialspace=True))


def _cuda(probes: Probes) -> Cuda:
    answer = probes.answers["cuda"]
    try:
        said = json.loads(answer.stdout)
        version = said.get("version")
        return Cuda(
            code=said["code"],
            count=said.get("count"),
            version=f"{version // 1000}.{version % 1000 // 10}" if version else None,
            problem=said.get("problem", ""),
        )
    except (ValueError, KeyError, AttributeError, TypeError):
        return Cuda(None, problem=answer.last_words)


def _bus(probes: Probes) -> tuple[tuple[PciGpu, ...], int]:
    """GPUs and NVSwitches: by lspci where the host has it, else as the kernel lists them."""
    devices = []
    for line in probes.text("lspci").splitlines():
        # 0000:01:00.0 3D controller [0302]: NVIDIA Corporation GH100 [10de:2330] (rev a1)
        found = re.match(r"(\S+) .*?\[([0-9a-f]{4})\]: .*\[10de:([0-9a-f]{4})\]", line)
        if found:
            devices.append((found[1], f"0x{found[2]}", int(found[3], 16)))
    if not probes.answers["lspci"].ok:
        for line in probes.text("pci").splitlines():
            slot, vendor, device, kind = [*line.split(), "", "", "", ""][:4]
            if vendor == NVIDIA and device.startswith("0x"):
                devices.append((slot, kind, int(device, 16)))
    gpus = [
        PciGpu(slot, device) for slot, kind, device in devices if kind.startswith(DISPLAY_CLASS)
    ]
    return tuple(gpus), sum(kind.startswith(BRIDGE_CLASS) for _, kind, _ in devices)


def _secure_boot(probes: Probes) -> bool | None:
    said = probes.answers["secure_boot"]
    if "SecureBoot enabled" in said.stdout:
        return True
    # A host without EFI has none: mokutil says so, and so does the missing variable.
    if "SecureBoot disabled" in said.stdout or "not supported" in said.stdout + said.stderr:
        return False
    variable = probes.answers["secure_boot_variable"]
    if variable.ok:
        return variable.stdout.split()[-1:] == ["1"]
    return False if "No such file" in variable.stderr else None


def _source(listing: str) -> str:
    """Whose packages are installed: those of NVIDIA's repository have no ``ubuntu`` in versions."""
    found = [line.split() for line in listing.splitlines()]
    versions = {
        package: version
        for status, package, version in (words for words in found if len(words) == 3)
        if status == "installed" and re.match(r"(lib)?nvidia-|cuda-(drivers|keyring)", package)
    }
    if any(package.startswith("cuda-") for package in versions):
        return "nvidia"
    driver = [v for p, v in versions.items() if re.search(r"driver|utils|compute|headless|dkms", p)]
    if not driver:
        return ""
    return "ubuntu" if any("ubuntu" in version for version in driver) else "nvidia"


def _kilobytes(table: str, column: int) -> int | None:
    lines = table.splitlines()
    words = lines[-1].split() if len(lines) > 1 else []
    return int(words[column]) * 1024 if len(words) > column and words[column].isdigit() else None
