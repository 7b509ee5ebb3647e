"""What became of a host's driver, as data and as a page."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from cft.errors import CftError
from tasks.machine.driver.parse import Facts, Gpu

Verdict = Literal["ready", "fail", "reroll"]


@dataclass(frozen=True)
class DriverReport:
    """What was found and done.

    Attributes:
        verdict: ``ready``; ``fail``, which a person can mend; or ``reroll``, a bad host.
        state: of the driver at the end; see :class:`~tasks.machine.driver.decide.State`.
        reason: one sentence.
        actions: what was done, in order.
        driver: its version.
        cuda: the newest version of CUDA that it runs.
        gpus: as the driver lists them.
        rebooted: whether the host was.
        seconds: that all of it took.
        host: what else is worth knowing of it, by name.
    """

    verdict: Verdict
    state: str
    reason: str
    actions: tuple[str, ...]
    driver: str | None
    cuda: str | None
    gpus: tuple[Gpu, ...]
    rebooted: bool
    seconds: float
    host: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    def require_ready(self) -> "DriverReport":
        """This report, when GPUs can be used.

        Raises:
            CftError: they cannot; says why.
        """
        if self.verdict == "ready":
            return self
        mend = "; the host is bad, take another one" if self.verdict == "reroll" else ""
        raise CftError(f"driver: {self.state}: {self.reason}{mend}")

    def to_markdown(self) -> str:
        """As a page."""
        lines = [
            f"# Driver: {self.state}",
            "",
            f"**{self.verdict}** after {self.seconds:.0f} s: {self.reason}",
            "",
            f"- driver: {self.driver or 'none'}",
            f"- CUDA: {self.cuda or 'none'}",
            f"- rebooted: {'yes' if self.rebooted else 'no'}",
            f"- done: {', '.join(self.actions) or 'nothing'}",
            *(f"- {name}: {value}" for name, value in self.host.items()),
        ]
        if self.gpus:
            lines += [
                "",
                "| GPU | name | memory (MiB) | used (MiB) | load (%) | °C | compute | bus |",
                "|---|---|---|---|---|---|---|---|",
                *(_row(gpu) for gpu in self.gpus),
            ]
        return "\n".join(lines) + "\n"


def _row(gpu: Gpu) -> str:
    values = (
        gpu.index,
        gpu.name,
        gpu.memory_total,
        gpu.memory_used,
        gpu.utilization,
        gpu.temperature,
        gpu.compute,
        gpu.bus,
    )
    # What is not known is shown as that, and never as a number.
    shown = ("?" if value is None else str(value).replace("|", "\\|") for value in values)
    return f"| {' | '.join(shown)} |"


def host_notes(facts: Facts) -> dict[str, str]:
    """What is cheap to say of a host and explains much of what goes wrong later."""
    notes = {
        "kernel": f"{facts.kernel} on {facts.machine}",
        "system": f"{facts.distribution} {facts.release}".strip(),
        "disk": _gigabytes(facts.disk_free, "free"),
        "shared memory": _gigabytes(facts.shm, ""),
        "Secure Boot": {True: "on", False: "off", None: ""}[facts.secure_boot],
        "first set-up": facts.cloud_init,
        "fabric manager": facts.fabric_manager if facts.switches else "",
        "GPU errors since the boot": "; ".join(facts.xids[-3:]),
    }
    return {name: value for name, value in notes.items() if value}


def _gigabytes(size: int | None, what: str) -> str:
    return f"{size / 1e9:.1f} GB {what}".strip() if size is not None else ""
