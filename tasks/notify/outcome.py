"""How a run ended, as a push: composed from plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cft.evaluation.report import duration
from tasks.notify.facts import Headline
from tasks.notify.message import Action, Push

Ending = Literal["completed", "failed", "crashed", "cancelled", "started"]

# Priority and emoji: what needs a person insists.
STYLE: dict[Ending, tuple[int, str]] = {
    "completed": (3, "white_check_mark"),
    "failed": (4, "x"),
    "crashed": (5, "skull"),
    "cancelled": (3, "no_entry"),
    "started": (2, "arrow_forward"),
}
REASON_LENGTH = 500
_PREFIXES = ("Flow run encountered an exception: ", "Task run encountered an exception: ")


@dataclass(frozen=True)
class Outcome:
    """What a person wants to know of a run that ended.

    Attributes:
        flow: name of the flow.
        run: name of the run.
        ending: how it ended.
        attempt: 1 for the first; a retried run counts on.
        seconds: how long it took.
        exit: how its job ended, such as ``exit code 1``.
        reason: the message of its state.
        lines: what else is said, such as figures; see :func:`compared`.
    """

    flow: str
    run: str
    ending: Ending
    attempt: int = 1
    seconds: float | None = None
    exit: str | None = None
    reason: str | None = None
    lines: Sequence[str] = ()


def outcome_push(outcome: Outcome, *, click: str, mlflow: str | None = None) -> Push:
    """The push for an outcome.

    Args:
        outcome: of the run.
        click: the run's page in Prefect.
        mlflow: the run's page in MLflow, which gets a button.
    """
    priority, emoji = STYLE[outcome.ending]
    facts = [duration(outcome.seconds)] if outcome.seconds is not None else []
    facts += [outcome.exit] if outcome.exit else []
    facts += [f"attempt {outcome.attempt}"] if outcome.attempt > 1 else []
    lines = [", ".join(facts)]
    if outcome.ending != "completed" and outcome.reason:
        lines.append(reason_of(outcome.reason))
    lines += outcome.lines
    return Push(
        title=f"{outcome.flow} {outcome.ending}: {outcome.run}",
        body="\n".join(line for line in lines if line) or outcome.ending,
        priority=priority,
        tags=(emoji, "cft", outcome.flow),
        click=click,
        actions=(Action("MLflow", mlflow),) if mlflow else (),
    )


def reason_of(message: str) -> str:
    """The first and the last line of a state's message: what failed, and its last word."""
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if len(lines) < 2:
        return "".join(lines)[:REASON_LENGTH]
    half = REASON_LENGTH // 2
    return f"{lines[0][:half]}\n{lines[-1][:half]}"


def compared(
    headlines: Sequence[Headline],
    champion: str | None,
    tags: Mapping[str, str],
    data_digest: str | None = None,
) -> list[str]:
    """Figures beside the champion's: ``STS Spearman 0.512 (champion 0.490, +0.022)``.

    Args:
        headlines: figures of the run.
        champion: its version, or None where there is none to compare with.
        tags: of the champion's version.
        data_digest: of the run's data. Figures on held-out verses of other data are no measure,
            and are said without their difference.
    """
    lines = []
    for one in headlines:
        line = f"{one.label} {one.value:.3f}"
        before = _number(tags.get(one.tag)) if champion else None
        if before is not None:
            other = one.tag.startswith("figure.") and tags.get("data_digest") != data_digest
            how = "on other data" if other else f"{one.value - before:+.3f}"
            line += f" (champion {before:.3f}, {how})"
        lines.append(line)
    return lines


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
