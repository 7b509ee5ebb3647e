"""Machines that turn out bad, and jobs that come for theirs again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cft.errors import CftError
from tasks.machine.provider.errors import (
    BadMachineError,
    BusyError,
    NoMachineError,
    PriceError,
    ReleaseError,
    UnavailableError,
)
from tasks.machine.provider.ledger import Entry
from tasks.machine.provider.release import release
from tests.lambda_account import EPOCH, Fault, Seen
from tests.renting import Account, rented, running

LAUNCH = "POST /instance-operations/launch"
TERMINATE = "POST /instance-operations/terminate"
DESCRIBE = r"GET /instances/"
LIST = r"GET /instances$"
NO_ANSWER = ["429", "500", "timeout", "drop", "html", "garbage"]


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    yield from running(tmp_path)


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        ("unhealthy", "it is unhealthy"),
        ("stuck", "20 minutes after its launch it still waits for its boot"),
        ("no-ip", "20 minutes after its launch it still waits for its address"),
    ],
)
def test_a_bad_machine_is_given_back_before_another_is_rented(
    account: Account, fate: str, reason: str
) -> None:
    account.cloud.fates = [fate]
    living: list[int] = []
    account.cloud.hook = lambda seen: living.append(len(account.cloud.living))
    entry = rented(account)
    bad, good = account.entries
    assert (bad.state, good.state) == ("released", "ready")
    assert reason in bad.note
    assert [one.id for one in account.cloud.living] == [entry.instance_id]
    assert max(living) == 1, "there never were two"


def test_a_machine_that_never_does_its_work_is_given_back(account: Account) -> None:
    entry = rented(account, lambda entry: entry.born > EPOCH + 600)
    assert "still waits for its readiness" in account.entries[0].note
    assert [one.id for one in account.cloud.living] == [entry.instance_id]


def test_a_host_that_never_will_is_given_back_at_once(account: Account) -> None:
    first: list[str] = []

    def healthy(entry: Entry) -> bool:
        first.append(entry.key)
        if entry.key == first[0]:
            raise BadMachineError("CUDA error 802")
        return True

    rented(account, healthy)
    assert len(first) == 2
    assert account.entries[0].note == "CUDA error 802"
    assert account.clock.now() < 4 * account.cloud.boot


def test_a_machine_that_somebody_else_ends_in_its_boot_is_replaced(account: Account) -> None:
    def end(seen: Seen) -> None:
        if account.clock.now() > 100 and len(account.cloud.machines) == 1:
            account.cloud.machines["0001feed"].ended = -1000.0

    account.cloud.hook = end
    entry = rented(account)
    assert "does not know it any more" in account.entries[0].note
    assert [one.id for one in account.cloud.living] == [entry.instance_id]


def test_the_number_of_machines_is_capped(account: Account) -> None:
    account.cloud.fates = ["unhealthy"] * 9
    with pytest.raises(NoMachineError, match=r"3 machines in a row were bad \(0001feed: it is unh"):
        rented(account, rerolls=2)
    assert len(account.cloud.launches()) == 3
    assert account.cloud.living == []
    assert account.states == ["released"] * 3


def test_beside_a_bad_machine_that_does_not_end_no_other_is_rented(account: Account) -> None:
    account.cloud.fates = ["unhealthy"]
    account.cloud.faults = [Fault("terminate-noop", TERMINATE, times=999)]
    with pytest.raises(ReleaseError, match=r"0001feed at \$0.75/h is not released"):
        rented(account)
    assert account.states == ["releasing"]
    with pytest.raises(ReleaseError):
        rented(account)
    assert len(account.cloud.launches()) == 1
    assert account.alarms
    account.cloud.faults = []
    account.cloud.machines["0001feed"].noop = False
    rented(account)
    assert account.states == ["released", "ready"]


def test_an_error_of_the_probe_goes_through_and_leaves_the_machine_to_the_caller(
    account: Account,
) -> None:
    def healthy(entry: Entry) -> bool:
        raise CftError("known_hosts: another host key")

    with pytest.raises(CftError, match="another host key"):
        rented(account, healthy)
    assert account.states == ["launched"]


def test_a_provider_that_is_out_of_reach_for_a_while_in_the_boot_is_waited_for(
    account: Account,
) -> None:
    account.cloud.faults = [Fault("500", DESCRIBE, times=15, skip=2)]
    assert rented(account).state == "ready"
    assert len(account.cloud.launches()) == 1


# The same job again.


def test_the_same_job_gets_its_own_machine_again(account: Account) -> None:
    first = rented(account)

    def never(entry: Entry) -> bool:
        raise AssertionError("its job may be at work: it is not looked into")

    assert rented(account, never) == first
    assert len(account.cloud.launches()) == 1


def test_a_machine_that_was_given_back_is_not_the_jobs_any_more(account: Account) -> None:
    first = rented(account)
    release(account.provider, account.ledger, first.key, account.clock, "done")
    assert rented(account).key != first.key
    assert account.states == ["released", "ready"]


def test_persons_and_other_jobs_get_machines_of_their_own(account: Account) -> None:
    ids = {rented(account, job=job).instance_id for job in ("", "", "run-1", "run-2")}
    assert len(ids) == 4
    assert len(account.cloud.living) == 4


def test_a_working_machine_is_not_ended_because_the_provider_is_out_of_reach(
    account: Account,
) -> None:
    rented(account)
    account.cloud.faults = [Fault("500", DESCRIBE, times=999)]
    with pytest.raises(UnavailableError):
        rented(account)
    assert account.states == ["ready"]
    assert account.cloud.terminates() == []


@pytest.mark.parametrize("state", ["unhealthy", "preempted"])
def test_a_working_machine_that_was_lost_is_replaced(account: Account, state: str) -> None:
    first = rented(account)
    machine = account.cloud.machines[str(first.instance_id)]
    machine.fate, machine.polls = state, 99
    second = rented(account)
    assert second.key != first.key
    assert account.entries[0].note == f"it is {state}"
    assert [one.id for one in account.cloud.living] == [second.instance_id]


def test_a_machine_past_its_deadline_is_not_given_to_its_job_again(account: Account) -> None:
    rented(account, max_duration_hours=1.0)
    account.clock.sleep(3600)
    with pytest.raises(PriceError, match="max_duration_hours: the run's 1 machines have run"):
        rented(account, max_duration_hours=1.0)
    assert account.cloud.living == []


def test_a_late_look_at_a_machine_in_its_boot_is_a_look(account: Account) -> None:
    with pytest.raises(CftError, match="crash"):
        rented(account, _crash)
    account.clock.sleep(3600)  # the worker comes back long after the time of the boot
    entry = rented(account)
    assert entry.state == "ready"
    assert len(account.cloud.launches()) == 1


def _crash(entry: Entry) -> bool:
    raise CftError("crash")


def test_while_one_rents_for_a_job_another_is_told(account: Account) -> None:
    with account.ledger.hold_job("run-1"), pytest.raises(BusyError, match="another process"):
        rented(account)
    assert account.cloud.requests == []


def test_nothing_is_rented_by_a_ledger_that_cannot_be_read(account: Account) -> None:
    entry = rented(account)
    path = account.ledger.folder / f"{entry.key}.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(CftError, match=r"not an entry of this version.*mend it"):
        rented(account)
    assert len(account.cloud.launches()) == 1
