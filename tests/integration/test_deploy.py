"""`cft deploy` against a real server: idempotent, kind to what a person has switched, typed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.actions import DeploymentScheduleUpdate, DeploymentUpdate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import PrefectHTTPStatusError

from cft.errors import CftError
from cft.home import Home
from cft.recipe import GateRecipe, Recipe
from deployments.cli.deploying import require_server
from deployments.deploy.apply import deploy
from deployments.deploy.automations import UNSEEN_DEATH
from deployments.deploy.change import UNCHANGED, UPDATED, Change
from deployments.deploy.plan import expanded, planned
from deployments.deploy.wanted import Wanted
from flows.forms_registry import RetrainSettings
from tests.integration.prefect_server import BIN, ROOT, PrefectServer, prefect_server, worker
from tests.schemas import golden

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]
CLI = "from deployments.cli.deploying import deploy_command; deploy_command()"
NIGHTLY = "baselines/nightly"
TOPIC, TOKEN = "a-topic-nobody-guesses", "tk_secret"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as one:
        yield one


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def printed(server: PrefectServer, state: Home) -> str:
    """What the command prints, run from anywhere."""
    ended = subprocess.run(
        [sys.executable, "-c", CLI, "--home", str(state.path), "--api", server.api],
        cwd=server.folder,
        env={k: v for k, v in server.env.items() if k != "PREFECT_API_URL"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    return ended.stdout


def again(server: PrefectServer, **wanted: Any) -> dict[str, Change]:
    """Deploy from this process: what became of each thing by its name."""
    with server.client():
        return {one.name: one for one in deploy(Wanted(**wanted))}


def test_the_command_names_all_that_it_made(printed: str) -> None:
    for one in [*(one.full_name for one in planned()), "cft-registry", "cft-machine/default"]:
        (line,) = [line for line in printed.splitlines() if f" {one} " in line]
        assert "created" in line
    assert "prefect worker start --pool cpu --type process" in printed


def test_a_second_time_changes_nothing(server, printed) -> None:
    with server.client() as client:
        before = {one.name: one for one in client.read_deployments()}
        pools = {one.name: one for one in client.read_work_pools()}
    changes = again(server)
    assert {one.what for one in changes.values()} == {UNCHANGED}
    with server.client() as client:
        assert {one.name: one for one in client.read_deployments()} == before
        assert len(client.read_automations()) == 1
    assert pools["gpu"].concurrency_limit == 1
    assert pools["cpu"].concurrency_limit is None


def test_every_form_on_the_server_is_the_agreed_one(server, printed) -> None:
    with server.client() as client:
        for one in planned():
            found = client.read_deployment_by_name(one.full_name)
            assert found.parameter_openapi_schema == golden(one.flow.name)
            assert found.enforce_parameter_schema
            assert found.parameters == one.parameters
            assert found.pull_steps[0] == {
                "prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}
            }
            assert found.job_variables["stream_output"] is False
            assert found.job_variables["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "60"


@pytest.mark.parametrize("active", [False, True])
def test_a_schedule_that_a_person_switched_stays_switched(server, printed, active: bool) -> None:
    with server.client() as client:
        before = client.read_deployment_by_name(NIGHTLY)
        (schedule,) = before.schedules
        client.update_deployment_schedule(before.id, schedule.id, active=active)
        client.update_deployment(before.id, DeploymentUpdate(description="something else"))
    change = again(server, only=(NIGHTLY,))[NIGHTLY]
    assert (change.what, change.id) == (UPDATED, str(before.id))
    with server.client() as client:
        after = client.read_deployment_by_name(NIGHTLY)
    assert after.description == before.description
    (kept,) = after.schedules
    assert (kept.id, kept.slug, kept.active) == (schedule.id, "nightly", active)


def test_an_automation_that_a_person_switched_off_stays_off(server, printed) -> None:
    with server.client() as client:
        (automation,) = client.read_automations_by_name(UNSEEN_DEATH)
        client.pause_automation(automation.id)
    change = again(server, only=(NIGHTLY,), heartbeat_seconds=90)[UNSEEN_DEATH]
    assert (change.what, change.id) == (UPDATED, str(automation.id))
    with server.client() as client:
        (after,) = client.read_automations_by_name(UNSEEN_DEATH)
        assert not after.enabled
        assert after.trigger.within.total_seconds() == 270
        client.resume_automation(after.id)


def test_places_are_blocks_that_keep_what_nobody_asked_to_change(server, printed, state) -> None:
    def fields(slug: str) -> dict[str, Any]:
        with server.client() as client:
            found = client.read_block_document_by_name("default", slug, include_secrets=False)
        return found.data

    there = fields("cft-mlflow")
    assert there["tracking_uri"] == state.local_tracking_uri
    moved = Home(state.path / "moved")
    again(server, only=(NIGHTLY,), home=moved.path)
    assert fields("cft-machine") == {"home": str(moved.path)}
    assert fields("cft-mlflow")["tracking_uri"] == moved.local_tracking_uri
    again(server, only=(NIGHTLY,), tracking_uri="http://mlflow:5000", tracking_password="s3cr3t")
    assert fields("cft-machine") == {"home": str(moved.path)}
    assert fields("cft-mlflow")["tracking_uri"] == "http://mlflow:5000"
    assert "s3cr3t" not in str(fields("cft-mlflow"))
    again(server, only=(NIGHTLY,), home=state.path, tracking_uri=state.local_tracking_uri)


def test_topic_and_token_stand_in_no_automation_and_no_readable_block(
    server, printed, monkeypatch
) -> None:
    monkeypatch.setenv("CFT_NTFY_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CFT_NTFY_TOPIC", TOPIC)
    monkeypatch.setenv("CFT_NTFY_TOKEN", TOKEN)
    again(server, only=(NIGHTLY,))
    with server.client() as client:
        (automation,) = client.read_automations_by_name(UNSEEN_DEATH)
        assert len(automation.actions) == 2
        documents = client.read_block_documents(include_secrets=False)
        told = automation.model_dump_json() + "".join(one.model_dump_json() for one in documents)
    assert TOPIC not in told
    assert TOKEN not in told
    monkeypatch.delenv("CFT_NTFY_TOPIC")
    monkeypatch.delenv("CFT_NTFY_TOKEN")
    monkeypatch.delenv("CFT_NTFY_URL")
    assert {one.what for one in again(server, only=(NIGHTLY,)).values()} == {UNCHANGED}


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("two-stage/pilot", {"recipe": {"stage1": {"max_steps": 0}}}, "0 is less than the minimum"),
        ("two-stage/pilot", {"recipe": {"typo": 1}}, "'typo' was unexpected"),
        ("train/pilot", {"settings": {"stage": "stage3"}}, "'stage3' is not one of"),
        ("evaluate/evaluate", {"settings": {"base": "b"}}, "'model' is a required property"),
        ("baselines/nightly", {"settings": {"suite": "sts"}}, "'sts' is not one of"),
    ],
)
def test_an_impossible_run_is_refused_before_it_exists(
    server, printed, name, parameters, message
) -> None:
    with pytest.raises(PrefectHTTPStatusError) as refused:
        server.start(name, **parameters)
    assert message in refused.value.response.text
    with server.client() as client:
        assert not [one for one in client.read_flow_runs() if not one.auto_scheduled]


@pytest.fixture(scope="module")
def working(server, printed) -> Iterator[None]:
    """A worker of the pool ``cpu``, for all that follows; nothing is due but what is asked for."""
    with server.client() as client:
        for one in client.read_deployments():
            for schedule in one.schedules:
                client.update_deployment_schedule(one.id, schedule.id, active=False)
    with worker(server, "cpu"):
        yield


@pytest.fixture(scope="module")
def completed(server, working, tiny: Recipe) -> FlowRun:
    """The pilot's deployment, triggered through the API with the tests' recipe."""
    run = server.start("two-stage/pilot", recipe=tiny.model_dump(mode="json"))
    return server.wait_for(run.id, lambda one: one.state.is_final(), 900)


def test_a_worker_completes_what_the_api_has_started(server, state, completed) -> None:
    assert completed.state.is_completed(), completed.state.message
    assert (state.runs / str(completed.id) / "result.json").is_file(), "the block's state folder"
    assert state.mlflow_database.is_file(), "the tracking store of the block"
    with server.client() as client:
        keys = {one.key for one in client.read_artifacts() if one.flow_run_id == completed.id}
    assert {"two-stage-results", "stage1-progress", "stage2-progress"} <= keys


def test_a_schedule_starts_a_retraining_that_finds_nothing_new(
    server, state, completed, tiny: Recipe
) -> None:
    # How long MLflow is waited for makes no other model.
    patient = tiny.tracking.model_copy(update={"wait_seconds": 77})
    settings = RetrainSettings(recipe=tiny.model_copy(update={"tracking": patient}))
    # The server looks at schedules every few seconds, and a moment that it has missed by then is
    # passed over: so there is another one soon.
    soon = DeploymentScheduleUpdate(
        slug="soon",
        active=True,
        schedule=IntervalSchedule(
            interval=timedelta(seconds=90), anchor_date=datetime.now(UTC) + timedelta(seconds=5)
        ),
        parameters={"settings": settings.model_dump(mode="json")},
    )
    with server.client() as client:
        deployment = client.read_deployment_by_name("retrain/pilot")
        client.update_deployment(deployment.id, DeploymentUpdate(schedules=[soon]))
    run = server.scheduled(deployment.id)
    assert run.auto_scheduled
    server.wait_for(run.id, lambda one: not one.state.is_scheduled(), 300)
    with server.client() as client:
        (schedule,) = client.read_deployment_schedules(deployment.id)
        client.update_deployment_schedule(deployment.id, schedule.id, active=False)
    ended = server.wait_for(run.id, lambda one: one.state.is_final(), 600)
    assert ended.state.message == (
        "nothing new: version 1 of cft-embedder was trained on this data, recipe and backbone "
        "(gate: never held to the gate)"
    )
    assert ended.state.is_completed()
    assert not (state.runs / str(run.id) / "stage1").exists()


def test_a_person_answers_in_the_form_and_the_worker_goes_on(
    server, state, completed, tiny: Recipe
) -> None:
    one_step = {"max_steps": 1, "warmup_steps": 0}
    recipe = tiny.model_copy(
        update={
            "stage1": tiny.stage1.model_copy(update=one_step),
            "stage2": tiny.stage2.model_copy(update=one_step),
        }
    )
    settings = RetrainSettings(recipe=recipe, gate=GateRecipe(floors=[]), policy="approve")
    run = server.start("retrain/pilot", settings=settings.model_dump(mode="json"))
    waiting = server.wait_for(
        run.id, lambda one: one.state.is_final() or one.state.is_paused(), 900
    )
    assert waiting.state.name == "Suspended", waiting.state.message
    with server.client() as client:
        client.resume_flow_run(run.id, run_input={"approve": True, "reason": "reads well"})
    ended = server.wait_for(run.id, lambda one: one.state.is_final(), 600)
    assert ended.state.message == "promoted: version 2 is champion, was nobody"
    result = json.loads((state.runs / str(run.id) / "result.json").read_text("utf-8"))
    assert not [one for one in result["steps"] if one["name"].startswith("train ")], "trained once"
    assert len(list((state.runs / str(run.id) / "stage1").glob("train-*.log"))) == 1


def test_without_a_server_it_says_how_to_start_one(monkeypatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(CftError, match=r"no Prefect server is named; run `cft up`"),
    ):
        require_server()
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(CftError, match="does not answer as a Prefect server"),
    ):
        require_server()


def test_an_address_with_a_password_is_refused() -> None:
    with pytest.raises(CftError, match="holds a password, which the UI would show"):
        Wanted(tracking_uri="http://me:secret@mlflow:5000")


def test_the_file_is_deployed_by_prefects_own_command_as_well(server, printed) -> None:
    """From the root: the same forms; parameters as the file has them, which means the same."""
    command = [BIN / "prefect", "--no-prompt", "deploy", "--all"]
    ended = subprocess.run(
        [*command, "--prefect-file", "deployments/prefect.yaml"],
        cwd=ROOT,
        env=server.env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    with server.client() as client:
        for one in planned():
            found = client.read_deployment_by_name(one.full_name)
            assert found.parameter_openapi_schema == golden(one.flow.name)
            assert expanded(one.flow, found.parameters) == one.parameters
            assert found.job_variables["stream_output"] is False
            (step,) = found.pull_steps
            assert step["prefect.deployments.steps.set_working_directory"] == {
                "directory": str(ROOT)
            }
