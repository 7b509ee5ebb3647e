"""Small flows with the project's hooks, for tests of what they push."""

import os
import sys
import time

from prefect import flow
from prefect.runtime import flow_run

from cft.errors import CftError
from cft.files import write_atomic
from cft.home import Home
from flows.hooks import hooks
from tasks.machine.job import Job
from tasks.machine.local import LocalMachine


@flow(name="waits", flow_run_name="{title}", **hooks())
def waits(title: str = "waits") -> None:
    """Start a job that outlives this process, tell who runs, and wait."""
    here = Home.from_environment().runs / str(flow_run.id)
    LocalMachine().start(
        Job(here / "stage1", [sys.executable, "-c", "import time; time.sleep(600)"])
    )
    write_atomic(here / "pid", str(os.getpid()))
    time.sleep(600)


@flow(name="refuses", flow_run_name="{title}", **hooks())
def refuses(title: str = "refuses") -> None:
    """Fail at the first attempt, complete at the next."""
    if flow_run.run_count == 1:
        raise CftError("train.tsv: row 3, field sent1: empty\nfill it\nand run again")
