"""A benchmark that is killed between tasks goes on with the task that it was at."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cft.evaluation.benchmarks.run import run_tasks
from cft.evaluation.benchmarks.tasks import ENGLISH, requests
from cft.evaluation.mteb_encoder import MtebEncoder
from tests.benchmark_data import NamedTrigrams, sts_rows, write_rows

pytestmark = pytest.mark.integration
TASKS = ("STS12", "STS13", "STS14")
SLOW = """
import sys, time
from pathlib import Path
from cft.evaluation.benchmarks.run import run_tasks
from cft.evaluation.benchmarks.tasks import ENGLISH, requests
from cft.evaluation.mteb_encoder import MtebEncoder
from tests.benchmark_data import NamedTrigrams

class Slow(NamedTrigrams):
    def encode(self, texts, **options):
        if len(self.calls) == 3:  # in the middle of the second task
            print("waiting", flush=True)
            time.sleep(600)
        return super().encode(texts, **options)

run_tasks(MtebEncoder(Slow(), progress=False), requests(sys.argv[3:], ENGLISH), benchmark="sts",
          output=Path(sys.argv[1]), data=Path(sys.argv[2]))
"""


def test_a_killed_benchmark_goes_on_where_it_was(tmp_path, root):
    for place, name in enumerate(TASKS):
        write_rows(tmp_path / "data" / name / "test.tsv", sts_rows(place + 2))
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path / "out"), str(tmp_path / "data"), *TASKS],
        cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    (kept,) = (tmp_path / "out").rglob("STS*.json")
    written = kept.stat().st_mtime_ns
    time.sleep(0.01)
    encoder = NamedTrigrams()
    result = run_tasks(
        MtebEncoder(encoder, progress=False),
        requests(TASKS, ENGLISH),
        benchmark="sts",
        output=tmp_path / "out",
        data=tmp_path / "data",
        progress=False,
    )
    assert [row.state for row in result.rows] == ["kept", "run", "run"]
    assert len(encoder.calls) == 4
    assert kept.stat().st_mtime_ns == written
    fresh = run_tasks(
        MtebEncoder(NamedTrigrams(), progress=False),
        requests(TASKS, ENGLISH),
        benchmark="sts",
        output=tmp_path / "fresh",
        data=tmp_path / "data",
        progress=False,
    )
    assert fresh.metrics() == result.metrics()
