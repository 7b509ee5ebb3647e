"""The decision table: what state a host's driver is in, and what to do about it.

Pure functions of the facts and of what was done already. ``check`` changes nothing, so there every
change becomes the words that say what would help.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tasks.machine.driver.install import NoPlanError, install_plan
from tasks.machine.driver.parse import Facts
from tasks.machine.driver.settings import DriverSettings

READINESS_TRIES = 3


class State(StrEnum):
    """What is the matter."""

    OK = "ok"
    NO_GPU = "no GPU"
    MISSING = "driver missing"
    NOT_LOADED = "driver not loaded"
    MISMATCH = "driver and library differ"
    INIT_FAILED = "GPU does not initialise"
    HARDWARE = "hardware fault"
    NOT_READY = "CUDA not ready"
    SHADOWED = "another CUDA library in the way"
    CUDA_FAILED = "CUDA does not start"
    FORBIDDEN = "no permission"
    UNKNOWN = "unknown"


class Act(StrEnum):
    """What to do next. The last three end the matter."""

    WAIT = "wait"
    LOAD = "load the module"
    INSTALL = "install the driver"
    BLACKLIST = "blacklist nouveau"
    REBOOT = "reboot"
    DONE = "done"
    FAIL = "fail"
    REROLL = "take another machine"


# What changes the host, and so needs the policy and the right to do it.
CHANGES = frozenset({Act.LOAD, Act.INSTALL, Act.BLACKLIST, Act.REBOOT})


@dataclass(frozen=True)
class Done:
    """What was done already, in order."""

    acts: tuple[Act, ...] = ()

    def times(self, act: Act) -> int:
        """How often."""
        return self.acts.count(act)

    def and_then(self, act: Act) -> "Done":
        """This, and one more."""
        return Done((*self.acts, act))


@dataclass(frozen=True)
class Decision:
    """What to do next, and a sentence on why."""

    state: State
    act: Act
    reason: str


def state_of(facts: Facts) -> tuple[State, str]:
    """The state and what shows it."""
    smi = facts.smi
    if not facts.bus and not smi.gpus:
        return State.NO_GPU, "the bus shows no GPU of NVIDIA"
    if smi.exit_code in (0, 14) and smi.gpus:
        return _with_smi(facts)
    said = f"nvidia-smi: {smi.text.splitlines()[0][:200] if smi.text else 'no output'}"
    code = "no answer" if smi.exit_code is None else f"exit code {smi.exit_code}"
    lost = next((line for line in facts.xids if _lost(line)), None)
    if lost or smi.exit_code in (8, 15) or _lost(smi.text):
        return State.HARDWARE, lost or f"{said} ({code})"
    for codes, text, state in _SMI:
        if smi.exit_code in codes or (text and re.search(text, smi.text, re.IGNORECASE)):
            return state, f"{said} ({code})"
    return State.UNKNOWN, f"{said} ({code})"


# Exit codes of nvidia-smi, and words where a code says too little, in the order they are looked at.
_SMI: tuple[tuple[tuple[int | None, ...], str, State], ...] = (
    # The man page has no code for it; 18 was seen in practice, and the words are what is certain.
    ((), r"driver/library version mismatch", State.MISMATCH),
    ((13,), "", State.MISMATCH),
    ((127, 12), "", State.MISSING),
    ((9,), r"couldn't communicate with the NVIDIA driver", State.NOT_LOADED),
    ((4,), "", State.FORBIDDEN),
    # It hangs where a GPU hangs: 124 and 137 are its time-out, and without any answer not even
    # the time-out could end it, on a host that answers everything else.
    ((6, 10, 124, 137, None), r"no devices were found", State.INIT_FAILED),
)


def _lost(text: str) -> bool:
    found = re.search(r"fallen off the bus|GPU is lost|Xid \([^)]*\): 79\b", text, re.IGNORECASE)
    return found is not None


def _with_smi(facts: Facts) -> tuple[State, str]:
    """nvidia-smi is content; whether CUDA is as well."""
    cuda, listed, present = facts.cuda, len(facts.smi.gpus), len(facts.bus)
    if listed < present:
        lost = next((line for line in facts.xids if _lost(line)), None)
        if lost is not None:
            return State.HARDWARE, lost
        return State.INIT_FAILED, f"nvidia-smi lists {listed} of {present} GPUs"
    match cuda.code:
        case 0 if cuda.count != 0:
            return State.OK, f"{listed} GPU(s), CUDA {cuda.version or 'of unknown version'}"
        case None if re.search(r"libcuda\.so", cuda.problem):
            return State.MISSING, f"the CUDA library is missing ({cuda.problem})"
        case None:
            return State.UNKNOWN, f"CUDA was not reached ({cuda.problem or 'no answer'})"
        case 802:
            return State.NOT_READY, "cuInit answers 802: the host or its fabric is not ready"
        case 803 | 804:
            return State.SHADOWED, (
                f"cuInit answers {cuda.code}: a libcuda of another version is found before the "
                "host's own"
            )
    return State.CUDA_FAILED, f"cuInit answers {cuda.code} with {cuda.count or 0} devices"


def decide(facts: Facts, settings: DriverSettings, done: Done) -> Decision:
    """What to do next.

    Args:
        facts: of the host, as it is now.
        settings: with the policy.
        done: what was done already: at most one reboot, one load and one installation each.
    """
    state, why = state_of(facts)
    act, reason = _TABLE[state](facts, done, why)
    if act not in CHANGES:
        return Decision(state, act, reason)
    if settings.policy == "check":
        return Decision(
            state,
            # Who rents has another machine sooner than this one mended.
            Act.REROLL if act is Act.REBOOT else Act.FAIL,
            f"{reason}. To mend: {act}. The policy is check; set it to install to have this done",
        )
    if problem := _hindrance(facts, settings, act):
        return Decision(state, Act.FAIL, f"{reason}. To mend: {act}. But {problem}")
    return Decision(state, act, reason)


_Row = tuple[Act, str]


def _missing(facts: Facts, done: Done, why: str) -> _Row:
    if done.times(Act.INSTALL):
        return Act.FAIL, f"{why}, also after the installation"
    return Act.INSTALL, why


def _not_loaded(facts: Facts, done: Done, why: str) -> _Row:
    if facts.loaded is not None:  # it runs and does not answer
        return _reboot(facts, done, f"{why}; module {facts.loaded} is loaded")
    if facts.on_disk is None:
        headers = "" if facts.headers else " and its headers are missing"
        what = f"{why}; kernel {facts.kernel} has no nvidia module{headers}"
        return _missing(facts, done, what)
    if facts.nouveau:
        if done.times(Act.BLACKLIST):
            return _reboot(facts, done, f"{why}; nouveau still has the GPU")
        return Act.BLACKLIST, f"{why}; nouveau has the GPU"
    if not done.times(Act.LOAD):
        return Act.LOAD, why
    if facts.secure_boot:
        return Act.FAIL, f"{why}; {SECURE_BOOT}"
    return _reboot(facts, done, f"{why}; the module could not be loaded")


def _mismatch(facts: Facts, done: Done, why: str) -> _Row:
    versions = f"{why}; loaded {facts.loaded}, on disk {facts.on_disk}"
    if facts.on_disk is None or facts.on_disk == facts.loaded:
        # The library was upgraded and its module was never built: a reboot would change nothing.
        return _missing(facts, done, versions)
    return _reboot(facts, done, versions)


def _reboot(facts: Facts, done: Done, why: str) -> _Row:
    if done.times(Act.REBOOT):
        return Act.REROLL, f"{why}, also after a reboot"
    return Act.REBOOT, why


def _patient(facts: Facts, done: Done, why: str) -> _Row:
    if done.times(Act.WAIT) >= READINESS_TRIES:
        return Act.REROLL, f"{why}, also after {READINESS_TRIES} tries"
    return Act.WAIT, why


def _shadowed(facts: Facts, done: Done, why: str) -> _Row:
    return Act.FAIL, f"{why}; take compat folders out of LD_LIBRARY_PATH, also inside containers"


def _cuda_failed(facts: Facts, done: Done, why: str) -> _Row:
    # 999 is what a host says whose nvidia-uvm is not loaded.
    return _reboot(facts, done, why) if done.times(Act.LOAD) else (Act.LOAD, why)


def _ends(act: Act, more: str = "") -> Callable[[Facts, Done, str], _Row]:
    return lambda facts, done, why: (act, f"{why}{more}")


_TABLE: dict[State, Callable[[Facts, Done, str], _Row]] = {
    State.OK: _ends(Act.DONE),
    State.NO_GPU: _ends(Act.FAIL, "; take a machine that has one"),
    State.MISSING: _missing,
    State.NOT_LOADED: _not_loaded,
    State.MISMATCH: _mismatch,
    State.INIT_FAILED: _reboot,
    State.HARDWARE: _ends(Act.REROLL),
    State.NOT_READY: _patient,
    State.SHADOWED: _shadowed,
    State.CUDA_FAILED: _cuda_failed,
    State.FORBIDDEN: _ends(Act.FAIL, "; the user must be allowed to open /dev/nvidia*"),
    State.UNKNOWN: _patient,
}

SECURE_BOOT = (
    "Secure Boot is on: a module that is built here must be enrolled at the machine's console, "
    "which cannot be done over SSH; turn Secure Boot off or take another machine"
)


def _hindrance(facts: Facts, settings: DriverSettings, act: Act) -> str | None:
    """Why a change cannot be made, said before anything is begun."""
    if not facts.sudo:
        return "`sudo -n true` is refused; let the user run commands as root without a password"
    if act is not Act.INSTALL:
        return None
    if facts.secure_boot:  # before a quarter of an hour of compiling
        return SECURE_BOOT
    if facts.disk_free is not None and facts.disk_free < settings.min_free_gb * 1e9:
        return (
            f"only {facts.disk_free / 1e9:.1f} GB are free on / and {settings.min_free_gb:g} are "
            "needed; free some space"
        )
    try:
        install_plan(facts, settings)
    except NoPlanError as error:
        return str(error)
    return None
