"""The record of rented machines: its steps, its locks, and its own mark."""

import subprocess
import sys
from pathlib import Path

import pytest

from cft.errors import CftError
from tasks.machine.provider.errors import BusyError
from tasks.machine.provider.ledger import Ledger, State
from tests.processes import until
from tests.renting import entry_of

ROOT = Path(__file__).parents[2]


def test_an_entry_is_on_the_disk_and_read_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.hold() as held:
        assert not held.written
        with pytest.raises(LookupError):
            held.entry  # noqa: B018
        held.begin(entry_of(held.key))
        assert ledger.read(held.key) == held.entry
        changed = held.change(state="launched", instance_id="i-1")
        assert ledger.read(held.key) == changed == held.entry
        with pytest.raises(ValueError, match="not the place of a new entry"):
            held.begin(entry_of(held.key))
    with ledger.hold() as held, pytest.raises(ValueError, match="not the place"):
        held.begin(entry_of("0123456789ab"))
    assert [one.key for one in ledger.entries().readable] == [changed.key]
    assert ledger.read("fedcba987654") is None


STEPS: set[tuple[State, State]] = {
    ("intent", "intent"),
    ("intent", "launched"),
    ("intent", "releasing"),
    ("intent", "released"),
    ("launched", "launched"),
    ("launched", "ready"),
    ("launched", "releasing"),
    ("ready", "ready"),
    ("ready", "releasing"),
    ("releasing", "releasing"),
    ("releasing", "released"),
    ("released", "releasing"),
}
STATES: tuple[State, ...] = ("intent", "launched", "ready", "releasing", "released")


@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("after", STATES)
def test_only_these_steps_are_taken(tmp_path: Path, before: State, after: State) -> None:
    ledger = Ledger(tmp_path)
    with ledger.hold("0123456789ab") as held:
        held.begin(entry_of(state=before))
        if (before, after) in STEPS:
            assert held.change(state=after).state == after
        else:
            with pytest.raises(ValueError, match=f"no step from {before} to {after}"):
                held.change(state=after)
            assert held.entry.state == before
        assert ledger.read("0123456789ab") == held.entry


def test_entries_that_cannot_be_read_hide_no_others(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for key, born in (("0123456789ab", 2000), ("0123456789ac", 1000)):
        with ledger.hold(key) as held:
            held.begin(entry_of(key, born=born))
    (tmp_path / "bad.json").write_text('{"key": "bad"}', encoding="utf-8")
    (tmp_path / "torn.json").write_text("", encoding="utf-8")
    (tmp_path / ".0123456789ab.json.x.partial").write_text("{", encoding="utf-8")
    found = ledger.entries()
    assert [one.born for one in found.readable] == [1000, 2000]
    assert set(found.unreadable) == {"bad", "torn"}
    assert "state: Field required" in found.unreadable["bad"]
    with pytest.raises(CftError, match="not an entry of this version"):
        ledger.of_job("run-1")


def test_the_entries_of_a_job_come_oldest_first(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.of_job("run-1") == []
    for key, job, born in (
        ("a" * 12, "run-1", 30),
        ("b" * 12, "run-2", 20),
        ("c" * 12, "run-1", 10),
    ):
        with ledger.hold(key) as held:
            held.begin(entry_of(key, job=job, born=born))
    assert [one.key[0] for one in ledger.of_job("run-1")] == ["c", "a"]


def test_an_entry_ends_at_its_deadline_or_when_its_money_is_spent() -> None:
    assert entry_of(deadline=5000).ends == 5000
    assert entry_of(max_cost=0.75, deadline=30_000).ends == 1000 + 3600
    assert entry_of(cents_per_hour=0, deadline=30_000).ends == 30_000


# The mark of the ledger itself, and locks.


def test_a_ledger_has_one_mark_for_ever(tmp_path: Path) -> None:
    owner = Ledger(tmp_path).owner
    assert Ledger(tmp_path).owner == owner
    assert Ledger(tmp_path / "other").owner != owner
    (tmp_path / "owner").write_text("Not A Mark\n", encoding="utf-8")
    with pytest.raises(CftError, match=r"owner: not an owner's mark .'Not A Mark'.; write there"):
        Ledger(tmp_path).owner  # noqa: B018


def test_processes_that_begin_a_ledger_together_agree_on_its_mark(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tasks.machine.provider.ledger import Ledger;"
        "print(Ledger(Path(sys.argv[1])).owner)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    begun = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(3)
    ]
    said = {one.communicate(timeout=60)[0] for one in begun}
    assert said == {Ledger(tmp_path).owner + "\n"}


def test_one_entry_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    ledger, other = Ledger(tmp_path), Ledger(tmp_path)
    with ledger.hold("0123456789ab"):
        assert other.held("0123456789ab")
        with (
            pytest.raises(BusyError, match="another process is at work"),
            other.hold("0123456789ab"),
        ):
            raise AssertionError("two have it")
        with pytest.raises(BusyError), other.hold_unread("0123456789ab"):
            raise AssertionError("two have it")
        with other.hold("0123456789ac"), other.hold_job("run-1"):
            assert not ledger.held("0123456789ad")
    assert not other.held("0123456789ab")
    with other.hold("0123456789ab"):
        pass


def test_who_only_asks_whether_an_entry_is_held_disturbs_nobody(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    script = (
        "import sys; from pathlib import Path; from tasks.machine.provider.ledger import Ledger;"
        "ledger = Ledger(Path(sys.argv[1])); print('on', flush=True)\n"
        "while True: ledger.held('0123456789ab')"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    asking = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert asking.stdout is not None
        assert asking.stdout.readline() == "on\n"
        for _ in range(20):
            with ledger.hold("0123456789ab"):
                pass
    finally:
        asking.kill()
        asking.communicate()


def test_a_lock_goes_with_the_process_that_had_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    script = (
        "import sys, time; from pathlib import Path;"
        "from tasks.machine.provider.ledger import Ledger\n"
        "with Ledger(Path(sys.argv[1])).hold('0123456789ab'): time.sleep(100)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT)
    try:
        until(lambda: ledger.held("0123456789ab"), 30)
    finally:
        holder.kill()
        holder.wait()
    with ledger.hold("0123456789ab"):
        pass


def test_a_ledger_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("", encoding="utf-8")
    with pytest.raises(OSError, match="file"), Ledger(path).hold("0123456789ab"):
        raise AssertionError("it cannot be held")
