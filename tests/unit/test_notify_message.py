"""A push within what ntfy and Apprise take."""

import json

import pytest

from tasks.notify.message import BODY_BYTES, ESCAPED_BYTES, TITLE_LENGTH, Action, Push, ascii_url


def test_a_push_that_fits_stays_as_it_is() -> None:
    push = Push(
        title="धर्मः completed: sarvam",
        body="MRR 0.251\nधर्मो रक्षति रक्षितः",
        priority=4,
        tags=("x", "two-stage"),
        click="http://127.0.0.1:4200/runs/flow-run/0f",
        actions=(Action("MLflow", "http://h/#/experiments/1/runs/2?a=1,2;b=3"),),
    )
    assert push.fitted() == push
    assert Push.from_json(json.loads(json.dumps(push.to_json()))) == push


@pytest.mark.parametrize("letter", ["a", "ध", "🎉"])
def test_a_long_one_is_cut_before_it_becomes_a_file(letter: str) -> None:
    push = Push(title=letter * 500, body=letter * 9000).fitted()
    assert push.body.endswith("…")
    assert len(push.body.encode()) <= BODY_BYTES
    assert len(json.dumps(push.body)) <= ESCAPED_BYTES
    assert len(push.title) <= TITLE_LENGTH
    published = {"topic": "t" * 64, "title": push.title, "message": push.body}
    assert len(json.dumps(published)) < 8000
    assert len(push.body) > 400, "no more is cut than must be"


def test_what_a_terminal_printed_becomes_text() -> None:
    push = Push("a\nb\x00", "\x1b[31mloss\x1b[0m is nan\r\nlast \ud800 line\x07").fitted()
    assert push.title == "a b"
    assert push.body == "loss is nan\nlast ? line"


def test_out_of_range() -> None:
    push = Push("t", "", priority=9, tags=("two words", "", "ok"), actions=(Action("a", "u"),) * 5)
    fitted = push.fitted()
    assert (fitted.body, fitted.priority, fitted.tags) == ("t", 5, ("ok",))
    assert len(fitted.actions) == 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://h/#/a/1?x=1,2;y=%20", "http://h/#/a/1?x=1,2;y=%20"),
        ("http://h/ध a", "http://h/%E0%A4%A7%20a"),
    ],
)
def test_urls_are_ascii(given: str, expected: str) -> None:
    assert ascii_url(given) == expected
