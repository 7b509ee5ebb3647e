"""Which machines a sweep ends, and which it keeps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.machine.provider.release import release
from tasks.machine.provider.sweep import sweep
from tests.lambda_account import EPOCH, Seen
from tests.renting import Account, Killed, KillingTransport, entry_of, running
from tests.sweeping import both, killed, marked, ready, swept

TERMINATE = "POST /instance-operations/terminate"
HOUR = 3600.0


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    yield from running(tmp_path)


def test_without_anything_there_is_nothing(account: Account) -> None:
    assert swept(account).rows == ()
    assert "There are none." in swept(account).to_markdown()


def test_a_dry_run_is_the_default(account: Account) -> None:
    marked(account)
    account.clock.sleep(2 * HOUR)
    report = sweep(account.provider, account.ledger, account.clock)
    assert report.dry_run
    assert [one.verdict for one in report.rows] == ["end"]
    assert account.cloud.terminates() == []


@pytest.mark.parametrize("known", [True, None])
def test_a_machine_in_use_is_kept_and_shown(account: Account, known: bool | None) -> None:
    entry = ready(account)
    account.clock.sleep(HOUR)
    row = both(account, alive=lambda job: known)
    assert (row.id, row.job, row.verdict, row.outcome) == (entry.instance_id, "run-1", "keep", "")
    assert row.since == entry.born
    assert row.dollars_per_hour == 0.75
    assert row.dollars == pytest.approx(0.75 * 1.07, abs=0.02)
    assert account.states == ["ready"]


def test_what_is_not_known_of_a_job_does_not_end_its_machine(account: Account) -> None:
    ready(account)

    def broken(job: str) -> bool:
        raise ConnectionError("the orchestrator is down")

    assert both(account, alive=broken).verdict == "keep"


def test_a_persons_machine_has_no_job_that_could_be_over(account: Account) -> None:
    ready(account, job="")
    assert both(account, alive=lambda job: False).verdict == "keep"


@pytest.mark.parametrize(
    ("wished", "hours", "known", "reason"),
    [
        ({}, 8.1, True, "past its deadline"),
        ({"max_duration_hours": 2.0}, 2.1, None, "past its deadline"),
        ({"max_cost": 3.0}, 4.1, True, "past its deadline"),
        ({}, 0.5, False, "its job run-1 is over"),
    ],
)
def test_a_machine_that_nobody_may_want_any_more_is_ended(
    account: Account, wished: dict[str, Any], hours: float, known: bool | None, reason: str
) -> None:
    entry = ready(account, **wished)
    account.clock.sleep(hours * HOUR)
    row = both(account, alive=lambda job: known)
    assert (row.verdict, row.outcome) == ("end", "gone")
    assert reason in row.reason
    assert account.cloud.living == []
    assert account.states == ["released"]
    assert reason in str(account.raw(entry.key)["note"])


def test_a_price_that_rose_brings_the_cap_nearer(account: Account) -> None:
    entry = ready(account, max_cost=3.0)
    account.clock.sleep(2.1 * HOUR)
    assert both(account).verdict == "keep"
    account.cloud.billed[entry.instance_type] = 150
    row = both(account)
    assert (row.verdict, row.reason, row.outcome) == ("end", "it has cost its $3.00", "gone")
    assert row.dollars_per_hour == 1.5


def test_a_machine_without_an_entry_is_ended(account: Account) -> None:
    ready(account)
    (path,) = account.ledger.folder.glob("*.json")
    path.unlink()
    row = both(account, alive=lambda job: True)
    assert (row.verdict, row.reason, row.outcome) == (
        "end",
        "the ledger has no entry of it",
        "gone",
    )
    assert account.cloud.living == []


def test_a_machine_that_is_called_released_and_is_there_is_ended(account: Account) -> None:
    entry = ready(account)
    release(account.provider, account.ledger, entry.key, account.clock, "done")
    machine = account.cloud.machines[str(entry.instance_id)]
    machine.ended = None
    row = both(account, alive=lambda job: True)
    assert (row.verdict, row.outcome) == ("end", "gone")
    assert "the ledger has it as released" in row.reason
    assert account.states == ["released"]
    assert account.cloud.living == []


def test_a_release_that_was_not_finished_is_finished(account: Account) -> None:
    entry = ready(account)
    dying = account.client(transport=KillingTransport(0, True, "/terminate"))
    with pytest.raises(Killed):
        release(dying, account.ledger, entry.key, account.clock, "the job is done")
    assert account.states == ["releasing"]
    row = both(account, alive=lambda job: True)
    assert (row.verdict, row.outcome) == ("end", "gone")
    assert "the job is done" in row.reason
    assert account.raw(entry.key)["note"] == "the job is done"
    assert account.states == ["released"]


def test_a_release_of_which_only_the_last_word_is_missing_is_closed(account: Account) -> None:
    entry = ready(account)
    dying = account.client(transport=KillingTransport(0, True, "/terminate"))
    with pytest.raises(Killed):
        release(dying, account.ledger, entry.key, account.clock, "the job is done")
    account.clock.sleep(600)
    row = both(account)
    assert (row.id, row.verdict, row.outcome) == (entry.instance_id, "close", "gone")
    assert account.states == ["released"]


# Launches whose process is gone.


def test_an_intent_with_a_machine_is_adopted_and_its_job_finds_it(account: Account) -> None:
    killed(account, "/launch", after=True)
    row = both(account, alive=lambda job: True)
    assert (row.verdict, row.reason) == ("adopt", "its launch was not answered")
    (entry,) = account.entries
    assert (entry.state, entry.instance_id) == ("launched", account.cloud.living[0].id)
    assert ready(account).key == entry.key
    assert len(account.cloud.launches()) == 1


def test_an_intent_of_a_job_that_is_over_is_not_adopted_but_ended(account: Account) -> None:
    killed(account, "/launch", after=True)
    account.clock.sleep(60)
    row = both(account, alive=lambda job: False)
    assert (row.verdict, row.outcome) == ("end", "gone")
    assert account.states == ["released"]
    assert account.cloud.living == []


def test_an_intent_without_a_machine_is_closed_after_a_while(account: Account) -> None:
    killed(account, "/launch")
    row = both(account)
    assert (row.id, row.verdict, row.dollars) == (None, "wait", None)
    account.clock.sleep(1000)
    row = both(account)
    assert (row.verdict, row.outcome) == ("close", "gone")
    assert account.states == ["released"]
    assert account.cloud.terminates() == []


def test_a_machine_that_vanished_is_written_off_without_ending_anything(account: Account) -> None:
    entry = ready(account)
    account.cloud.machines[str(entry.instance_id)].ended = -1000.0
    assert both(account).verdict == "wait"
    account.clock.sleep(1000)
    row = both(account, alive=lambda job: True)
    assert (row.verdict, row.outcome) == ("close", "gone")
    assert "without our doing" in row.reason
    assert account.cloud.terminates() == []
    assert account.states == ["released"]


def test_a_machine_that_only_the_list_has_forgotten_is_neither_closed_nor_ended(
    account: Account,
) -> None:
    entry = ready(account)
    account.cloud.unlisted = {str(entry.instance_id)}
    account.clock.sleep(1000)
    row = both(account)
    assert (row.verdict, row.outcome) == ("close", "it is there")
    assert account.states == ["ready"]
    assert account.cloud.terminates() == []


def test_of_two_machines_of_one_launch_the_unknown_one_is_ended(account: Account) -> None:
    entry = ready(account)
    twin = account.cloud.add(entry.identity.name, entry.identity.tags)
    account.clock.sleep(300)
    told = swept(account, dry_run=True)
    did = swept(account, alive=lambda job: True)
    for report in (told, did):
        assert {one.id: one.verdict for one in report.rows} == {
            entry.instance_id: "keep",
            twin.id: "end",
        }
    assert [one.id for one in account.cloud.living] == [entry.instance_id]
    assert account.states == ["ready"]
    account.cloud.machines[str(entry.instance_id)].ended = -1000.0
    account.clock.sleep(1000)
    twin = account.cloud.add(entry.identity.name, entry.identity.tags, born=0.0)
    did = swept(account, alive=lambda job: True)
    assert {one.id: (one.verdict, one.outcome) for one in did.rows} == {
        entry.instance_id: ("close", "gone"),
        twin.id: ("end", "gone"),
    }
    assert account.cloud.living == []
    assert account.states == ["released"]


def test_a_machine_that_is_rented_while_the_list_is_made_has_its_entry(account: Account) -> None:
    def meanwhile(seen: Seen) -> None:
        if str(seen) == "GET /instances" and not account.cloud.machines:
            with account.ledger.hold() as held:
                held.begin(entry_of(held.key, owner=account.ledger.owner, born=int(EPOCH)))
                mark = held.change(deadline=int(EPOCH + HOUR)).identity
            account.cloud.add(mark.name, mark.tags)

    account.cloud.hook = meanwhile
    (row,) = swept(account, alive=lambda job: True).rows
    assert row.verdict == "adopt"
    assert account.cloud.terminates() == []
