"""Each push once: processes that send at once, servers that are away, senders that are killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cft.home import Home
from tasks.notify import Push, delivery, flush_outbox, push, settings
from tasks.notify.outbox import KEEP_SECONDS, Outbox, name_of
from tasks.notify.settings import SettingsUnknownError
from tests.ntfy import Sink, serve_ntfy
from tests.processes import until

PUSH = Push("two-stage failed: pilot", "exit code 1", priority=4)
KEY = "0f8c-failed-1"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    with serve_ntfy() as sink:
        monkeypatch.setenv("CFT_NTFY_URL", sink.url)
        monkeypatch.setenv("CFT_NTFY_TOPIC", "topic-4711")
        yield sink


def titles(sink: Sink) -> list[str]:
    return [one.title for one in sink.received]


def child(code: str, home: Home) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(home.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_same_key_is_pushed_once(sink: Sink, home: Home) -> None:
    assert push(PUSH, KEY, home=home) is True
    assert push(PUSH, KEY, home=home) is True
    assert titles(sink) == [PUSH.title]
    retried = Push("two-stage completed: pilot", "exit code 0")
    assert push(retried, "0f8c-completed-2", home=home) is True
    assert titles(sink) == [PUSH.title, retried.title]
    assert flush_outbox(home) == 0


def test_keys_that_look_alike_are_different() -> None:
    keys = ["a/b", "a b", "a-b", "a" * 200, "a" * 201, "ध"]
    assert len({name_of(key) for key in keys}) == len(keys)


def test_a_server_that_is_away(sink: Sink, home: Home, caplog: pytest.LogCaptureFixture) -> None:
    sink.down = True
    began = time.monotonic()
    assert push(PUSH, KEY, home=home, seconds=5) is False
    assert time.monotonic() - began < 10
    assert "not sent" in caplog.text
    assert "it is sent later" in caplog.text
    assert "topic-4711" not in caplog.text
    assert flush_outbox(home) == 0
    sink.down = False
    assert flush_outbox(home) == 1
    assert flush_outbox(home) == 0
    assert titles(sink) == [PUSH.title]
    assert sink.received[0].message == PUSH.body, "a minute is not late"


def test_what_an_outage_left_goes_with_the_next_push(sink: Sink, home: Home) -> None:
    sink.down = True
    push(PUSH, KEY, home=home, seconds=1)
    sink.down = False
    assert push(Push("next", "b"), "next", home=home) is True
    assert titles(sink) == ["next", PUSH.title]


def test_a_late_push_says_when_it_happened(sink: Sink, home: Home, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tasks.notify.outbox.time.time", lambda: 1_795_800_000.0)
        Outbox(home).put(PUSH, KEY)
    assert flush_outbox(home) == 1
    first, second = sink.received[0].message.splitlines()
    assert first == "Happened at 2026-11-27 17:20 UTC; could not be sent sooner."
    assert second == PUSH.body


FLUSH = """
import sys
from pathlib import Path
from cft.home import Home
from tasks.notify import flush_outbox
print("ready", flush=True)
sys.stdin.readline()
print(flush_outbox(Home(Path(sys.argv[1]))))
"""


def test_two_processes_flush_at_once(sink: Sink, home: Home) -> None:
    for number in range(20):
        Outbox(home).put(Push(f"push {number}", "b"), str(number))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FLUSH, str(home.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for one in processes:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    sent = [int(one.communicate("\n", timeout=60)[0]) for one in processes]
    assert sum(sent) == 20
    assert sorted(titles(sink)) == sorted(f"push {number}" for number in range(20))


def test_a_sender_that_is_killed_loses_nothing(sink: Sink, home: Home) -> None:
    sink.hang = True
    code = (
        "import sys; from pathlib import Path; from cft.home import Home\n"
        "from tasks.notify import Push, push\n"
        f"push(Push({PUSH.title!r}, 'b'), {KEY!r}, home=Home(Path(sys.argv[1])))"
    )
    sender = child(code, home)
    until(lambda: sink.requests, 60)
    assert flush_outbox(home) == 0, "it is being sent"
    sender.send_signal(signal.SIGKILL)
    sender.wait()
    assert titles(sink) == []
    sink.hang = False
    assert flush_outbox(home) == 1
    assert titles(sink) == [PUSH.title]


def test_what_is_still_on_its_way_is_not_sent_twice(sink: Sink, home: Home) -> None:
    sink.trickle = True
    began = time.monotonic()
    assert push(PUSH, KEY, home=home, seconds=2) is False
    assert time.monotonic() - began < 8
    sink.trickle = False
    assert flush_outbox(home) == 0, "the first sender waits for its answer still"
    assert sink.requests == 1


def test_a_torn_or_foreign_file_is_left_alone(sink: Sink, home: Home) -> None:
    Outbox(home).put(PUSH, KEY)
    (Outbox(home).folder / "foreign.json").write_text("{", encoding="utf-8")
    assert flush_outbox(home) == 1


def test_old_keys_are_forgotten(sink: Sink, home: Home, caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox(home)
    sent, unsent = outbox.put(PUSH, "sent"), outbox.put(PUSH, "unsent")
    outbox.mark_sent(sent)
    torn = outbox.folder / ".x.partial"
    torn.touch()
    past = time.time() - KEEP_SECONDS - 60
    for path in (sent, unsent, torn):
        os.utime(path, (past, past))
    outbox.put(Push("new", "b"), "new")
    assert flush_outbox(home) == 1
    assert titles(sink) == ["new"]
    assert "1 pushes could not be sent for two weeks" in caplog.text
    assert len(list(outbox.folder.iterdir())) == 2


def test_nothing_is_configured(home: Home, monkeypatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(settings, "from_block", lambda seconds: None)
    assert push(PUSH, KEY, home=home) is False
    (line,) = [one for one in caplog.records if one.name == "cft.notify"]
    assert "no topic is configured (set CFT_NTFY_TOPIC" in line.getMessage()
    assert line.levelname == "INFO"
    assert not home.path.exists(), "what nobody waits for is not kept"


def test_nobody_knows_whether_it_is_configured(sink: Sink, home: Home, monkeypatch) -> None:
    def away(seconds: float) -> None:
        raise SettingsUnknownError("block cft-ntfy/default: connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(delivery, "find_settings", away)
        assert push(PUSH, KEY, home=home) is False
    assert flush_outbox(home) == 1


def test_a_folder_that_cannot_be_written(sink: Sink, home: Home) -> None:
    home.path.mkdir()
    (home.path / "outbox").write_text("in the way", encoding="utf-8")
    assert push(PUSH, KEY, home=home) is True
    assert titles(sink) == [PUSH.title]


def test_bad_settings_are_said_and_the_push_is_kept(sink: Sink, home: Home, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setenv("CFT_NTFY_TOPIC", "my hidden topic")
        assert push(PUSH, KEY, home=home) is False
    assert "a topic is 1 to 64 letters" in caplog.text
    assert "hidden" not in caplog.text
    assert flush_outbox(home) == 1
