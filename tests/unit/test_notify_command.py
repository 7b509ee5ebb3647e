"""``cft notify`` as a person types it, and that the project declares it and its block."""

import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cft.errors import CftError
from cft.home import Home
from deployments.cli.notifying import notify_command
from tasks.notify import Push
from tasks.notify.outbox import Outbox
from tests.ntfy import Sink, serve_ntfy

TOPIC, TOKEN = "hidden-topic-4711", "tk_hidden0815"


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sink]:
    # Prefect has read its settings already; what the verb sets for a fresh process is undone.
    monkeypatch.setattr("flows.environment.environment_of", lambda home: {})
    monkeypatch.setenv("CFT_HOME", str(tmp_path / "home"))
    with serve_ntfy() as sink:
        sink.token = TOKEN
        monkeypatch.setenv("CFT_NTFY_URL", sink.url)
        monkeypatch.setenv("CFT_NTFY_TOPIC", TOPIC)
        monkeypatch.setenv("CFT_NTFY_TOKEN", TOKEN)
        yield sink


def test_it_rings(sink: Sink, tmp_path: Path) -> None:
    Outbox(Home(tmp_path / "home")).put(Push("waited", "b"), "k")
    done = CliRunner().invoke(notify_command, ["धर्मः", "--title", "t", "--priority", "5"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"sent to {sink.url} in ")
    assert done.output.endswith(" s, and 1 that waited\n")
    first, second = sink.received
    assert (first.topic, first.title, first.message, first.priority) == (TOPIC, "t", "धर्मः", 5)
    assert second.title == "waited"


def test_it_says_why_it_does_not_ring(sink: Sink) -> None:
    sink.token = "another"
    done = CliRunner().invoke(notify_command, ["text"])
    assert isinstance(done.exception, CftError)
    assert str(done.exception).startswith(f"{sink.url}: not sent (")
    assert "refused" in str(done.exception)
    assert TOPIC not in str(done.exception)
    assert TOKEN not in str(done.exception)


def test_without_a_topic(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CFT_NTFY_URL")
    monkeypatch.delenv("CFT_NTFY_TOPIC")
    monkeypatch.setattr("tasks.notify.settings.from_block", lambda seconds: None)
    done = CliRunner().invoke(notify_command, ["text"])
    assert str(done.exception) == (
        "no topic is configured; set CFT_NTFY_TOPIC, or save a block cft-ntfy named default"
    )


def test_the_project_declares_both(root: Path) -> None:
    points = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    module, _, name = points["cft.commands"]["notify"].partition(":")
    assert getattr(importlib.import_module(module), name) is notify_command
    (block,) = points["prefect.collections"].values()
    assert importlib.import_module(block).NtfyBlock.get_block_type_slug() == "cft-ntfy"
