"""The verb ``cft notify``: a push by hand, so that a person can check the topic."""

import time

import click

from cft.errors import CftError
from cft.home import Home


@click.command()
@click.argument("text")
@click.option("--title", default="cft", show_default=True, help="Title of the notification.")
@click.option(
    "--priority",
    type=click.IntRange(1, 5),
    default=3,
    show_default=True,
    help="1 is silent, 5 insists.",
)
def notify_command(text: str, title: str, priority: int) -> None:
    """Push TEXT to the phone, and what is still waiting to be sent.

    Server, topic and token are those of the flows: CFT_NTFY_URL, CFT_NTFY_TOPIC and CFT_NTFY_TOKEN,
    or else the block cft-ntfy/default on the Prefect server.

    \b
    Examples
      cft notify "धर्मः"
      CFT_NTFY_TOPIC=my-long-topic cft notify "does it ring?" --priority 5
    """
    click.echo(push_now(text, title, priority))


def push_now(text: str, title: str, priority: int) -> str:
    """Send a push and what waits; returns what was done, in words.

    Raises:
        CftError: no topic is configured, or the server did not take it.
    """
    from flows.environment import prepare_environment

    home = Home.from_environment()
    prepare_environment(home)

    from tasks.notify import Push, flush_outbox
    from tasks.notify.bounded import within
    from tasks.notify.send import NotSentError, send
    from tasks.notify.settings import HOW, SettingsUnknownError, find_settings

    try:
        # Without a server of its own, Prefect starts one to look for the block.
        settings = find_settings(120)
    except SettingsUnknownError as error:
        raise CftError(f"{error}; start the Prefect server, or set CFT_NTFY_TOPIC") from None
    if settings is None:
        raise CftError(f"no topic is configured; {HOW}")
    began = time.monotonic()
    try:
        within(12, send, Push(title, text, priority, ("cft",)), settings, 10)
    except (NotSentError, TimeoutError) as error:
        raise CftError(f"{settings.server}: not sent ({error}); check it and the token") from None
    sent = f"sent to {settings.server} in {time.monotonic() - began:.1f} s"
    waited = flush_outbox(home)
    return f"{sent}, and {waited} that waited" if waited else sent
