"""What a sweep leaves alone, what goes wrong in one, and what it says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.machine.provider.errors import ProviderError, UnavailableError
from tasks.machine.provider.identity import Identity
from tests.lambda_account import EPOCH, Fault
from tests.renting import Account, running
from tests.sweeping import both, contents, killed, marked, ready, swept

TERMINATE = "POST /instance-operations/terminate"
HOUR = 3600.0


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    yield from running(tmp_path)


@pytest.mark.parametrize("kind", ["unmarked", "other owner", "contradiction", "nearly"])
def test_what_is_not_ours_is_shown_and_never_touched(account: Account, kind: str) -> None:
    owner = account.ledger.owner
    mark = Identity(owner, "0123456789ab", int(EPOCH), int(EPOCH))
    other = Identity("somebodyelse", "0123456789ab", int(EPOCH), int(EPOCH))
    name, tags = {
        "unmarked": ("cft-training", {"team": "cft"}),
        "other owner": (other.name, other.tags),
        "contradiction": (other.name, mark.tags),
        "nearly": (mark.name + "-copy", {"cft-owner": owner}),
    }[kind]
    machine = account.cloud.add(name, tags)
    account.clock.sleep(1e6)
    row = both(account, alive=lambda job: False)
    assert (row.id, row.name, row.verdict, row.outcome) == (machine.id, name, "foreign", "")
    assert account.cloud.living == [machine]
    assert account.cloud.terminates() == []


@pytest.mark.parametrize("kept", ["name", "tags"])
def test_the_name_or_the_tags_are_enough_of_a_mark(account: Account, kept: str) -> None:
    entry = ready(account)
    machine = account.cloud.machines[str(entry.instance_id)]
    if kept == "name":
        machine.tags = []
    else:
        machine.name = "my favourite | machine"  # renamed in the console
    account.clock.sleep(9 * HOUR)
    report = swept(account)
    assert [(one.verdict, one.outcome) for one in report.rows] == [("end", "gone")]
    assert report.to_markdown().count("\n| 000") == 1


# Locks.


def test_what_somebody_is_at_work_on_is_left_alone(account: Account) -> None:
    entry = ready(account)
    account.clock.sleep(8.2 * HOUR)
    with account.ledger.hold(entry.key):
        row = both(account, alive=lambda job: False)
        assert (row.verdict, row.outcome) == ("busy", "")
        assert account.states == ["ready"]
        assert account.cloud.terminates() == []
        # A keeper that hangs does not make a machine run for ever, and the ledger stays its own.
        account.clock.sleep(HOUR)
        row = both(account, alive=lambda job: True)
        assert (row.verdict, row.outcome) == ("end", "gone")
        assert "its keeper hangs" in row.reason
        assert account.states == ["ready"]
    assert account.cloud.living == []


def test_an_entry_that_is_being_written_is_left_alone(account: Account) -> None:
    killed(account, "/launch")
    account.clock.sleep(1000)
    with account.ledger.hold(account.entries[0].key):
        assert both(account).verdict == "busy"
    assert account.states == ["intent"]


# What goes wrong.


def test_a_damaged_entry_ends_its_machine_at_its_own_deadline(account: Account) -> None:
    entry = ready(account)
    path = account.ledger.folder / f"{entry.key}.json"
    path.write_text(json.dumps({"key": entry.key}), encoding="utf-8")
    report = swept(account, alive=lambda job: False)
    assert [(one.verdict, one.job) for one in report.rows] == [("keep", "")]
    (problem,) = report.problems
    assert "not an entry of this version" in problem
    assert problem in report.to_markdown()
    account.clock.sleep(8 * HOUR)
    row = both(account)
    assert (row.verdict, row.outcome) == ("end", "gone")
    assert account.cloud.living == []
    assert json.loads(path.read_text(encoding="utf-8")) == {"key": entry.key}, "it is evidence"


@pytest.mark.parametrize("error", [UnavailableError, ProviderError])
def test_without_a_complete_list_nothing_is_done(
    account: Account, error: type[ProviderError]
) -> None:
    killed(account, "/launch")
    ready(account, job="run-2")
    account.clock.sleep(9 * HOUR)
    before = contents(account)
    account.cloud.page_size = 1
    account.cloud.add("other")
    account.cloud.faults = [Fault("repeat-token", r"GET /instances$", times=99)]
    if error is ProviderError:
        account.provider = account.client(key="wrong")
    with pytest.raises(error):
        swept(account)
    assert contents(account) == before
    assert account.cloud.terminates() == []


def test_one_end_that_fails_keeps_no_other_from_ending(account: Account) -> None:
    machines = [marked(account, key=f"{i:012x}", born=-HOUR) for i in range(3)]
    account.cloud.faults = [Fault("error", TERMINATE, times=1, status=403)]
    report = swept(account)
    assert account.cloud.terminates()[:3] == [one.id for one in machines]
    assert [one.outcome for one in report.rows] == ["gone"] * 3
    assert account.cloud.living == []
    assert len(account.alarms) == 1


def test_all_ends_are_asked_for_before_any_is_waited_for(account: Account) -> None:
    for i in range(4):
        marked(account, key=f"{i:012x}", born=-HOUR)
    swept(account)
    kinds = [str(one) for one in account.cloud.requests]
    assert kinds[:5] == ["GET /instances", *[TERMINATE] * 4]
    assert account.cloud.living == []
    assert account.clock.now() < 2 * account.cloud.ending, "one wait for all of them"


def test_what_does_not_end_in_time_is_told(account: Account) -> None:
    stubborn = ready(account)
    other = ready(account, job="run-2")
    account.clock.sleep(9 * HOUR)
    account.cloud.machines[str(stubborn.instance_id)].noop = True
    report = swept(account, give_up_after=900)
    assert {one.id: one.outcome for one in report.rows} == {
        stubborn.instance_id: "still there",
        other.instance_id: "gone",
    }
    assert [one.id for one in report.still_there] == [stubborn.instance_id]
    assert account.raw(stubborn.key)["state"] == "releasing"
    assert account.raw(other.key)["state"] == "released"
    assert account.alarms
    # Nobody holds the lock any more, and the next sweep takes it up.
    account.cloud.machines[str(stubborn.instance_id)].noop = False
    assert both(account).outcome == "gone"


def test_a_report_is_a_page_and_an_object(account: Account) -> None:
    entry = ready(account)
    account.cloud.add("a|b\nc")
    report = swept(account)
    page = report.to_markdown()
    assert page.startswith("# Machines: what a sweep did\n")
    assert f"| {entry.instance_id} | {entry.identity.name} | run-1 | 2027-01-15 08:00 UTC |" in page
    assert "| a\\|b c | " in page
    assert "what a sweep would do" in swept(account, dry_run=True).to_markdown()
    told = json.loads(json.dumps(report.to_json()))
    assert {one["verdict"] for one in told["rows"]} == {"keep", "foreign"}
    assert told["dry_run"] is False
