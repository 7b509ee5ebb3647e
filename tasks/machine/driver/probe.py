"""What a host says of its GPUs and their driver: commands that change nothing, and raw answers.

No single answer decides: nvidia-smi can be happy on a host where no CUDA program starts, and dead
on one whose module is only not loaded. So all of them are asked, each within a bound of its own,
and judged together.
"""

import shlex
from dataclasses import dataclass

from cft.errors import CftError
from tasks.machine.remote import Remote, Result

# Of one probe on the host. Eight GPUs without persistence mode take half a minute to wake, and
# one that is gone can hold nvidia-smi for ever.
ANSWER_SECONDS = 60
CONNECTION_SECONDS = 30.0  # beyond that, for the way there and back
TRIES = 2  # of a probe whose answer was lost

# What an SSH session finds without a login shell lacks these on some distributions.
PATHS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"

SMI_FIELDS = (
    "index,uuid,name,driver_version,memory.total,memory.used,utilization.gpu,temperature.gpu,"
    "pci.bus_id"
)

# nvidia-smi is no proof: with error 802 it lists the GPU and no context can be made.
CUDA = """
import ctypes, json
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    print(json.dumps({"code": None, "problem": str(error)}))
else:
    code, count, version = cuda.cuInit(0), ctypes.c_int(), ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    cuda.cuDriverGetVersion(ctypes.byref(version))
    print(json.dumps({"code": code, "count": count.value, "version": version.value}))
"""

COMMANDS: dict[str, str] = {
    "kernel": "uname -r",
    "machine": "uname -m",
    "release": "cat /etc/os-release",
    "boot_id": "cat /proc/sys/kernel/random/boot_id",
    "lspci": "lspci -Dnn -d 10de:",
    # lspci is a package, this is the kernel: one line of vendor, device and class each.
    "pci": "for one in /sys/bus/pci/devices/*; do "
    '[ -e "$one/vendor" ] && echo "${one##*/} $(cat "$one/vendor" "$one/device" "$one/class" '
    "| tr '\\n' ' ')\"; done; true",
    "smi": f"nvidia-smi --query-gpu={SMI_FIELDS} --format=csv,noheader,nounits",
    # One field that an old nvidia-smi does not know fails the whole query.
    "smi_compute": "nvidia-smi --query-gpu=index,compute_cap --format=csv,noheader,nounits",
    "cuda": f"python3 -c {shlex.quote(CUDA)}",
    "module_loaded": "cat /sys/module/nvidia/version",
    "module_file": "modinfo -F version nvidia",
    "headers": 'test -d "/lib/modules/$(uname -r)/build"',
    "modules": "cat /proc/modules",
    "secure_boot": "mokutil --sb-state",
    # The last of its five bytes, where mokutil is not installed.
    "secure_boot_variable": "od -An -t u1 "
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
    "xid": "said=$(sudo -n dmesg 2>/dev/null || dmesg) || exit $?; "
    "printf '%s\\n' \"$said\" | grep -E 'NVRM: Xid|fallen off the bus' | tail -n 20",
    "packages": "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n' "
    "'nvidia-*' 'libnvidia-*' 'cuda-drivers*' 'cuda-keyring'",
    "disk": "df -Pk /",
    "shm": "df -Pk /dev/shm",
    "user": "id -u",
    "sudo": "sudo -n true",
    "cloud_init": "cloud-init status",
    "fabric_manager": "systemctl is-active nvidia-fabricmanager",
}


@dataclass(frozen=True)
class Probes:
    """The raw answers, by the names of :data:`COMMANDS`."""

    answers: dict[str, Result]

    def text(self, name: str) -> str:
        """What a probe that ended well has printed; empty otherwise."""
        answer = self.answers[name]
        return answer.stdout.strip() if answer.ok else ""


def bounded(command: str, seconds: float) -> str:
    """A shell command that ends after so many seconds with code 124, or 137 when it had to be
    killed."""
    # A variable in front of `timeout` reaches what it starts; the shell in it has the paths.
    inner = f'PATH="$PATH:{PATHS}"; export PATH; {command}'
    return f"LC_ALL=C timeout -k 5 {seconds:g} sh -c {shlex.quote(inner)}"


def probe(remote: Remote) -> Probes:
    """Ask a host everything. Takes seconds on a sound host and some minutes on a hung one.

    Raises:
        CftError: the host does not answer at all.
    """
    answers = {}
    for name, command in COMMANDS.items():
        answers[name] = ask(remote, command, ANSWER_SECONDS)
        if name == "kernel" and not answers[name].ok:
            raise CftError(
                f"the host does not answer `{command}` ({answers[name].last_words}); "
                "check the connection"
            )
    return Probes(answers)


def ask(remote: Remote, command: str, seconds: float) -> Result:
    """The answer to a bounded command that changes nothing; asked again when it was lost."""
    for _ in range(TRIES):
        result = remote.run(bounded(command, seconds), timeout=seconds + CONNECTION_SECONDS)
        if result.exit_code is not None:
            break
    return result
