"""What was found of a machine, as data and as lines for a person.

Each finding has a state: ``well``; ``note``, which a person may want to know; or ``bad``, which
would keep a training from running and says what to do.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: of the thing.
        state: of it.
        text: what was found.
        mend: what to do about it; empty where it is well.
    """

    name: str
    state: Literal["well", "note", "bad"]
    text: str
    mend: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All that was found of a machine."""

    machine: str
    findings: tuple[Finding, ...]

    @property
    def well(self) -> bool:
        """Whether nothing would keep a training from running."""
        return all(one.state != "bad" for one in self.findings)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"machine": self.machine, "well": self.well} | {
            "findings": [asdict(one) for one in self.findings]
        }

    def to_text(self) -> str:
        """As lines for a person."""
        lines = [self.machine]
        for one in self.findings:
            lines.append(f"  {one.state:4}  {one.name}: {one.text}")
            if one.mend:
                lines.append(f"        {one.mend}")
        lines.append("a training can run there" if self.well else "a training would not run there")
        return "\n".join(lines)
