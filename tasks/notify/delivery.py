"""From a push to a phone: kept, sent, tried again later; never a reason for a run to wait or fail.

A push is written to the outbox before it is sent. What cannot be sent in time stays there, and
goes with a later push or with :func:`flush_outbox`.
"""

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cft.errors import CftError, one_line
from cft.home import Home
from tasks.notify.bounded import within
from tasks.notify.message import Push
from tasks.notify.outbox import Outbox, Waiting
from tasks.notify.send import NotSentError, attempt, send
from tasks.notify.settings import HOW, NtfySettings, SettingsUnknownError, find_settings

logger = logging.getLogger("cft.notify")

PUSH_SECONDS = 12.0
FLUSH_SECONDS = 60.0
LATE_SECONDS = 300.0  # a push that comes later than this says when it happened


def push(
    message: Push,
    key: str,
    *,
    home: Home | None = None,
    seconds: float = PUSH_SECONDS,
    say: Any = logger,
) -> bool:
    """Push ``message`` once under its key, now or later. Never raises.

    Args:
        message: what is pushed.
        key: of two pushes with the same key the first is sent, once.
        home: the state folder; that of the environment by default.
        seconds: how long this may take; what is not sent by then is kept.
        say: logger that is told what became of it.

    Returns:
        Whether it was sent, by this call or before.
    """
    place = home or Home.from_environment()
    try:
        return within(seconds, _push, message, key, Outbox(place), seconds, say)
    except TimeoutError as error:
        say.warning("push %s: %s; it is sent later", key, error)
    except Exception as error:  # whatever it is, a run is worth more than a push
        say.warning("push %s: %s", key, one_line(error))
    return False


def flush_outbox(home: Home, seconds: float = FLUSH_SECONDS) -> int:
    """Send what is waiting, each push once, and forget what is old. Never raises.

    Returns:
        How many pushes this call has sent.
    """
    outbox, sent = Outbox(home), list[str]()
    try:
        if unsent := outbox.discard_old():
            logger.warning("%d pushes could not be sent for two weeks and are given up", unsent)
        if outbox.waiting() and (settings := find_settings()) is not None:
            within(seconds, _flush, outbox, settings, seconds, sent)
    except Exception as error:
        logger.warning("pushes that wait: %s", one_line(error))
    return len(sent)


def _push(message: Push, key: str, outbox: Outbox, seconds: float, say: Any) -> bool:
    deadline = time.monotonic() + seconds
    try:
        settings = find_settings(min(4.0, seconds / 2))
    except (SettingsUnknownError, CftError) as error:
        outbox.put(message.fitted(), key)
        say.warning("push %s: %s; it is sent later", key, error)
        return False
    if settings is None:
        say.info("nothing is pushed to a phone: no topic is configured (%s)", HOW)
        return False
    try:
        path = outbox.put(message.fitted(), key)
    except OSError as error:  # a full disk is worth a push itself
        say.warning("push %s: the outbox cannot be written (%s)", key, one_line(error))
        send(message, settings, deadline - time.monotonic())
        return True
    with outbox.claimed(path) as one:
        if one is not None:
            try:
                send(_dated(one), settings, deadline - time.monotonic())
            except NotSentError as error:
                say.warning("push %s: not sent (%s); it is sent later", key, error)
                return False
            outbox.mark_sent(path)
    # The server answers: what an outage has left goes now, in what is left of the time.
    _flush(outbox, settings, min(3.0, deadline - time.monotonic() - 1), [])
    return outbox.sent(path)


def _flush(outbox: Outbox, settings: NtfySettings, seconds: float, sent: list[str]) -> None:
    """One attempt for each push that waits, while there is time."""
    deadline = time.monotonic() + seconds
    for path in outbox.waiting():
        if time.monotonic() >= deadline:
            return
        with outbox.claimed(path) as one:
            if one is None:
                continue
            try:
                attempt(_dated(one), settings, deadline - time.monotonic())
            except NotSentError as error:
                logger.warning("push %s: not sent (%s); it is sent later", one.key, error)
                continue
            outbox.mark_sent(path)
            sent.append(one.key)


def _dated(one: Waiting) -> Push:
    """The push, with the time of what it tells where that is past."""
    if time.time() - one.written < LATE_SECONDS:
        return one.push
    when = datetime.fromtimestamp(one.written, UTC)
    note = f"Happened at {when:%Y-%m-%d %H:%M} UTC; could not be sent sooner."
    return replace(one.push, body=f"{note}\n{one.push.body}")
