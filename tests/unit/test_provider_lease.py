"""A machine for as long as a block runs, and whatever is left open of a job."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cft.errors import CftError
from tasks.machine.provider.errors import BusyError, NoMachineError, UnavailableError
from tasks.machine.provider.lease import leased, release_job
from tasks.machine.provider.ledger import Entry
from tests.lambda_account import Fault
from tests.renting import Account, Healthy, rented, running, wish, yes

LAUNCH = "POST /instance-operations/launch"


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    yield from running(tmp_path)


def lease(account: Account, healthy: Healthy = yes, job: str = "run-1"):
    return leased(
        account.provider,
        account.ledger,
        wish(job),
        account.clock,
        healthy,
        alarm=account.alarms.append,
        give_up_after=3600,
    )


@pytest.mark.parametrize("job", ["run-1", ""])
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_the_machine_goes_with_the_block(
    account: Account, job: str, error: type[BaseException] | None
) -> None:
    def work() -> None:
        with lease(account, job=job) as entry:
            assert [one.id for one in account.cloud.living] == [entry.instance_id]
            if error is not None:
                raise error("what happened")

    if error is None:
        work()
    else:
        with pytest.raises(error, match="what happened"):
            work()
    assert account.cloud.living == []
    assert [one.note for one in account.entries] == ["what happened" if error else "done"]
    assert account.states == ["released"]


@pytest.mark.parametrize("job", ["run-1", ""])
@pytest.mark.parametrize("error", [CftError, KeyboardInterrupt])
def test_a_machine_that_does_not_get_ready_goes_as_well(
    account: Account, job: str, error: type[BaseException]
) -> None:
    def healthy(entry: Entry) -> bool:
        raise error("another host key")

    with pytest.raises(error, match="another host key"), lease(account, healthy, job):
        raise AssertionError("it is not ready")
    assert account.cloud.living == []
    assert account.states == ["released"]


def test_launches_without_an_answer_are_closed(account: Account) -> None:
    account.cloud.faults = [Fault("drop", LAUNCH, times=99)]
    with pytest.raises(UnavailableError), lease(account):
        raise AssertionError("there is no machine")
    assert account.states == ["released"]
    assert account.cloud.living == []


def test_a_wish_that_cannot_be_met_leaves_nothing_to_release(account: Account) -> None:
    account.cloud.capacity = {name: [] for name in account.cloud.capacity}
    with pytest.raises(NoMachineError), lease(account):
        raise AssertionError("there is no machine")
    assert account.entries == []


def test_the_machine_of_another_process_is_left_to_it(account: Account) -> None:
    entry = rented(account)
    with account.ledger.hold_job("run-1"):
        with pytest.raises(BusyError), lease(account):
            raise AssertionError("another one rents")
        with pytest.raises(BusyError):
            release_job(account.provider, account.ledger, "run-1", account.clock, "")
    assert account.states == ["ready"]
    assert [one.id for one in account.cloud.living] == [entry.instance_id]


def test_all_that_a_job_has_open_is_released_and_nothing_else(account: Account) -> None:
    mine, other = rented(account), rented(account, job="run-2")
    ended = release_job(account.provider, account.ledger, "run-1", account.clock, "cancelled")
    assert [(one.key, one.state, one.note) for one in ended] == [
        (mine.key, "released", "cancelled")
    ]
    assert release_job(account.provider, account.ledger, "run-1", account.clock, "") == []
    assert [one.id for one in account.cloud.living] == [other.instance_id]
