"""What a sweep found and did, as data and as a page."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.machine.provider.caps import cost_cents
from tasks.machine.provider.identity import Identity
from tasks.machine.provider.judge import Judgement, Verdict
from tasks.machine.provider.ledger import Entry
from tasks.machine.provider.protocol import Instance


@dataclass(frozen=True)
class Row:
    """One machine, or one entry without a machine.

    Attributes:
        id: the provider's; None where there is no machine.
        name: the machine's.
        job: that it serves; empty where that is not known.
        since: when its launch was asked for, in seconds since the epoch; None: not known.
        dollars_per_hour: its price.
        dollars: what it has cost since then; None: not known.
        verdict: what is to become of it.
        reason: why, in a few words.
        outcome: what became of it; empty in a dry run and where nothing was done.
    """

    id: str | None
    name: str
    job: str
    since: int | None
    dollars_per_hour: float
    dollars: float | None
    verdict: Verdict
    reason: str
    outcome: str = ""


@dataclass(frozen=True)
class SweepReport:
    """All that a sweep saw.

    Attributes:
        dry_run: whether it only looked.
        rows: of every machine of the account and every open entry without one.
        problems: what kept it from seeing or doing more.
    """

    dry_run: bool
    rows: tuple[Row, ...]
    problems: tuple[str, ...] = ()

    @property
    def still_there(self) -> tuple[Row, ...]:
        """Machines whose end was asked for and not seen."""
        return tuple(row for row in self.rows if row.outcome == "still there")

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    def to_markdown(self) -> str:
        """As a page."""
        lines = [
            "# Machines: what a sweep " + ("would do" if self.dry_run else "did"),
            "",
            "| machine | name | job | since | $/h | $ | verdict | why | outcome |",
            "|---|---|---|---|---|---|---|---|---|",
            *(_line(row) for row in self.rows),
        ]
        if not self.rows:
            lines = [lines[0], "", "There are none."]
        if self.problems:
            lines += ["", "Not all could be seen or done:", ""]
            lines += [f"- {problem}" for problem in self.problems]
        return "\n".join(lines) + "\n"


def row_of(
    machine: Instance | None,
    mark: Identity | None,
    entry: Entry | None,
    judged: Judgement,
    now: float,
) -> Row:
    """What is known of one machine or entry, with its judgement."""
    cents = max(
        machine.cents_per_hour if machine else 0, entry.cents_per_hour if entry is not None else 0
    )
    since = entry.born if entry is not None else mark.born if mark is not None else None
    # A launch that gave no machine costs nothing, whatever its price would have been.
    paid = machine is not None or (entry is not None and entry.instance_id is not None)
    cost = cost_cents(cents, since, now) / 100 if since is not None and paid else None
    return Row(
        id=machine.id if machine else entry.instance_id if entry else None,
        name=machine.name if machine else mark.name if mark else "",
        job=entry.job if entry is not None else "",
        since=since,
        dollars_per_hour=cents / 100,
        dollars=round(cost, 2) if cost is not None else None,
        verdict=judged.verdict,
        reason=judged.reason,
    )


def _line(row: Row) -> str:
    since = "?" if row.since is None else f"{datetime.fromtimestamp(row.since, UTC):%F %R} UTC"
    cells = (
        row.id or "none",
        row.name,
        row.job,
        since,
        f"{row.dollars_per_hour:.2f}",
        "?" if row.dollars is None else f"{row.dollars:.2f}",
        row.verdict,
        row.reason,
        row.outcome,
    )
    # Anybody may name a machine; it stays one cell.
    shown = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(shown)} |"
