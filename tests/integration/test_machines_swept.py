"""Whether a rented machine is ended at its caps, as a real Prefect server says."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    WorkPoolCreate,
)
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings

from cft.errors import CftError
from cft.home import Home
from deployments.deploy.blocks import DOCUMENT, LambdaBlock, MachineBlock
from tasks.machine.settings import MachineSettings
from tasks.provision import reached
from tasks.swept import NO_SERVER, unswept
from tests.lambda_account import A10, KEY
from tests.lambda_server import serve_lambda
from tests.machines_command import machines

pytestmark = pytest.mark.integration


@flow(name="sweep")
def some_flow() -> None:
    """Stands for the sweep: nobody runs it here."""


@pytest.fixture
def client(home: Home) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="sweeping", type="process"), overwrite=True)
        yield client
        for one in client.read_deployments():
            if one.name == "machines":
                client.delete_deployment(one.id)
        client.delete_work_pool("sweeping")
        for kind in (MachineBlock, LambdaBlock):
            document = client.read_block_document_by_name(DOCUMENT, kind.get_block_type_slug())
            client.delete_block_document(document.id)


def test_what_is_missing_is_named_until_nothing_is(
    home: Home, client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "has no deployment sweep/machines" in str(unswept(home))
    soon = DeploymentScheduleCreate(
        schedule=IntervalSchedule(interval=timedelta(days=9)), active=False
    )
    made = client.create_deployment(
        client.create_flow(some_flow), "machines", work_pool_name="sweeping", schedules=[soon]
    )
    assert unswept(home) == "the deployment sweep/machines is switched off"
    (schedule,) = client.read_deployment(made).schedules
    client.update_deployment_schedule(made, schedule.id, active=True)
    assert unswept(home) == "no worker serves sweep/machines in the pool sweeping"
    client.send_worker_heartbeat("sweeping", "one", heartbeat_interval_seconds=600)
    MachineBlock(home=str(tmp_path)).save(DOCUMENT, overwrite=True)
    assert unswept(home) == (
        f"sweep/machines sweeps the state folder {tmp_path} and leaves {home.path} alone"
    )
    MachineBlock(home=str(home.path)).save(DOCUMENT, overwrite=True)
    LambdaBlock().save(DOCUMENT, overwrite=True)
    assert unswept(home) == "the block cft-lambda has no key for sweep/machines"
    LambdaBlock(api_key=KEY).save(DOCUMENT, overwrite=True)
    assert unswept(home) is None

    monkeypatch.setenv("LAMBDA_API_KEY", KEY)
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    with serve_lambda() as cloud:
        monkeypatch.setattr("tasks.machine.hire.SystemRentalClock", lambda: cloud.clock)
        shown = machines("up", "--instance-types", A10, "--base-url", cloud.url, code=1).output
    assert "8 h in all; past them a sweep ends it." in shown
    assert "crontab" not in shown


def test_a_run_that_rents_says_that_nothing_sweeps(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAMBDA_API_KEY", raising=False)
    log = tmp_path / "machine.log"

    @flow
    def renting() -> None:
        with reached(MachineSettings(kind="lambda"), home, "run-1", log, gpu=False):
            raise AssertionError("there is no key")

    with pytest.raises(CftError, match="LAMBDA_API_KEY: not set"):
        renting()
    said = log.read_text(encoding="utf-8")
    assert "nothing here is known to end the machine if this process is killed" in said
    assert "has no deployment sweep/machines; run `cft up`" in said
    assert "*/10 * * * * CFT_HOME=" in said


def test_a_server_that_says_nothing_sweeps_nothing(home: Home) -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        assert "does not say whether it sweeps" in str(unswept(home))
    with temporary_settings({PREFECT_API_URL: None}):
        assert unswept(home) == NO_SERVER
