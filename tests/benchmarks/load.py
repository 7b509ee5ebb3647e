"""Load: fifty flow runs at once on the local stack, on SQLite and on PostgreSQL.

Each is a run of `reconcile/every-ten-minutes` in a process of its own under the stack's worker,
with all the imports that a flow of this package has; the worker begins as many as it is allowed.
None may be lost, and none may stay behind.
"""

import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun

from tests.integration.local_stack import LocalStack, local_stack
from tests.integration.speaking import speaking_to
from tests.postgres import postgres, program, url

RUNS, DEPLOYMENT = 50, "reconcile/every-ten-minutes"
PATIENCE = 3600.0  # seconds for all of them
DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
_ERRORS = re.compile(r"database is locked|\" 50\d |^[\w.]+(?:Error|Exception)\b", re.M)


def main(backbone: Path | None, rows: int | None = None) -> None:
    """Print seconds, rate, endings and errors for each database.

    Args:
        backbone: not used.
        rows: runs instead of 50.
    """
    print("| database | seconds | runs a minute | ended as | errors in the logs |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        place.chmod(0o755)  # PostgreSQL runs as another user
        print(row("SQLite", place / "sqlite", rows or RUNS), flush=True)
        if program("initdb") is None:
            print("\nPostgreSQL: not run, it is not installed here")
            return
        with postgres(place / "postgres") as port:
            print(row("PostgreSQL", place / "stack", rows or RUNS, url(port)), flush=True)


def row(name: str, folder: Path, runs: int, database: str | None = None) -> str:
    """One line of the table."""
    with local_stack(folder, {DATABASE: database} if database else None) as stack:
        seconds, ended = burst(stack, runs)
        # Before it is stopped, which cuts off what it just does.
        shown = ", ".join(f"{count} x {kind}" for kind, count in errors(stack).items()) or "none"
    states = ", ".join(f"{count} {state}" for state, count in ended.items())
    return f"| {name} | {seconds:.0f} | {60 * runs / seconds:.1f} | {states} | {shown} |"


def burst(stack: LocalStack, runs: int) -> tuple[float, Counter[str]]:
    """Start the runs at once and wait for the end of all.

    Returns:
        Seconds until the last has ended, and how many ended in which state; what did not end
        within the patience is counted by the state that it is stuck in.
    """
    with speaking_to(f"{stack.prefect}/api"), get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
        started = time.monotonic()
        ids = [client.create_flow_run_from_deployment(deployment.id).id for _ in range(runs)]
        while True:
            found = read(client, ids)
            over = all(one.state is not None and one.state.is_final() for one in found)
            seconds = time.monotonic() - started
            if (over and len(found) == runs) or seconds > PATIENCE:
                break
            time.sleep(2)
    ended = Counter(one.state.name if one.state else "no state" for one in found)
    if lost := runs - len(found):
        ended["lost"] = lost
    return seconds, ended


def read(client: SyncPrefectClient, ids: list[UUID]) -> list[FlowRun]:
    """The runs as the server has them."""
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids)))


def errors(stack: LocalStack) -> Counter[str]:
    """What went wrong by the logs of all processes of the stack."""
    texts = (one.read_text("utf-8", errors="replace") for one in stack.logs.iterdir())
    return Counter(found.strip() for text in texts for found in _ERRORS.findall(text))
