"""The status of the stack for a person."""

import time
from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

COLOURS = {
    "well": "green", "ready": "green", "starting": "yellow", "waiting": "yellow",
    "unwell": "red", "stopping": "yellow", "stopped": "dim", "dead": "red",
}  # fmt: skip


def table(record: Mapping[str, Any], now: float | None = None) -> Table:
    """One line for each service: how it is, since when, and where it is.

    Args:
        record: as the supervisor writes it.
        now: Unix time. None: the present one.
    """
    shown = Table(title=f"cft: {record['state']}", title_justify="left")
    for name in ("service", "state", "for", "restarts", "pid", "address"):
        shown.add_column(name, overflow="fold")
    for one in record["services"]:
        colour = COLOURS.get(one["state"], "white")
        said = escape(f" ({one['said']})") if one["said"] else ""
        shown.add_row(
            one["name"],
            f"[{colour}]{one['state']}[/]{said}",
            lasting((now or time.time()) - one["since"]),
            str(one["restarts"]),
            str(one["pid"] or ""),
            one["url"],
        )
    return shown


def lasting(seconds: float) -> str:
    """A duration by its two largest units."""
    whole = max(0, int(seconds))
    for unit, name, below, lower in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // below} {lower}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def hints(record: Mapping[str, Any]) -> str:
    """Lines that lead other programs to the stack, to be pasted into a shell."""
    return "\n".join(f"export {name}={value}" for name, value in record["clients"].items())
