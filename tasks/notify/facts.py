"""What a run has left on disk, for its push: read by its id alone, in whatever process.

A hook may run in a process that never saw the flow: nothing here relies on memory. A file that is
missing or unreadable leaves its part of the push out.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cft.evaluation.figures import PRIMARY, described
from cft.home import Home
from tasks.machine.local import LocalMachine
from tasks.machine.remote_jobs import living_remote_jobs


@dataclass(frozen=True)
class Headline:
    """One figure that a run is judged by.

    Attributes:
        label: what it is called.
        value: of this run.
        tag: where a registered version keeps the same figure.
        better: ``higher``, ``lower`` or None.
    """

    label: str
    value: float
    tag: str
    better: str | None


@dataclass(frozen=True)
class Facts:
    """What is known of a run.

    Attributes:
        result: what the flow returned; empty where it did not come so far.
        exit: how the newest job ended: ``exit code 1``, ``signal 9``; None without a job.
        failed: whether that job did not end well.
        living: a job of the run is still at work, here or, as far as is known here, on its host.
        headlines: figures of the run's model.
    """

    result: dict[str, Any] = field(default_factory=dict)
    exit: str | None = None
    failed: bool = False
    living: bool = False
    headlines: tuple[Headline, ...] = ()


def facts_of(home: Home, flow_run_id: str) -> Facts:
    """What the run directory of a flow run says."""
    folder = home.runs / flow_run_id
    result = _object(folder / "result.json")
    status = _newest_status(folder)
    living = False
    if status.get("state") == "running":
        living = any(
            LocalMachine().find(record.parent) is not None
            for record in folder.glob("*/supervisor.json")
        ) or bool(living_remote_jobs(home, flow_run_id))
    return Facts(
        result=result,
        exit=_exit(status),
        failed=status.get("state") in ("failed", "killed"),
        living=living,
        headlines=tuple(headlines(result)),
    )


def headlines(result: dict[str, Any]) -> list[Headline]:
    """The primary figures of the model that a run made or evaluated.

    A two-stage run's model is that of its last stage, and its figures stand on its version as
    ``figure.<metric>``; an evaluation's are the last column of each suite, ``score.<suite>/…``.
    A run over several models has no model of its own.
    """
    evaluations = result.get("evaluations")
    if not isinstance(evaluations, dict) or not evaluations or "suite" in result:
        return []
    found = []
    for name, place in evaluations.items():
        if isinstance(place, dict) and place:
            prefix, folder = f"score.{name}/", list(place.values())[-1]
            suite = f"{name}: "
        else:
            prefix, folder, suite = "figure.", list(evaluations.values())[-1], ""
        figures = _object(Path(str(folder)) / "evaluation.json").get("figures", {})
        for metric in PRIMARY:
            value = figures.get(metric, {}).get("value")
            if isinstance(value, int | float):
                label, better = described(metric)
                found.append(Headline(suite + label, float(value), prefix + metric, better))
        if prefix == "figure.":
            break
    return found


def said_by(result: dict[str, Any]) -> list[str]:
    """What a result says in words: what was decided or registered, and a contamination."""
    lines = []
    if result.get("message"):
        lines.append(str(result["message"]))
    elif result.get("version"):
        lines.append(f"{result.get('model')} version {result['version']}")
    lines += [str(result["contamination"])] if result.get("contamination") else []
    absent = result.get("absent")
    if isinstance(absent, dict):
        lines += [f"{name} was not evaluated" for name in absent]
    return lines


def _newest_status(folder: Path) -> dict[str, Any]:
    found = [one for path in folder.glob("*/status.json") if (one := _object(path))]
    return max(found, key=lambda one: float(one.get("started") or 0), default={})


def _exit(status: dict[str, Any]) -> str | None:
    if status.get("signal") is not None:
        return f"signal {status['signal']}"
    if status.get("exit_code") is not None:
        return f"exit code {status['exit_code']}"
    return None


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
