"""The verbs that run flows: what the flags become."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

import deployments.cli
from cft.errors import CftError
from cft.recipe import EvalRecipe, Settings, TrackingRecipe
from deployments.cli import run
from flows.forms import BaselinesSettings, EvaluateSettings
from flows.forms_reconcile import ReconcileSettings
from flows.forms_registry import PromoteSettings, RetrainSettings, RollbackSettings


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Settings]]:
    """The flows that would be run, with their settings."""
    calls: list[tuple[str, Settings]] = []
    monkeypatch.setattr(run, "flow", lambda name, settings: calls.append((name, settings)))
    return calls


def invoke(command: Any, *words: str) -> None:
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_flags_of_evaluate(seen) -> None:
    words = ["m", "--suites", "trika,sanskrit-sts", "--base", "b"]
    words += ["--eval-bootstrap-samples", "200", "--adapter-path", "a", "--experiment", "e"]
    words += ["--pairs", "p.json", "--contaminated", "--benchmarks", "STS12", "TrikaSTS"]
    invoke(deployments.cli.evaluate_command, *words, "--data", "d", "--device", "cuda:1")
    settings = EvaluateSettings(
        model="m",
        suites=["trika", "sanskrit-sts"],
        base="b",
        adapter="a",
        benchmarks=["STS12", "TrikaSTS"],
        benchmark_data="d",
        contaminated=True,
        pairs="p.json",
        device="cuda:1",
        evaluation=EvalRecipe(bootstrap_samples=200),
        tracking=TrackingRecipe(experiment="e"),
    )
    assert seen == [("evaluate", settings)]


def test_flags_of_baselines(seen) -> None:
    words = ["--models", "base", "ours", "--model-path", "b", "--adapter-path", "a"]
    invoke(deployments.cli.baselines_command, *words, "--baselines", "f.yaml", "--device", "cpu")
    settings = BaselinesSettings(
        models=["base", "ours"], model_path="b", adapter_path="a", listed="f.yaml", device="cpu"
    )
    assert seen == [("baselines", settings)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--suites", "sts"], r"command line: suites\.0: .*'trika' or 'sanskrit-sts'"),
        (["--device", "gpu"], "command line: device: .*gpu"),
        (["--eval-bootstrap-samples", "3"], r"evaluation\.bootstrap_samples: .*100"),
    ],
)
def test_an_impossible_value_names_its_field(words, message, seen) -> None:
    with pytest.raises(CftError, match=message):
        invoke(deployments.cli.evaluate_command, "m", *words)
    assert not seen


def test_flags_of_the_registry(seen) -> None:
    words = ["--recipe", "pilot", "--policy", "promote", "--force", "--stage1-max-steps", "500"]
    invoke(deployments.cli.retrain_command, *words)
    invoke(deployments.cli.promote_command, "7", "--skip-gate", "--reason", "by hand")
    invoke(deployments.cli.promote_command)
    invoke(deployments.cli.rollback_command, "--model-name", "m")
    (_, retrain), *others = seen
    assert isinstance(retrain, RetrainSettings)
    assert (retrain.policy, retrain.force) == ("promote", True)
    assert retrain.recipe.name == "pilot"
    assert retrain.recipe.stage1.max_steps == 500
    assert others == [
        ("promote", PromoteSettings(version="7", skip_gate=True, reason="by hand")),
        ("promote", PromoteSettings(version="candidate")),
        ("rollback", RollbackSettings(model_name="m")),
    ]


def test_flags_of_reconcile(seen) -> None:
    invoke(deployments.cli.reconcile_command, "--dry-run", "--stale-minutes", "2")
    assert seen == [("reconcile", ReconcileSettings(dry_run=True, stale_minutes=2))]


@pytest.mark.parametrize(
    "verb", [deployments.cli.retrain_command, deployments.cli.promote_command], ids=str
)
def test_no_two_settings_share_a_flag(verb: click.Command) -> None:
    flags = [flag for one in verb.params for flag in one.opts]
    assert len(set(flags)) == len(flags)
