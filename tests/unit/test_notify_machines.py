"""What the phone hears of a rented machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cft.home import Home
from tasks.machine.provider.alarm import Alarm
from tasks.notify.machines import cost_warning, machine_released, machine_rented, release_failed
from tests.ntfy import Sink, serve_ntfy
from tests.renting import entry_of

CONSOLE = "https://cloud.lambda.ai/instances"


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    with serve_ntfy() as sink:
        monkeypatch.setenv("CFT_NTFY_URL", sink.url)
        monkeypatch.setenv("CFT_NTFY_TOPIC", "cft-machines")
        yield sink


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_begun_nearly_spent_and_given_back_each_once(sink: Sink, home: Home) -> None:
    entry = entry_of(
        job="run-1",
        cents_per_hour=150,
        max_cost=3.0,
        born=1000,
        deadline=1000 + 8 * 3600,
        ip="10.0.0.1",
        instance_id="feed",
        note="done",
    )
    for _ in range(2):
        assert machine_rented(entry, home)
        assert cost_warning(entry, home)
        assert machine_released(entry, 2.5, home)
    rented, spent, released = sink.received
    assert rented.title == f"Rented: {entry.instance_type} at $1.50/h"
    assert "after 2.0 h or $3.00" in rented.message
    assert rented.click is not None
    assert rented.click.endswith("/runs/flow-run/run-1")
    assert spent.title.startswith("80% of $3.00 spent")
    assert "the rest lasts 24 minutes" in spent.message
    assert spent.priority > rented.priority
    assert released.title == f"Given back: {entry.instance_type}, $2.50"
    assert released.message == "feed is gone (done)."


def test_what_is_not_given_back_is_the_loudest_and_told_again_each_hour(
    sink: Sink, home: Home
) -> None:
    for seconds in (60.0, 600.0, 3700.0):
        alarm = Alarm("0123456789ab", ("feed",), 249, CONSOLE, "still active", seconds)
        assert release_failed(alarm, home)
    assert [one.priority for one in sink.received] == [5, 5]
    loud = sink.received[0]
    assert loud.title == "NOT GIVEN BACK: $2.49/h goes on"
    assert "feed" in loud.message
    assert CONSOLE in loud.message
    assert loud.click == CONSOLE


def test_a_phone_that_is_away_keeps_no_machine(sink: Sink, home: Home) -> None:
    sink.down = True
    alarm = Alarm("0123456789ab", ("feed",), 249, CONSOLE, "still active", 60.0)
    assert not release_failed(alarm, home)
