"""Pushes about rented machines: begun, 80% spent, given back, and loudest, not given back."""

import logging

from cft.errors import one_line
from cft.home import Home
from tasks.machine.provider.alarm import Alarm, log_alarm
from tasks.machine.provider.ledger import Entry
from tasks.notify.delivery import push
from tasks.notify.links import flow_run_page
from tasks.notify.message import Action, Push

logger = logging.getLogger("cft.machine")


def machine_rented(entry: Entry, home: Home | None = None) -> bool:
    """A machine was rented and is ready.

    Returns:
        Whether it was sent; what could not be sent is sent later.
    """
    hours = (entry.ends - entry.born) / 3600
    return _tell(
        "rented",
        f"Rented: {entry.instance_type} at ${entry.cents_per_hour / 100:.2f}/h",
        f"{entry.ip} in {entry.region}. Given back after {hours:.1f} h or ${entry.max_cost:.2f} at "
        "the latest.",
        (3, "rocket"),
        entry,
        home,
    )


def cost_warning(entry: Entry, home: Home | None = None) -> bool:
    """80% of the cost cap are spent. Returns as :func:`machine_rented`."""
    return _tell(
        "spent",
        f"80% of ${entry.max_cost:.2f} spent: {entry.instance_type}",
        f"At ${entry.cents_per_hour / 100:.2f}/h the rest lasts {_rest(entry):.0f} minutes; then "
        "the job is stopped, what it saved is fetched and the machine is given back.",
        (4, "moneybag"),
        entry,
        home,
    )


def _rest(entry: Entry) -> float:
    """Minutes that a fifth of the cost cap lasts."""
    return 0.2 * entry.max_cost * 6000 / max(1, entry.cents_per_hour)


def machine_released(entry: Entry, dollars: float, home: Home | None = None) -> bool:
    """The provider says that the machine is gone. Returns as :func:`machine_rented`."""
    return _tell(
        "released",
        f"Given back: {entry.instance_type}, ${dollars:.2f}",
        f"{entry.instance_id} is gone ({entry.note}).",
        (3, "white_check_mark"),
        entry,
        home,
    )


def release_failed(alarm: Alarm, home: Home | None = None) -> bool:
    """A machine is not gone and goes on costing money; told again, hour by hour, while it is so.

    Returns as :func:`machine_rented`.
    """
    log_alarm(alarm)
    hour = int(alarm.seconds // 3600)
    try:
        return push(
            Push(
                title=f"NOT GIVEN BACK: ${alarm.cents_per_hour / 100:.2f}/h goes on",
                body=str(alarm),
                priority=5,
                tags=("rotating_light", "cft"),
                click=alarm.console_url,
                actions=(Action("Lambda's console", alarm.console_url),),
            ),
            f"machine-{alarm.key}-not-released-{hour}",
            home=home,
            say=logger,
        )
    except Exception as error:  # nothing that happens here may keep a machine
        logger.warning("push of a failed release: %s", one_line(error))
        return False


def _tell(
    what: str,
    title: str,
    body: str,
    style: tuple[int, str],
    entry: Entry,
    home: Home | None,
) -> bool:
    return push(
        Push(
            title=title,
            body=body,
            priority=style[0],
            tags=(style[1], "cft"),
            click=flow_run_page(entry.job) if entry.job else None,
        ),
        f"machine-{entry.key}-{what}",
        home=home,
        say=logger,
    )
