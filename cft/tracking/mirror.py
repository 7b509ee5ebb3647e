"""Events of a run directory become metrics of an MLflow run.

The event log is the truth and MLflow its mirror: the job never waits for a tracking server, and
what a server missed while it was down it gets later. Replaying is harmless, because every metric
carries the time of its event, and MLflow keeps one of several equal points.
"""

import json
import logging
import re
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from cft.files import write_json
from cft.tracking.run_directory import RunDirectory

logger = logging.getLogger("cft.tracking")

BATCH = 1000  # MLflow takes at most so many metrics in one call
_ILLEGAL = re.compile(r"[^\w\-. :/]", re.ASCII)


class EventMirror:
    """Mirrors one run directory into one MLflow run, from a byte offset on.

    The offset lives in ``mirror.json`` beside the events, so another process continues where
    this one ended. A different ``run_id`` starts at the beginning.
    """

    def __init__(self, client: MlflowClient, run_id: str, run: RunDirectory) -> None:
        self.client, self.run_id, self.run = client, run_id, run
        self._state = run.path / "mirror.json"

    @property
    def offset(self) -> int:
        """Bytes of the event log that MLflow has."""
        try:
            state = json.loads(self._state.read_text(encoding="utf-8"))
            return int(state["offset"]) if state["run_id"] == self.run_id else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def sync(self) -> int:
        """Send what is new and return the number of events sent.

        Raises:
            Exception: whatever the client raised; the offset has not moved, call again later.
        """
        events, offset = self.run.read_events(self.offset)
        metrics = [metric for event in events for metric in metrics_of(event)]
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + BATCH])
        if params := {key: value for event in events for key, value in params_of(event)}:
            self._log_params(params)
        if offset != self.offset:
            write_json(self._state, {"run_id": self.run_id, "offset": offset})
        return len(events)

    def _log_params(self, params: dict[str, str]) -> None:
        """Params are written once: a resumed job that says something else is noted, not lost."""
        present = self.client.get_run(self.run_id).data.params
        for key, value in params.items():
            if key in present and present[key] != value:
                self.client.set_tag(self.run_id, f"param_drift.{key}", value)
        fresh = [Param(key, value) for key, value in params.items() if key not in present]
        for start in range(0, len(fresh), 100):
            self.client.log_batch(self.run_id, params=fresh[start : start + 100])


def metrics_of(event: dict[str, Any]) -> list[Metric]:
    """MLflow metrics of one event: its own time in milliseconds, its step, legal names.

    Values that are no numbers are left out with a warning.
    """
    if event.get("kind") != "metric":
        return []
    metrics = []
    for name, value in (event.get("values") or {}).items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            logger.warning("event of step %s: %s=%r is no number", event.get("step"), name, value)
            continue
        stamp, step = int(float(event["t"]) * 1000), int(event.get("step") or 0)
        metrics.append(Metric(legal(name), number, stamp, step))
    return metrics


def params_of(event: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values of a ``param`` event, cut to what MLflow takes."""
    if event.get("kind") != "param":
        return []
    return [(legal(key), str(value)[:6000]) for key, value in (event.get("values") or {}).items()]


def legal(name: str) -> str:
    """A name that MLflow takes: its alphabet (no ``@``), at most 250 characters."""
    return _ILLEGAL.sub("_", name)[:250]
