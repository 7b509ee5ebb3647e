"""What a pass has found and mended, for a person."""

from dataclasses import dataclass, field
from typing import Any

from tasks.reconcile.facts import Outcome

DOES = {
    "crash": "mark as Crashed",
    "cancel": "mark as Cancelled",
    "retry": "take up again",
    "stop": "stop its job",
    "free": "give slots back",
}


@dataclass(frozen=True)
class Report:
    """The outcome of one pass."""

    dry_run: bool
    looked_at: int
    outcomes: list[Outcome] = field(default_factory=list)
    tracking: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pushes: int = 0

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.outcomes or self.tracking or self.failures or self.notes or self.pushes)

    def markdown(self) -> str:
        """As a page."""
        head = f"# Reconcile\n\n{self.looked_at} flow runs were looked at."
        if self.dry_run:
            head += " This was a dry run: nothing was mended."
        if self.quiet:
            return f"{head} All is well.\n"
        parts = [head]
        if self.outcomes:
            rows = ["| what | why | done | outcome |", "|---|---|---|---|"]
            rows += [_row(one, self.dry_run) for one in self.outcomes]
            parts.append("\n".join(rows))
        for title, lines in (
            ("Tracking", self.tracking),
            ("Not mended", self.failures),
            ("Left alone", self.notes),
        ):
            if lines:
                parts.append(f"## {title}\n\n" + "\n".join(f"- {_cell(line)}" for line in lines))
        if self.pushes:
            parts.append(f"{self.pushes} pushes that were waiting have been sent.")
        return "\n\n".join(parts) + "\n"

    def lines(self) -> list[str]:
        """As lines for a terminal."""
        if self.quiet:
            return [f"{self.looked_at} flow runs: all is well"]
        shown = []
        for one in self.outcomes:
            end = "not done" if self.dry_run else one.detail or "done"
            shown.append(
                f"{one.action.title}: {DOES[one.action.kind]} ({one.action.reason}): {end}"
            )
        return [*shown, *self.tracking, *self.failures, *self.notes]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "dry_run": self.dry_run,
            "looked_at": self.looked_at,
            "actions": [
                {
                    "kind": one.action.kind,
                    "subject": one.action.subject,
                    "title": one.action.title,
                    "reason": one.action.reason,
                    "done": one.done,
                    "detail": one.detail,
                }
                for one in self.outcomes
            ],
            "tracking": self.tracking,
            "failures": self.failures,
            "notes": self.notes,
            "pushes": self.pushes,
        }


def _row(one: Outcome, dry_run: bool) -> str:
    done = "dry run" if dry_run else "yes" if one.done else "no"
    cells = (
        f"{one.action.title}: {DOES[one.action.kind]}",
        one.action.reason,
        done,
        one.detail or "-",
    )
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
