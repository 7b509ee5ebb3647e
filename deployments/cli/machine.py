"""The flags that say where a training runs, and what a rented machine may cost."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tasks.machine.settings import MachineSettings

_RENT = {
    "max_price_per_hour": ("--max-price-per-hour", "US dollars per hour of a rented machine."),
    "max_cost": ("--max-cost", "US dollars of the whole rental; then it is given back."),
    "max_duration_hours": ("--max-duration-hours", "Hours of the whole rental; then given back."),
}


def rent_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The wish and the caps of a rental, as ``machine_...`` flags."""
    for name, (flag, text) in reversed(_RENT.items()):
        command = click.option(flag, f"machine_{name}", type=float, metavar="X", help=text)(command)
    return click.option(
        "--instance-types",
        "machine_instance_types",
        metavar="A,B",
        help="Types of machines to rent, the preferred one first.",
    )(command)


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--machine`` and the caps; the command gets them as ``machine``, a dictionary of flags."""
    return click.option(
        "--machine",
        "machine_word",
        default="local",
        show_default=True,
        metavar="local|lambda|USER@HOST|FILE",
        help="Where it trains: here, on a rented machine, on a host of yours, or as a YAML file "
        "says.",
    )(rent_options(command))


def taken_machine(flags: dict[str, Any]) -> "MachineSettings":
    """The machine of the flags, which are taken out of ``flags``.

    Raises:
        CftError: it cannot be understood, or a cap is out of range.
    """
    from cft.recipe import validated
    from tasks.machine.settings import MachineSettings, machine_from

    machine = machine_from(flags.pop("machine_word"))
    given = {name: flags.pop(f"machine_{name}") for name in (*_RENT, "instance_types")}
    rent = {name: value for name, value in given.items() if value is not None}
    if not rent:
        return machine
    if "instance_types" in rent:
        rent["instance_types"] = tuple(one.strip() for one in rent["instance_types"].split(","))
    values = machine.model_dump()
    values["rent"] |= rent
    return validated(values, "--machine", MachineSettings)
