"""What `cft deploy` prints."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from deployments.deploy.change import Change

NEXT = """
Start a worker where the runs shall be (one for each pool that this machine serves):
  prefect worker start --pool cpu --type process"""


def show(changes: Iterable[Change]) -> None:
    """Print each thing and what became of it, and what to do next."""
    table = Table(title="Deployed", title_justify="left")
    for name in ("what", "name", "state"):
        table.add_column(name)
    for one in changes:
        table.add_row(one.kind, one.name, one.what)
    console = Console()
    console.print(table)
    console.print(NEXT, soft_wrap=True, markup=False, highlight=False)
