"""Both UIs as a person uses them, on one stack and one run; what that leaves behind, and its doors.

The stack is started with secrets in its environment, and with a password on Prefect. The run is
begun by the form that Prefect makes of the deployment's parameters. `CFT_WRITE_PICTURES=1` runs the
whole pilot instead of a short one, and keeps the pictures of the README.
"""

import json
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Page, expect

from deployments.deploy.plan import planned
from tests.browser import mlflow_pages, prefect_pages
from tests.browser.chromium import Browser, browser, needs_chromium
from tests.canaries import Canaries, Commands
from tests.conftest import ROOT
from tests.integration.doors import ARTIFACTS, FOREIGN, JSON, ask, names_leading_to
from tests.integration.local_stack import LocalStack, local_stack
from tests.integration.stack_records import prefect_records, tracking_records
from tests.ntfy import Sink, serve_ntfy

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(3600)]
WRITE = bool(os.environ.get("CFT_WRITE_PICTURES"))
CANARIES = Canaries(
    {
        "PREFECT_SERVER_API_AUTH_STRING": "person:canary-Prefect-8fE/2q+Zw",
        "MLFLOW_TRACKING_PASSWORD": "canary-mlflow-Jd7/xPq+1u",
        "LAMBDA_API_KEY": "secret_canary-lambda_41c9a0e7d2.Qx5",
        "CFT_NTFY_TOKEN": "tk_canaryntfy9w3k5m7q1z",
        "CFT_NTFY_TOPIC": "canary-topic-5b8e2d9c7f",
        "HF_TOKEN": "hf_canaryQmWzTpLsRkVn",
        "AWS_SECRET_ACCESS_KEY": "canaryAWS/Gx2+Hf9kLmNpQrStUvWx",
    }
)
AUTH = CANARIES.variables["PREFECT_SERVER_API_AUTH_STRING"]
SHORT = {
    ("recipe", "Data", "Eval Pairs"): 60,
    ("recipe", "Model", "Nano", "Max Steps"): 20,
    ("recipe", "Stage1", "Max Steps"): 24,
    ("recipe", "Stage1", "Warmup Steps"): 6,
    ("recipe", "Stage1", "Logging Steps"): 2,
    ("recipe", "Stage2", "Max Steps"): 6,
    ("recipe", "Stage2", "Warmup Steps"): 2,
    ("recipe", "Evaluation", "Bootstrap Samples"): 100,
}


@dataclass(frozen=True)
class Finished:
    """The run that the form began.

    Attributes:
        id: of the flow run.
        state: in which the UI said that it ended.
        result: what the flow returned.
        commands: all command lines of the machine, from before the stack's start to the run's end.
    """

    id: str
    state: str
    result: dict[str, Any]
    commands: Commands


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return ROOT / "tests/data/pictures" if WRITE else tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def ntfy() -> Iterator[Sink]:
    with serve_ntfy() as sink:
        sink.token = CANARIES.variables["CFT_NTFY_TOKEN"]
        yield sink


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands(CANARIES) as watching:
        yield watching


@pytest.fixture(scope="module")
def stack(tmp_path_factory, ntfy: Sink, commands: Commands) -> Iterator[LocalStack]:
    more = {"CFT_NTFY_URL": ntfy.url, "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE"}
    variables, pools = more | dict(CANARIES.variables), ("cpu", "gpu") if WRITE else ("cpu",)
    with local_stack(tmp_path_factory.mktemp("stack"), variables, pools) as one:
        yield one


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def page(opened: Browser) -> Page:
    return opened.page


@pytest.fixture(scope="module")
def finished(stack: LocalStack, page: Page, commands: Commands, pictures: Path) -> Finished:
    prefect_pages.log_in(page, stack.prefect, AUTH)
    prefect_pages.open_deployments(page, stack.prefect)
    expect(page.get_by_text(f"{len(planned())} Deployments")).to_be_visible()
    page.screenshot(path=pictures / "prefect-deployments.png")
    prefect_pages.open_deployments(page, stack.prefect, "pilot")
    prefect_pages.open_custom_run(page, "two-stage", "pilot")
    prefect_pages.fill_form(page, {} if WRITE else SHORT)
    flow_run = prefect_pages.submit(page)
    state = prefect_pages.watch(page, flow_run)
    assert state == "Completed", (stack.logs / "worker-cpu.log").read_text("utf-8")[-4000:]
    commands.wait_for(b"cft.training")
    result = json.loads((stack.home.runs / flow_run / "result.json").read_text("utf-8"))
    return Finished(flow_run, state, result, commands)


def test_the_form_sent_what_was_filled_in_and_kept_the_rest_of_the_preset(stack, finished) -> None:
    records = prefect_records(stack.prefect, AUTH)
    (sent,) = [one["parameters"] for one in records["flow_runs"] if one["id"] == finished.id]
    assert sent["recipe"]["stage1"]["max_steps"] == (400 if WRITE else 24)
    assert sent["recipe"]["stage1"]["batch_size"] == 32
    assert sent["recipe"]["launch"] == {"device": "cpu", "num_processes": 2}


def test_the_results_are_an_artifact_with_every_figure(stack, finished, page, pictures) -> None:
    prefect_pages.open_run(page, stack.prefect, finished.id)
    prefect_pages.open_artifact(page, "two-stage-results")
    page.screenshot(path=pictures / "prefect-results.png")
    report = Path(finished.result["report"]).read_text("utf-8")
    lines = [line for line in report.splitlines() if line.startswith("| ") and "[" in line]
    written = [
        [cell.strip().replace("**", "") for cell in line.strip("|").split("|")] for line in lines
    ]
    assert len(written) > 20
    shown = prefect_pages.rows(page)
    assert [row for row in written if row not in shown] == []


def test_the_loss_of_a_stage_is_a_curve(stack, finished, page, pictures) -> None:
    mlflow_pages.open_home(page, stack.mlflow)
    run = finished.result["stage_run_ids"]["stage1"]
    experiment = finished.result["mlflow_experiment_id"]
    mlflow_pages.open_run(page, stack.mlflow, experiment, run, "model-metrics")
    steps, values = mlflow_pages.curve(mlflow_pages.chart(page, "train/loss"))
    history = MlflowClient(stack.mlflow).get_metric_history(run, "train/loss")
    assert (steps, values) == (
        [float(one.step) for one in history],
        pytest.approx([one.value for one in history]),
    )
    assert len(steps) > 8
    mlflow_pages.charts(page, "train/", at_least=6)
    page.screenshot(path=pictures / "mlflow-run.png")


def test_the_plots_are_pictures_of_the_run(stack, finished, page) -> None:
    run, experiment = finished.result["mlflow_run_id"], finished.result["mlflow_experiment_id"]
    mlflow_pages.open_run(page, stack.mlflow, experiment, run, "artifacts")
    mlflow_pages.open_artifact(page, ["plots", "loss.png"])
    picture = page.locator("img[src^=blob]").first
    picture.wait_for()
    assert picture.evaluate("one => one.decode().then(() => one.naturalWidth)") > 400


def test_the_registered_version_says_where_it_comes_from(stack, finished, page, pictures) -> None:
    result = finished.result
    mlflow_pages.open_version(page, stack.mlflow, result["model"], result["version"])
    for text in (
        "@ candidate",
        f"flow run {finished.id}",
        result["mlflow_run_id"],  # of both stages
        result["stage_run_ids"]["stage1"],  # the parent adapter's
        Path(result["corpus"]).name,  # digest of the data
    ):
        expect(page.get_by_text(text).first).to_be_visible()
    page.screenshot(path=pictures / "mlflow-model.png")
    page.get_by_role("link", name=re.compile("stage2")).first.click()
    expect(page).to_have_url(re.compile(result["stage_run_ids"]["stage2"]))


def test_no_page_asked_anybody_else(stack, finished, opened: Browser) -> None:
    ours = (stack.prefect, stack.mlflow, "data:", "blob:")
    assert len(opened.requests) > 100
    assert [one for one in opened.requests if not one.startswith(ours)] == []


def test_the_secrets_were_in_use(finished, ntfy: Sink) -> None:
    push = ntfy.wait_for("completed", 60)
    assert (push.token, push.topic) == (ntfy.token, CANARIES.variables["CFT_NTFY_TOPIC"])


def test_no_secret_is_on_a_command_line(finished) -> None:
    assert any(b"cft.training" in one for one in finished.commands.seen)
    assert finished.commands.found == set()


def test_no_secret_lies_in_a_file(stack, finished) -> None:
    # Prefect's database is no exception: it holds blocks that are secrets, but encrypted.
    assert stack.home.prefect.joinpath("prefect.db").stat().st_size > 100_000
    assert {one.name for one in stack.logs.iterdir()} > {"prefect.log", "mlflow.log", "deploy.log"}
    assert CANARIES.found_under(stack.home.path) == {}


def test_no_secret_is_in_what_the_servers_tell(stack, finished) -> None:
    records = prefect_records(stack.prefect, AUTH)
    assert all(records[kind] for kind in ("flow_runs", "task_runs", "logs", "artifacts", "blocks"))
    tracked = tracking_records(stack.mlflow)
    assert {run["info"]["run_id"] for run in tracked["runs"]} >= {finished.result["mlflow_run_id"]}
    assert tracked["versions"]
    assert CANARIES.found_in(json.dumps([records, tracked], ensure_ascii=False).encode()) == set()


def test_mlflow_is_deaf_to_other_names_and_other_sites(stack) -> None:
    create, host = "/api/2.0/mlflow/experiments/create", {"Host": "elsewhere.example"}
    for path in ("/", "/api/2.0/mlflow/experiments/search?max_results=1", ARTIFACTS[0]):
        assert ask(stack.mlflow, "GET", path, headers=host)[0] == 403
    assert ask(stack.mlflow, "POST", create, {"name": "by host"}, JSON | host)[0] == 403
    origin = JSON | {"Origin": FOREIGN}
    assert ask(stack.mlflow, "POST", create, {"name": "by origin"}, origin)[0] == 403
    # A page's simple request, which asks no leave: no JSON.
    plain = {"Content-Type": "text/plain"}
    assert ask(stack.mlflow, "POST", create, {"name": "by form"}, plain)[0] == 400
    assert "access-control-allow-origin" not in ask(
        stack.mlflow, "GET", "/api/2.0/mlflow/experiments/search?max_results=1", None, origin
    )[2]  # fmt: skip
    found = {one.name for one in MlflowClient(stack.mlflow).search_experiments()}
    assert found == {"Default", "cft"}


def test_prefect_is_closed_to_other_sites_and_to_writes_without_a_token(stack) -> None:
    login = {"Authorization": f"Basic {b64encode(AUTH.encode()).decode()}"}
    leave = {"Origin": FOREIGN, "Access-Control-Request-Method": "POST"}
    for origin, allowed in ((FOREIGN, None), (stack.prefect, stack.prefect)):
        told = ask(stack.prefect, "OPTIONS", "/api/variables/", None, leave | {"Origin": origin})[2]
        assert told.get("access-control-allow-origin") == allowed
    wanted = {"name": "planted", "value": 1}
    assert ask(stack.prefect, "POST", "/api/variables/", wanted, JSON | login)[0] == 403
    # A token is for those who have the password.
    assert ask(stack.prefect, "GET", "/api/csrf-token?client=somebody")[0] == 401
    found = {one["name"] for one in prefect_records(stack.prefect, AUTH)["variables"]}
    assert "planted" not in found


def test_no_name_leads_out_of_the_artifacts(stack) -> None:
    root, secret = stack.home.mlflow_artifacts, stack.home.path / "outside"
    secret.write_text("a secret of this machine")
    before = {path for path in stack.home.path.rglob("*") if root not in path.parents}
    for base in ARTIFACTS:
        for name in names_leading_to(secret, root):
            status, said, _ = ask(stack.mlflow, "GET", f"{base}/{name}")
            assert (status in (400, 404), b"a secret" in said) == (True, False), name
            new = name.replace("outside", "written")
            ask(stack.mlflow, "PUT", f"{base}/{new}", b"written")
            ask(stack.mlflow, "DELETE", f"{base}/{name}")
        for name in names_leading_to(stack.home.path, root):
            said = ask(stack.mlflow, "GET", f"{base}?path={name}")[1]
            assert b"outside" not in said, name
    assert secret.read_text() == "a secret of this machine"
    after = {path for path in stack.home.path.rglob("*") if root not in path.parents}
    assert {path.name for path in after - before} & {"written"} == set()


def test_a_link_among_the_artifacts_leads_nowhere(stack) -> None:
    root, secret = stack.home.mlflow_artifacts, stack.home.path / "outside"
    secret.write_text("a secret of this machine")
    (root / "link").symlink_to(secret)
    (root / "linked").symlink_to(stack.home.path)
    try:
        for base in ARTIFACTS:
            for path in (f"{base}/link", f"{base}/linked/outside", f"{base}?path=linked"):
                status, said, _ = ask(stack.mlflow, "GET", path)
                assert (status, b"a secret" in said) == (400, False), path
            assert ask(stack.mlflow, "PUT", f"{base}/linked/written", b"x")[0] == 400
    finally:
        (root / "link").unlink()
        (root / "linked").unlink()
    assert not (stack.home.path / "written").exists()
