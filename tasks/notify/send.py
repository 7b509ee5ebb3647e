"""One push over the wire, by Apprise, in bounded time."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from apprise import Apprise, AppriseAsset

from tasks.notify.message import Push
from tasks.notify.settings import NtfySettings

PAUSES = (1.0, 2.0)  # seconds between the attempts
SOCKET_SECONDS = 4.0
_PRIORITIES = {1: "min", 2: "low", 3: "default", 4: "high", 5: "max"}


class NotSentError(Exception):
    """The server did not take a push; the message says why and holds no secret."""


def send(push: Push, settings: NtfySettings, seconds: float) -> None:
    """Send a push; a failure is tried again twice while there is time.

    The time bounds when an attempt begins and how long its sockets wait; a server that trickles
    can stretch that, so whoever may not wait calls this with :func:`~tasks.notify.bounded.within`.

    Raises:
        NotSentError: no attempt succeeded.
    """
    deadline = time.monotonic() + seconds
    for pause in (*PAUSES, None):
        try:
            return attempt(push, settings, deadline - time.monotonic())
        except NotSentError:
            if pause is None or time.monotonic() + pause >= deadline:
                raise
            time.sleep(pause)


def attempt(push: Push, settings: NtfySettings, seconds: float = 2 * SOCKET_SECONDS) -> None:
    """Send a push, once.

    Raises:
        NotSentError: the server did not take it.
    """
    socket_seconds = min(SOCKET_SECONDS, max(0.2, seconds / 2))
    push = push.fitted()
    with _overheard() as said:
        sender = _sender(push, settings, socket_seconds)
        # Apprise tells a failure by its answer and the reason in its log alone; it never raises.
        sent = sender is not None and sender.notify(title=push.title, body=push.body)
    if not sent:
        reason = " ".join(" ".join(said).split()) or "the server did not take it"
        raise NotSentError(settings.redacted(reason)[:300])


def _sender(push: Push, settings: NtfySettings, socket_seconds: float) -> Apprise | None:
    """Apprise with this one push's destination; None where it does not take the settings."""
    server = urlsplit(settings.server)
    host = server.hostname or ""
    plugin = Apprise.instantiate(
        {
            "schema": "ntfys" if server.scheme == "https" else "ntfy",
            "host": f"[{host}]" if ":" in host else host,
            "port": server.port,
            # In its cloud mode Apprise leaves the token out.
            "mode": "private",
            "targets": [settings.topic],
            "include_image": False,  # an icon from the internet
            "priority": _PRIORITIES[push.priority],
            "xtags": list(push.tags),
            "actions": _actions(push),
            **({"auth": "token", "token": settings.token} if settings.token else {}),
            "cto": socket_seconds,
            "rto": socket_seconds,
        },
        asset=AppriseAsset(async_mode=False, http_redirects=False, secure_logging=True),
    )
    if plugin is None:
        return None
    # It percent-encodes the page once when it sends, and twice what it is given with a URL.
    plugin.click = unquote(push.click) if push.click else None  # type: ignore[attr-defined]
    sender = Apprise()
    sender.add(plugin)
    return sender


def _actions(push: Push) -> str | None:
    """Buttons in ntfy's JSON form: in its short one, commas and semicolons of a URL separate."""
    if not push.actions:
        return None
    return json.dumps(
        [{"action": "view", "label": one.label, "url": one.url} for one in push.actions]
    )


class _Overheard(logging.Filter):
    """Keeps what Apprise says in one thread, and keeps it from every log: it names the topic."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()
        self.said: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self.thread:
            return True
        if record.levelno >= logging.WARNING:
            self.said.append(record.getMessage())
        return False


@contextmanager
def _overheard() -> Iterator[list[str]]:
    logger, ear = logging.getLogger("apprise"), _Overheard()
    logger.addFilter(ear)
    try:
        yield ear.said
    finally:
        logger.removeFilter(ear)
