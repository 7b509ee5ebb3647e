"""A flow for the stack's own worker: it has a job that outlives its processes, as trainings do."""

import sys
import time
from pathlib import Path

from prefect import flow

from tasks.machine.job import Job
from tasks.machine.local import LocalMachine


@flow
def with_a_job(folder: str) -> None:
    """Start a job in a folder and wait for it."""
    sleeping = [sys.executable, "-c", "import time; time.sleep(900)"]
    LocalMachine().start(Job(run=Path(folder), command=sleeping))
    time.sleep(900)
