"""``cft machines up`` and ``down``: a rented machine for a person, and its end."""

import contextlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cft.errors import CftError
from cft.home import Home
from deployments.cli.machine import rent_options, taken_machine

if TYPE_CHECKING:
    from tasks.machine.hire import Hire
    from tasks.machine.provider.ledger import Entry
    from tasks.machine.rental import Rental
    from tasks.machine.settings import MachineSettings

BASE_URL = click.option(
    "--base-url", metavar="URL", help="Of the provider's API. Default: Lambda Cloud's own."
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON in place of a table.")
YES = click.option("--yes", is_flag=True, help="Do not ask.")
API = "PREFECT_API_URL"
SHOWN = 5  # offers


@click.command()
@rent_options
@click.option(
    "--machine",
    "machine_word",
    default="lambda",
    metavar="FILE",
    help="A YAML file with a machine's settings, of kind lambda: regions, image, user, key.",
)
@YES
@BASE_URL
def up(yes: bool, base_url: str | None, **flags: Any) -> None:
    """Rent a machine for yourself, wait until it lets you in, and say how.

    It runs, and costs, until `cft machines down`, or until a sweep finds it past its caps; where
    nothing sweeps, that is said before you are asked. While it boots, Ctrl-C gives it back.

    \b
    Examples
      cft machines up --instance-types gpu_1x_a10 --max-cost 5 --max-duration-hours 4
      cft machines up --machine rented.yaml --yes
    """
    from tasks.machine.hire import hire_of
    from tasks.machine.rental import as_own_machine, cron_line, offers_for, rent_for_person

    machine, home = _with_url(taken_machine(flags), base_url), Home.from_environment()
    if machine.kind != "lambda":
        raise CftError(f"machine: of kind {machine.kind}, and only machines of Lambda are rented")
    hire, caps = hire_of(home, machine), machine.rent
    offers = offers_for(hire, machine)
    click.echo("What would do, the first one first:")
    for one in offers[:SHOWN]:
        click.echo(f"  {one}")
    if not offers:
        minutes = caps.capacity_seconds / 60
        click.echo(f"  sold out at the moment; it is asked for again for {minutes:.0f} minutes")
    why = _unswept(home)
    click.echo(
        f"Caps: ${caps.max_price_per_hour:.2f}/h, ${caps.max_cost:.2f} and "
        f"{caps.max_duration_hours:g} h in all{'.' if why else '; past them a sweep ends it.'}"
    )
    if why:
        click.echo(
            f"Nothing here is known to end it at its caps: {why}. Give it back yourself, run `cft "
            f"up` with the key, or put this into a crontab:\n  {cron_line(home, machine)}"
        )
    if not yes:
        click.confirm("Rent one?", abort=True)
    _say("it is paid for from now on; Ctrl-C while it boots gives it back")
    before = {one.key for one in hire.ledger.entries().readable}
    try:
        with _signals_as_interrupts():
            entry, host = rent_for_person(hire, home, machine, _say)
    except KeyboardInterrupt:
        left = [
            one.key
            for one in hire.ledger.entries().readable
            if one.open and not one.job and one.key not in before
        ]
        for key in left:
            _say(f"interrupted, and it may be there still: cft machines down {key}")
        if not left:
            _say("interrupted; nothing is rented")
        sys.exit(130)
    from tasks.machine.login import ssh_words

    login, file = shlex.join(ssh_words(host)), as_own_machine(home, machine, entry, host)
    _show_rented(entry, login, shlex.quote(str(file)))


@click.command()
@click.argument("names", metavar="KEY|INSTANCE_ID...", nargs=-1, required=True)
@YES
@click.option("--force", is_flag=True, help="Although a job that lives has it.")
@BASE_URL
def down(names: tuple[str, ...], yes: bool, force: bool, base_url: str | None) -> None:
    """Give machines back, and wait until the provider says that they are gone.

    Only machines of this state folder's ledger: what others rented is left to them.

    \b
    Examples
      cft machines down 0123456789ab
      cft machines down 0123456789ab fedcba987654 --yes
    """
    from tasks.machine.hire import hire_of
    from tasks.machine.provider.ledger import ledger_of
    from tasks.machine.rental import find_rental, release_rental, require_free

    home = Home.from_environment()
    ledger = ledger_of(home)
    found = {one.entry.key: one for one in (find_rental(home, ledger, name) for name in names)}
    todo: list[tuple[Hire, Rental]] = []
    for rental in found.values():
        entry = rental.entry
        if not entry.open:
            _say(f"{entry.key}: is gone already ({entry.note or 'released'})")
            continue
        require_free(rental, force=force)
        hire = hire_of(home, _with_url(rental.machine, base_url))
        todo.append((hire, rental))
        what = f"the run {entry.job}" if entry.job else "no run"
        click.echo(
            f"{entry.key}: {entry.instance_id or 'no machine known'}, {entry.instance_type} at "
            f"${entry.cents_per_hour / 100:.2f}/h, since {_moment(entry.born)}, "
            f"${rental.dollars(hire.clock.time()):.2f} until now, for {what}"
        )
    if todo and not yes:
        click.confirm("Give back?", abort=True)
    failed = False
    for hire, rental in todo:
        try:
            ended = release_rental(hire, rental, _say, force=force)
        except CftError as error:  # one machine's trouble is not another's
            click.echo(f"error: {error}", err=True)
            failed = True
        else:
            cost = type(rental)(ended, rental.machine, False).dollars(hire.clock.time())
            click.echo(f"{ended.key}: gone, after ${cost:.2f}")
    if failed:
        sys.exit(1)


def _unswept(home: Home) -> str | None:
    """Why nothing sweeps here; None: the server that a run would speak to does."""
    from flows.environment import prepare_environment
    from flows.living_stack import addresses

    if not (os.environ.get(API) or addresses(home)):
        return "no Prefect server is configured, and `cft up` does not run"
    prepare_environment(home)
    from tasks.swept import unswept

    return unswept(home)


def _with_url(machine: "MachineSettings", base_url: str | None) -> "MachineSettings":
    if base_url is None:
        return machine
    cloud = machine.cloud.model_copy(update={"base_url": base_url})
    return machine.model_copy(update={"cloud": cloud})


def _show_rented(entry: "Entry", login: str, file: str) -> None:
    click.echo(
        f"key       {entry.key}\n"
        f"instance  {entry.instance_id}, {entry.instance_type} in {entry.region}\n"
        f"price     ${entry.cents_per_hour / 100:.2f}/h, at most ${entry.max_cost:.2f}\n"
        f"until     {_moment(entry.ends)}\n"
        f"log in    {login}\n"
        f"train     --machine {file}\n"
        f"look      cft machines doctor --machine {entry.key}\n"
        f"give back cft machines down {entry.key}"
    )


def _moment(epoch: float) -> str:
    return f"{datetime.fromtimestamp(epoch, UTC):%F %R} UTC"


def _say(line: str) -> None:
    click.echo(line, err=True)


@contextlib.contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """A closed terminal and a TERM end the block as Ctrl-C does, which gives the machine back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    kinds = (signal.SIGTERM, signal.SIGHUP)
    before = {kind: signal.signal(kind, interrupt) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
