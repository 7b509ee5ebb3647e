"""Hooks as the layer below a flow's process: it was killed, and its machine goes all the same."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Crashed, Failed, State

from cft.files import write_json
from cft.home import Home
from flows.hooks import end_machines, hooks
from flows.train import train
from tasks.machine.hire import SETTINGS, lease_folder
from tasks.machine.provider.ledger import ledger_of
from tasks.machine.provider.rent import rent
from tasks.machine.provider.settings import LambdaSettings
from tasks.machine.settings import MachineSettings
from tests.lambda_account import LambdaAccount
from tests.lambda_server import serve_lambda
from tests.renting import Account, wish, yes

pytestmark = pytest.mark.integration


@pytest.fixture
def account(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    cloud = LambdaAccount(boot=0.0, ip_polls=0, ending=0.0, refuse_end=0.0, paced=False)
    with serve_lambda(cloud):
        monkeypatch.setenv("LAMBDA_API_KEY", cloud.key)
        yield Account(cloud, tmp_path)


@pytest.fixture
def left_behind(account: Account, home: Home) -> FlowRun:
    """A run that had rented a machine when its process was killed."""
    run = FlowRun(id=uuid4(), flow_id=UUID(int=1), name="killed")
    rent(account.provider, ledger_of(home), wish(str(run.id)), account.clock, yes)
    cloud = LambdaSettings(base_url=account.cloud.url)
    machine = MachineSettings(kind="lambda", cloud=cloud)
    write_json(lease_folder(home, str(run.id)) / SETTINGS, machine.model_dump(mode="json"))
    assert len(account.cloud.living) == 1
    return run


@pytest.mark.parametrize("state", [Cancelled(), Failed(message="no more")], ids=str)
def test_the_machine_of_an_ended_run_is_given_back(
    account: Account, left_behind: FlowRun, home: Home, state: State
) -> None:
    end_machines(train, left_behind, state)
    assert account.cloud.living == []
    (entry,) = ledger_of(home).of_job(str(left_behind.id))
    assert entry.state == "released"
    assert entry.note == f"its run is {state.name.lower()}"


def test_a_provider_that_does_not_answer_fails_no_hook(
    account: Account, left_behind: FlowRun, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setenv("LAMBDA_API_KEY", "another")
    end_machines(train, left_behind, Cancelled())
    assert len(account.cloud.living) == 1
    assert "may still be there" in caplog.text
    assert "cft machines list" in caplog.text


def test_a_run_without_a_machine_asks_nobody(account: Account) -> None:
    end_machines(train, FlowRun(id=uuid4(), flow_id=UUID(int=1), name="here"), Failed())
    assert account.cloud.requests == []


def test_a_crashed_run_keeps_its_machine_for_a_retry() -> None:
    assert Crashed().is_crashed()
    given = hooks()
    assert end_machines in given["on_failure"]
    assert end_machines in given["on_cancellation"]
    assert end_machines not in given["on_crashed"]
