"""``cft machines``: what can be rented, what is rented, and what nobody wants any more.

The verbs that rent and give back, and those that look at hosts and runs, have files of their own.
"""

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

import click

from cft.home import Home
from deployments.cli.machines_hosts import attach, doctor, logs, stop
from deployments.cli.machines_renting import AS_JSON, BASE_URL, down, up

if TYPE_CHECKING:
    from tasks.machine.provider.clock import RentalClock
    from tasks.machine.provider.ledger import Ledger
    from tasks.machine.provider.protocol import Provider


@click.group()
def machines_command() -> None:
    """Machines: rent and give back, see what runs there, look at a run's log, stop it.

    The key of the provider's API is read from LAMBDA_API_KEY.

    \b
    Examples
      cft machines offers
      cft machines up --instance-types gpu_1x_a10 --max-cost 5
      cft machines list
      cft machines doctor --machine ubuntu@192.0.2.7
      cft machines logs 3f2a --follow
      cft machines down 0123456789ab
    """


for verb in (up, down, doctor, logs, attach, stop):
    machines_command.add_command(verb)


@machines_command.command()
@BASE_URL
@AS_JSON
def offers(base_url: str | None, as_json: bool) -> None:
    """What can be rented now, cheapest first; what is sold out stands last."""
    found = sorted(
        _rental(base_url)[0].offers(),
        key=lambda one: (one.region is None, one.cents_per_hour, one.instance_type),
    )
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in found], indent=2))
        return
    width = max((len(one.instance_type) for one in found), default=4)
    click.echo(f"{'type':{width}}  {'$/h':>7}  GPUs  region")
    for one in found:
        price = f"{one.cents_per_hour / 100:.2f}"
        region = one.region or "(sold out)"
        click.echo(f"{one.instance_type:{width}}  {price:>7}  {one.gpus:>4}  {region}")


@machines_command.command(name="list")
@BASE_URL
@AS_JSON
def list_machines(base_url: str | None, as_json: bool) -> None:
    """Every machine of the account: since when, at what price, with which job, and its verdict.

    Nothing is changed. A verdict of "end" says what a sweep would do.
    """
    _swept(base_url, as_json, act=False)


@machines_command.command()
@click.option("--yes", is_flag=True, help="End them. Without it, only say which.")
@BASE_URL
@AS_JSON
def sweep(yes: bool, base_url: str | None, as_json: bool) -> None:
    """End machines of ours that are past their deadline or cost cap, or that nobody knows of.

    Machines without our mark, or with that of another state folder, are shown and never touched.
    Exits with code 1 when one that was to end is still there, or not all could be seen.
    """
    _swept(base_url, as_json, act=yes)


def _swept(base_url: str | None, as_json: bool, *, act: bool) -> None:
    from tasks.machine.provider.sweep import sweep as swept

    provider, ledger, clock = _rental(base_url)
    report = swept(provider, ledger, clock, dry_run=not act)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.to_markdown())
    if report.still_there or report.problems:
        for row in report.still_there:
            click.echo(
                f"error: {row.id} is still there at ${row.dollars_per_hour:.2f}/h; sweep again, or "
                f"end it at {provider.console_url}",
                err=True,
            )
        sys.exit(1)


def _rental(base_url: str | None) -> "tuple[Provider, Ledger, RentalClock]":
    """The provider, and this state folder's record of what was rented from it."""
    from tasks.machine.provider.clock import SystemRentalClock
    from tasks.machine.provider.lambda_cloud import LambdaCloud, api_key
    from tasks.machine.provider.ledger import ledger_of
    from tasks.machine.provider.settings import LambdaSettings

    settings = LambdaSettings(base_url=base_url) if base_url else LambdaSettings()
    clock = SystemRentalClock()
    return LambdaCloud(settings, api_key(), clock), ledger_of(Home.from_environment()), clock
