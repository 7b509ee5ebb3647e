"""One push over the wire: what a phone gets; a failure holds nobody up and betrays nothing."""

import logging
import socket
import time
from collections.abc import Iterator

import pytest

from tasks.notify.bounded import within
from tasks.notify.message import Action, Push
from tasks.notify.send import NotSentError, attempt, send
from tasks.notify.settings import NtfySettings
from tests.ntfy import Sink, serve_ntfy

TOPIC, TOKEN = "secret-topic-4711", "tk_secret0815"
RUN = "http://127.0.0.1:4200/runs/flow-run/5b3e6a0c-8d0e-4d6c-9c8e-0a1b2c3d4e5f"
PAGE = "http://127.0.0.1:5000/#/experiments/1/runs/abc?metrics=a,b;step=1&name=%E0%A4%A7"
PUSH = Push(
    title="two-stage completed: धर्मः “pilot”, 🎉",
    body="4 min 12 s, exit code 0\nSanskrit → English MRR 0.251 (champion 0.233, +0.018)",
    priority=4,
    tags=("white_check_mark", "cft"),
    click=RUN,
    actions=(Action("MLflow", PAGE), Action("धर्मः; a, b", RUN)),
)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with serve_ntfy() as sink:
        yield sink


@pytest.fixture
def settings(sink: Sink) -> NtfySettings:
    return NtfySettings(sink.url, TOPIC, TOKEN)


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """At every level of every logger neither topic nor token may be found."""
    caplog.set_level(1)
    yield
    caplog.set_level(1)
    said = "\n".join(record.getMessage() for record in caplog.get_records("call"))
    assert TOPIC not in said
    assert TOKEN not in said


def test_what_arrives(sink: Sink, settings: NtfySettings) -> None:
    send(PUSH, settings, 5)
    (got,) = sink.received
    assert (got.topic, got.title, got.message) == (TOPIC, PUSH.title, PUSH.body)
    assert (got.priority, set(got.tags), got.click) == (4, {"white_check_mark", "cft"}, RUN)
    assert [one["action"] for one in got.actions] == ["view", "view"]
    assert got.url_of("MLflow") == PAGE
    assert got.url_of("धर्मः; a, b") == RUN
    assert got.token == TOKEN
    assert "x-icon" not in got.headers, "an icon from the internet"


def test_without_a_token_none_is_sent(sink: Sink) -> None:
    send(Push("t", "b", priority=3), NtfySettings(sink.url, TOPIC), 5)
    (got,) = sink.received
    assert "authorization" not in got.headers
    assert (got.priority, got.tags, got.click, got.actions) == (3, [], None, [])


def test_an_escaped_page_is_not_escaped_twice(sink: Sink, settings: NtfySettings) -> None:
    page = "http://h/a%20b/%E0%A4%A7?x=1&y=2#/z"
    send(Push("t", "b", click=page), settings, 5)
    assert sink.received[0].click == page


def test_the_longest_body_arrives_as_a_message(sink: Sink, settings: NtfySettings) -> None:
    send(Push("ध" * 400, "ध" * 9000), settings, 5)
    (got,) = sink.received
    assert got.message.endswith("…")


@pytest.mark.parametrize("priority", [1, 2, 3, 4, 5])
def test_priorities(sink: Sink, settings: NtfySettings, priority: int) -> None:
    attempt(Push("t", "b", priority=priority), settings)
    assert sink.received[0].priority == priority


def test_a_failure_is_tried_again(sink: Sink, settings: NtfySettings) -> None:
    sink.statuses = [500, 503]
    began = time.monotonic()
    send(PUSH, settings, 10)
    assert len(sink.received) == 1
    assert sink.requests == 3
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("status", [500, 429, 403])
def test_a_server_that_refuses(sink: Sink, settings: NtfySettings, status: int) -> None:
    sink.statuses = [status] * 9
    with pytest.raises(NotSentError) as error:
        send(PUSH, settings, 2)
    assert "refused" in str(error.value)
    assert TOPIC not in str(error.value)
    assert 1 < sink.requests <= 3


def test_a_wrong_token(sink: Sink, settings: NtfySettings) -> None:
    sink.token = "tk_another"
    with pytest.raises(NotSentError, match="refused"):
        send(PUSH, settings, 1)


def test_a_redirect_is_not_followed(sink: Sink, settings: NtfySettings) -> None:
    sink.statuses = [302, 302, 302]
    with pytest.raises(NotSentError):
        send(PUSH, settings, 1)


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(NotSentError, match="Connection error") as error:
        send(PUSH, NtfySettings(url, TOPIC, TOKEN), 3)
    assert TOPIC not in str(error.value)
    assert time.monotonic() - began < 9


def test_a_socket_that_never_answers(sink: Sink, settings: NtfySettings) -> None:
    sink.hang = True
    began = time.monotonic()
    with pytest.raises(NotSentError):
        send(PUSH, settings, 3)
    assert time.monotonic() - began < 9


def test_a_server_that_trickles_holds_nobody(sink: Sink, settings: NtfySettings) -> None:
    sink.trickle = True
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="not done within 2 s"):
        within(2, send, PUSH, settings, 2)
    assert time.monotonic() - began < 8


def test_others_may_use_apprise_meanwhile(caplog: pytest.LogCaptureFixture, sink, settings) -> None:
    sink.hang = True
    with pytest.raises(TimeoutError):
        within(0.3, attempt, PUSH, settings)
    logging.getLogger("apprise").warning("of somebody else")
    assert "of somebody else" in caplog.text


def test_work_in_bounds() -> None:
    assert within(5, lambda value: value + 1, 1) == 2
    with pytest.raises(KeyError, match="it"):
        within(5, {}.__getitem__, "it")
