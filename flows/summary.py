"""What a finished two-stage run shows on the terminal."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from cft.evaluation.report import duration
from cft.evaluation.result import load_result
from cft.evaluation.table import rich_table, verdict
from cft.home import Home
from cft.recipe import Recipe
from cft.tracking.runs import PENDING


def show(recipe: Recipe, result: dict[str, Any], console: Console | None = None) -> None:
    """Print the table, the verdict, the steps, where the results lie and how to see them."""
    console = console or console_of()
    evaluations = {
        name: load_result(Path(folder)).evaluation for name, folder in result["evaluations"].items()
    }
    note = result["contamination"]
    texts = "CONTAMINATED texts" if note else "held-out texts"
    console.print(rich_table(evaluations, title=f"Recipe {recipe.name}, {texts}"))
    for line in [
        *([note, ""] if note else []),
        verdict(evaluations),
        "",
        *lines_of(result, Home.from_environment()),
    ]:
        # Long commands must stay in one piece for the clipboard.
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def console_of() -> Console:
    """The terminal; in a file there is no width to keep to, and a table cut short says nothing."""
    return Console(width=None if sys.stdout.isatty() else 120)


def lines_of(result: dict[str, Any], home: Home) -> list[str]:
    """Steps, places and commands of a run as lines of text."""
    lines = step_lines(result)
    lines += [
        "",
        f"Registered   {result['model']} version {result['version'] or PENDING} (alias candidate)",
        f"Adapter      {result['adapters']['stage2']}",
        f"Report       {result['report']}",
        f"Page         {result['page']}",
        "",
        "See this run",
        *up_lines(home),
        *prefect_lines(result, home),
        *mlflow_lines(result, home),
    ]
    return lines


def step_lines(result: dict[str, Any]) -> list[str]:
    """The steps of a run and how long each took."""
    lines = ["Steps"]
    for step in result["steps"]:
        what = "reused" if step["reused"] else duration(step["seconds"])
        lines.append(f"  {step['name']:<20} {what}")
    lines.append(f"  {'in all':<20} {duration(result['seconds'])}")
    return lines


def up_lines(home: Home) -> list[str]:
    """How to start what shows the run, where the stack of this state folder would do."""
    own = "PREFECT_API_URL" in os.environ or not _in_state_folder(home)
    return [] if own else [f"  {_program('cft')} up"]


def prefect_lines(result: dict[str, Any], home: Home) -> list[str]:
    """How to open the flow run in Prefect's UI."""
    page = f"runs/flow-run/{result['flow_run_id']}"
    if server := os.environ.get("PREFECT_API_URL"):
        return [f"  {server.rstrip('/').removesuffix('/api')}/{page}"]
    there = [f"  http://127.0.0.1:4200/{page}"]
    if _in_state_folder(home):
        return there
    place = shlex.quote(os.environ["PREFECT_HOME"])
    return [f"  PREFECT_HOME={place} {_program('prefect')} server start", *there]


def mlflow_lines(result: dict[str, Any], home: Home) -> list[str]:
    """How to open the run in MLflow's UI."""
    if result["mlflow_run_id"] is None:
        return ["  MLflow did not answer; all is kept, and is sent when it does"]
    page = f"#/experiments/{result['mlflow_experiment_id']}/runs/{result['mlflow_run_id']}"
    uri = home.tracking_uri
    if uri.startswith(("http://", "https://")):
        return [f"  {uri.rstrip('/')}/{page}"]
    there = [f"  http://127.0.0.1:5000/{page}"]
    if uri == home.local_tracking_uri and up_lines(home):
        return there
    return [f"  {_program('mlflow')} ui --backend-store-uri {shlex.quote(uri)}", *there]


def _in_state_folder(home: Home) -> bool:
    """Whether Prefect's own database lies where `cft up` looks for it."""
    return os.environ.get("PREFECT_HOME") in (None, "", str(home.prefect))


def _program(name: str) -> str:
    """A program of this environment, as short as it can be typed from here."""
    path = Path(sys.executable).parent / name
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return shlex.quote(str(path)) if path.exists() else name
