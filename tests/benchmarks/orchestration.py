"""Orchestration: what a flow costs beside its steps, and many flows at once on two databases.

The job is the pilot's recipe, as a flow in a process of its own with a server of its own, and as
plain calls. The many are 24 flows of 20 tasks, eight at a time: what a nightly round of evaluations
asks of the server.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from cft.cli.recipes import find_recipe
from tests.integration.server import free_port, serving
from tests.postgres import postgres, program, url

FLOWS, TASKS, AT_ONCE = 24, 20, 8

CLIENT = f"""
import collections, concurrent.futures, time
from prefect import flow, task

@task
def add(number: int) -> int:
    return number + 1

@flow
def chain() -> int:
    number = 0
    for _ in range({TASKS}):
        number = add(number)
    return number

started = time.perf_counter()
with concurrent.futures.ThreadPoolExecutor({AT_ONCE}) as pool:
    states = [pool.submit(chain, return_state=True) for _ in range({FLOWS})]
    ended = collections.Counter(one.result().name for one in states)
print(round(time.perf_counter() - started, 2), *[f"{{k}}={{v}}" for k, v in ended.items()])
"""


FLOW = """
import json, sys
from pathlib import Path
from cft.home import Home
from cft.recipe import validated
from flows.environment import prepare_environment
prepare_environment(Home.from_environment())
from flows.two_stage import two_stage
two_stage(validated(json.loads(Path(sys.argv[1]).read_text("utf-8")), "recipe"))
"""


def main(backbone: Path | None, rows: int | None = None) -> None:
    """Print the job's seconds both ways, and seconds and endings of many flows on each database.

    Args:
        backbone: not used; the job makes its own.
        rows: steps of stage 1 and of the nano backbone instead of the pilot's 400 and 240; the
            overhead weighs the more.
    """
    one_job(rows)
    many_flows()


def one_job(steps: int | None) -> None:
    """The pilot as a flow and in plain Python, each in an empty state folder."""
    recipe = find_recipe("pilot")
    if steps:
        stage1 = recipe.stage1.model_copy(update={"max_steps": steps, "warmup_steps": steps // 4})
        nano = recipe.model.nano.model_copy(update={"max_steps": steps})
        model = recipe.model.model_copy(update={"nano": nano})
        recipe = recipe.model_copy(update={"stage1": stage1, "model": model})
    seconds = {}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "recipe.json"
        file.write_text(json.dumps(recipe.model_dump(mode="json")), "utf-8")
        ways = {"plain": ["-m", "tests.benchmarks.plain"], "flow": ["-c", FLOW]}
        for name, way in ways.items():
            env = {key: one for key, one in os.environ.items() if not key.startswith("PREFECT_")}
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, *way, str(file)], capture_output=True, text=True,
                env=env | {"CFT_HOME": str(Path(scratch) / name)},
            )  # fmt: skip
            seconds[name] = time.perf_counter() - started
            assert done.returncode == 0, done.stderr[-2000:]
    print("| the pilot | seconds |\n|---|---|")
    print(f"| its steps in plain Python | {seconds['plain']:.1f} |")
    print(f"| as a flow, server included | {seconds['flow']:.1f} |")
    print(f"\nratio {seconds['flow'] / seconds['plain']:.3f}\n")


def many_flows() -> None:
    """24 flows of 20 tasks at once on each database."""
    print("| database | seconds | ended as | server's errors |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        place.chmod(0o755)  # PostgreSQL runs as another user
        print(_row("SQLite", place / "sqlite", None))
        if program("initdb") is None:
            print("\nPostgreSQL: not run, it is not installed here")
            return
        with postgres(place / "postgres") as port:
            print(_row("PostgreSQL", place / "server", url(port)))


def _row(name: str, home: Path, database: str | None) -> str:
    home.mkdir()
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    env = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")} | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "DO_NOT_TRACK": "1",
    }
    if database is not None:
        env["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
    log = home / "server.log"
    command = f"exec {sys.executable} -m prefect server start --port {port} >{log} 2>&1"
    with serving(command, home, env, f"{api}/health"):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", CLIENT], cwd=home, env=env, capture_output=True, text=True,
            timeout=900,
        )  # fmt: skip
        whole = time.perf_counter() - started
        # Before it is stopped, which cuts off what it just does and has its own errors.
        said = log.read_text(encoding="utf-8", errors="replace")
    if done.returncode != 0:
        return f"| {name} | {whole:.1f} | failed: {done.stderr.strip().splitlines()[-1]} | |"
    seconds, *ended = done.stdout.split()
    errors = Counter(
        re.findall(r"database is locked|\" 503 |^[\w.]+(?:Error|Exception)\b", said, re.M)
    )
    shown = ", ".join(f"{count} x {kind}" for kind, count in errors.items()) or "none"
    return f"| {name} | {seconds} | {' '.join(ended)} | {shown} |"
