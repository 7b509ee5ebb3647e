"""Retraining, the gate, approval, promotion and rollback, on real models and real servers.

Two short trainings serve all of it: the worse model becomes the first champion, the better one is
first declined by a person and then approved.
"""

import contextlib
import contextvars
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow

from cft.errors import CftError
from cft.home import Home
from cft.recipe import Floor, GateRecipe, Recipe, SliceRule, validated
from cft.tracking.promotion import history
from flows.forms_registry import PromoteSettings, RetrainSettings, RollbackSettings
from flows.prepare import prepare_data
from flows.promote import promote
from flows.promote import run_and_show as promote_and_show
from flows.retrain import retrain
from flows.rollback import rollback
from flows.rollback import run_and_show as rollback_and_show
from tasks.registry import LIMIT, single_writer
from tests.integration.conftest import TINY
from tests.integration.mlflow_server import MlflowServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

NAME = "gated-embedder"
GATE = GateRecipe(
    floors=[Floor(suite="held-out", metric="mean/mrr", at_least=0.001)],
    slices=[
        SliceRule(suite="held-out", slice="sa_en", tolerated_loss=0.05),
        SliceRule(slice="siva_sutra", tolerated_loss=0.05),
    ],
    tolerated_loss=0.05,
    bootstrap_samples=1000,
)


def recipe(name: str, model: dict[str, Any]) -> Recipe:
    """One step of each stage, so that the text contract makes all the difference."""
    values = {
        "name": name,
        "model": TINY["model"] | model,
        "stage1": TINY["stage1"] | {"max_steps": 1, "learning_rate": 1e-8},
        "stage2": TINY["stage2"] | {"max_steps": 1, "learning_rate": 1e-8},
        "launch": {"device": "cpu", "num_processes": 1},
        # A server on a busy machine may take its time, and nothing here is about that.
        "tracking": {"model_name": NAME, "wait_seconds": 300},
    }
    return validated(TINY | values, "the tests")


# Without training the mean of all tokens says little but in which script a text is written, which
# the graded pairs of both scripts punish (Spearman -0.2); the sixth token says nothing (0.05).
WORSE = recipe("worse", {"pooling": "mean"})
BETTER = recipe("better", {"pooling": "last", "max_length": 6})


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that writes into one test's output would write into a closed file afterwards."""
    for verb in ("promote", "retrain", "rollback"):
        monkeypatch.setattr(f"flows.{verb}.use_terminal", lambda: None)


@pytest.fixture(scope="module", autouse=True)
def mlflow_server(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """The registry of this module is a server's, reached over HTTP alone."""
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        yield server
    server.kill()


@pytest.fixture(scope="module")
def client(home: Home) -> MlflowClient:
    assert home.tracking_uri.startswith("http://127.0.0.1:")
    return MlflowClient(home.tracking_uri, home.tracking_uri)


def aliases(client: MlflowClient) -> dict[str, str]:
    return {alias: str(one) for alias, one in client.get_registered_model(NAME).aliases.items()}


def state_of(flow_run_id: str) -> Any:
    with get_client(sync_client=True) as prefect:
        return prefect.read_flow_run(UUID(flow_run_id)).state


def page_of(flow_run_id: str) -> str:
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(flow_run_id)]))
    with get_client(sync_client=True) as prefect:
        found = [one for one in prefect.read_artifacts(artifact_filter=chosen) if one.key == "gate"]
    (page,) = found
    return page.data


def test_one_writes_at_a_time_and_the_limit_is_made_on_use(home: Home) -> None:
    inside: list[int] = []
    most: list[int] = []

    def write(number: int) -> None:
        with single_writer(home):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.3)
            inside.remove(number)

    # Prefect's settings live in the context, which a thread does not inherit.
    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(write, number))
        for number in range(3)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join(120)
    assert most == [1, 1, 1]
    with get_client(sync_client=True) as prefect:
        assert prefect.read_global_concurrency_limit_by_name(LIMIT).limit == 1
    assert (home.path / "registry.lock").exists()


@pytest.fixture(scope="module")
def first(home: Home) -> dict[str, Any]:
    return retrain(RetrainSettings(recipe=WORSE, gate=GATE, policy="promote"))


def test_the_first_model_needs_the_floors_alone(first, client, home: Home) -> None:
    assert (first["outcome"], first["verdict"], first["version"]) == ("promoted", "first", "1")
    state = state_of(first["flow_run_id"])
    assert (state.name, state.message) == (
        "Completed",
        "promoted: version 1 is champion, was nobody",
    )
    assert aliases(client) == {"candidate": "1", "champion": "1"}
    tags = client.get_model_version(NAME, "1").tags
    assert tags["promoted_by"] == first["flow_run_id"]
    assert (tags["gate_verdict"], tags["gate_report"]) == ("first", first["report"])
    page = page_of(first["flow_run_id"])
    assert "against no champion" in page
    stored = client.download_artifacts(first["mlflow_run_id"], "gate/decision.md", str(home.path))
    assert Path(stored).read_text(encoding="utf-8") == page
    assert json.loads((Path(first["run_directory"]) / "result.json").read_text()) == first


def test_nothing_new_is_said_and_nothing_is_trained(first, home: Home, client) -> None:
    again = retrain(RetrainSettings(recipe=WORSE, gate=GATE, policy="promote"))
    assert (again["outcome"], again["version"]) == ("nothing new", "1")
    state = state_of(again["flow_run_id"])
    assert state.is_completed()
    assert state.message == (
        f"nothing new: version 1 of {NAME} was trained on this data, recipe and backbone "
        "(gate: first)"
    )
    here = Path(again["run_directory"])
    assert json.loads((here / "result.json").read_text()) == again
    assert not (here / "stage1").exists()
    assert aliases(client) == {"candidate": "1", "champion": "1"}


def test_a_challenger_that_was_left_undecided_is_taken_up(first, home: Home, client) -> None:
    tags = client.get_model_version(NAME, "1").tags
    client.delete_model_version_tag(NAME, "1", "gate_verdict")
    try:
        client.delete_registered_model_alias(NAME, "champion")
        client.delete_model_version_tag(NAME, "1", "promoted_at")
        again = retrain(RetrainSettings(recipe=WORSE, gate=GATE, policy="never"))
        assert (again["outcome"], again["version"], again["verdict"]) == ("passed", "1", "first")
        assert not [one for one in again["steps"] if one["name"].startswith("train ")]
        done = retrain(RetrainSettings(recipe=WORSE, gate=GATE, policy="never"))
        assert done["outcome"] == "nothing new", "by that policy it is decided"
    finally:
        for tag in ("gate_verdict", "gate_report", "promoted_at"):
            client.set_model_version_tag(NAME, "1", tag, tags[tag])
        client.set_registered_model_alias(NAME, "champion", "1")


class Deployed:
    """A flow run of a deployment, executed here as a worker's process would."""

    def __init__(self, settings: RetrainSettings) -> None:
        self.parameters = {"settings": settings.model_dump(mode="json")}
        with get_client(sync_client=True) as prefect:
            flow_id = prefect.create_flow(retrain)
            deployment = prefect.create_deployment(flow_id, "tests", enforce_parameter_schema=False)
            run = prefect.create_flow_run_from_deployment(deployment, parameters=self.parameters)
        self.id = str(run.id)

    def run(self) -> None:
        with get_client(sync_client=True) as prefect:
            run = prefect.read_flow_run(UUID(self.id))
        with contextlib.suppress(Pause):  # suspended: a worker's process ends here
            run_flow(retrain, flow_run=run, parameters=self.parameters, return_type="state")

    def resume(self, **word: Any) -> None:
        with get_client(sync_client=True) as prefect:
            prefect.resume_flow_run(UUID(self.id), run_input=word)

    def result(self, home: Home) -> dict[str, Any]:
        return json.loads((home.runs / self.id / "result.json").read_text(encoding="utf-8"))


APPROVE = RetrainSettings(recipe=BETTER, gate=GATE, policy="approve")


@pytest.fixture(scope="module")
def declined(first, home: Home) -> Deployed:
    run = Deployed(APPROVE)
    run.run()
    return run


def test_a_person_is_asked_and_declines(declined, client, home: Home) -> None:
    state = state_of(declined.id)
    assert state.name == "Suspended", state
    assert aliases(client) == {"candidate": "2", "champion": "1"}
    trained = (home.runs / declined.id / "two-stage.json").read_bytes()
    runs = len(client.search_runs([client.get_experiment_by_name("cft").experiment_id]))
    declined.resume(approve=False, reason="the hymns read badly")
    declined.run()
    state = state_of(declined.id)
    assert (state.name, state.message) == (
        "Completed",
        "declined by a person: the hymns read badly",
    )
    result = declined.result(home)
    assert (result["outcome"], result["verdict"]) == ("declined", "passed")
    assert "gate" in result["reused"], "nothing is evaluated twice"
    assert not [one for one in result["steps"] if one["name"].startswith("train ")]
    assert (home.runs / declined.id / "two-stage.json").read_bytes() == trained
    after = client.search_runs([client.get_experiment_by_name("cft").experiment_id])
    assert len(after) == runs, "neither trained nor judged again"
    page_of(declined.id)  # published once
    assert aliases(client) == {"candidate": "2", "champion": "1"}
    tags = client.get_model_version(NAME, "2").tags
    assert (tags["gate_verdict"], tags["approval"]) == ("passed", "declined")
    assert tags["approval_reason"] == "the hymns read badly"


@pytest.fixture(scope="module")
def approved(declined, home: Home) -> Deployed:
    """Another run, which finds the training done: its own flow run id, the same version."""
    if state_of(declined.id).name == "Suspended":
        declined.resume(approve=False)
        declined.run()
    run = Deployed(APPROVE)
    (home.runs / run.id).mkdir(parents=True)
    shutil.copy(home.runs / declined.id / "two-stage.json", home.runs / run.id)
    run.run()
    assert state_of(run.id).name == "Suspended"
    run.resume(approve=True, reason="reads well")
    run.run()
    return run


def test_a_person_approves_and_the_champion_changes(approved, client, home: Home) -> None:
    state = state_of(approved.id)
    assert (state.name, state.message) == ("Completed", "promoted: version 2 is champion, was 1")
    assert aliases(client) == {"candidate": "2", "champion": "2", "previous_champion": "1"}
    tags = client.get_model_version(NAME, "2").tags
    assert (tags["promoted_by"], tags["promoted_from"]) == (approved.id, "1")
    assert tags["promotion_reason"] == "reads well"
    result = approved.result(home)
    assert (result["champion"], result["previous"]) == ("2", "1")
    page = page_of(approved.id)
    assert f"# Gate: {NAME}/2 against champion {NAME}/1" in page
    assert "**Passed.**" in page
    assert "better" in page


def test_a_run_that_is_retried_after_its_promotion_says_so_again(approved, client, home) -> None:
    before = history(client, NAME)
    settings = APPROVE.model_copy(update={"policy": "promote"})
    again = Deployed(settings)
    again.id = approved.id
    with get_client(sync_client=True) as prefect:
        from prefect.states import Scheduled

        prefect.set_flow_run_state(UUID(again.id), Scheduled(), force=True)
    again.run()
    assert state_of(again.id).message == "promoted: version 2 is champion"
    assert history(client, NAME) == before


def test_a_worse_model_is_refused_with_reasons(approved, client, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        promote_and_show(
            PromoteSettings(model_name=NAME, version="1", gate=GATE, device="cpu")
        )  # fmt: skip
    assert ended.value.code == 1
    shown = capsys.readouterr().out
    assert f"# Gate: {NAME}/1 against champion {NAME}/2" in shown
    assert "better than the champion on no primary metric" in shown
    assert "- trika sts/spearman: -0." in shown
    assert aliases(client)["champion"] == "2"
    assert client.get_model_version(NAME, "1").tags["gate_verdict"] == "refused"


def test_floors_that_are_missed_refuse_before_anything_moves(approved, client) -> None:
    gate = GATE.model_copy(update={"floors": [Floor(metric="mean/mrr", at_least=0.99)]})
    settings = RetrainSettings(recipe=BETTER, gate=gate, policy="promote", force=False)
    assert retrain(settings)["outcome"] == "nothing new", "a gate is no new recipe"
    client.set_registered_model_alias(NAME, "other", "1")
    refused = promote(PromoteSettings(model_name=NAME, version="other", gate=gate, device="cpu"))
    client.delete_registered_model_alias(NAME, "other")
    assert refused["outcome"] == "refused"
    assert any("below the floor of 0.990" in one for one in refused["reasons"])
    message = state_of(refused["flow_run_id"]).message
    assert message.startswith("refused: ")
    assert "**Refused.**" in page_of(refused["flow_run_id"])


def test_the_champion_itself_is_not_promoted(approved) -> None:
    for skip in (False, True):
        settings = PromoteSettings(model_name=NAME, version="champion", gate=GATE, skip_gate=skip)
        with pytest.raises(CftError, match=rf"{NAME}/2: is champion already"):
            promote(settings)


def test_a_contaminated_version_is_refused_with_every_flag(approved, client, home: Home) -> None:
    leaky = WORSE.model_copy(
        update={
            "data": WORSE.data.model_copy(update={"all_verses": True, "allow_leak": True}),
        }
    )
    corpus = Path(prepare_data(leaky)["corpus"])
    good = client.get_model_version(NAME, "2")
    # The same weights, once with an honest tag and once with a washed one.
    for mark in ("true", "false"):
        tags = good.tags | {"contaminated": mark, "data_digest": corpus.name}
        made = client.create_model_version(
            NAME, good.source, good.run_id, tags, model_id=good.source.rpartition("/")[2]
        )
        settings = PromoteSettings(
            model_name=NAME, version=str(made.version), gate=GATE, device="cpu"
        )
        refused = promote(settings)
        assert refused["outcome"] == "refused"
        assert refused["reasons"][0].startswith("contaminated: ")
        if mark == "true":
            with pytest.raises(CftError, match=r"never becomes champion"):
                promote(settings.model_copy(update={"skip_gate": True}))
    assert aliases(client)["champion"] == "2"


def test_a_rollback_swaps_and_is_told(approved, client, capsys) -> None:
    result = rollback_and_show(RollbackSettings(model_name=NAME, reason="slow on long verses"))
    assert result["message"] == "rolled back: version 1 is champion, was 2"
    assert "rolled back: version 1 is champion, was 2" in capsys.readouterr().out
    assert aliases(client) == {"candidate": "2", "champion": "1", "previous_champion": "2"} | {
        "candidate": aliases(client)["candidate"]
    }
    back = rollback(RollbackSettings(model_name=NAME))
    assert back["champion"] == "2"
    assert [(one.kind, one.version) for one in history(client, NAME)] == [
        ("promote", "1"),
        ("promote", "2"),
        ("rollback", "1"),
        ("rollback", "2"),
    ]


def test_the_gate_can_be_skipped_for_a_clean_version(approved, client) -> None:
    made = promote(PromoteSettings(model_name=NAME, version="1", skip_gate=True, reason="a test"))
    assert made["outcome"] == "promoted"
    tags = client.get_model_version(NAME, "1").tags
    assert (tags["gate_verdict"], tags["promotion_reason"]) == ("skipped", "a test")
    assert aliases(client)["champion"] == "1"
