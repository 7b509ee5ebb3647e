"""The gate as tasks: both models on the same suites, the decision, and where it is written down."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow.entities.model_registry import ModelVersion
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from cft.errors import CftError
from cft.evaluation.contamination import trained_on
from cft.evaluation.gate import Entrant, GateDecision, decide
from cft.evaluation.report.gate import gate_page
from cft.evaluation.result import load_result
from cft.files import digest_code, digest_json, whole_folder, write_atomic, write_json
from cft.home import Home
from cft.recipe import EvalRecipe, GateRecipe
from cft.tracking.promotion import contamination_of
from cft.tracking.runs import Tracking
from tasks.registry import registry_client
from tasks.steps import key_of_target
from tasks.suites import HELD_OUT, Candidate, Question

DECISION, PAGE = "decision.json", "decision.md"
ARTIFACT_KEY = "gate"


@dataclass(frozen=True)
class Bout:
    """A challenger, the champion it meets, and what both are asked.

    Attributes:
        name: registered model.
        challenger: version.
        champion: version; None where there is none.
        corpus: prepared data whose held-out texts are asked.
        gate: settings of the decision.
        evaluation: settings of the evaluations.
        device: where the models run.
        trust_remote_code: whether Python files of a backbone may run.
    """

    name: str
    challenger: str
    champion: str | None
    corpus: str
    gate: GateRecipe
    evaluation: EvalRecipe
    device: str = "auto"
    trust_remote_code: bool = False

    @property
    def questions(self) -> list[Question]:
        """The suites of the gate."""
        return [
            Question(suite, corpus=self.corpus if suite == HELD_OUT else None)
            for suite in self.gate.suites
        ]

    @property
    def versions(self) -> list[str]:
        """Who is evaluated, the champion first."""
        return [one for one in (self.champion, self.challenger) if one is not None]

    def candidate(self, version: str) -> Candidate:
        """A version as the registry serves it."""
        return Candidate(
            f"{self.name}/{version}",
            f"models:/{self.name}/{version}",
            device=self.device,
            trust_remote_code=self.trust_remote_code,
        )

    def folder(self, here: Path) -> Path:
        """Where the decision lies in a run directory; another champion is another decision."""
        return (
            here
            / "gate"
            / digest_json(
                {
                    "versions": [self.name, self.challenger, self.champion],
                    "corpus": Path(self.corpus).name,
                    "gate": self.gate.model_dump(),
                    "evaluation": self.evaluation.model_dump(),
                    "code": digest_code("cft.evaluation", "cft.model", "cft.text"),
                }
            )
        )


def corpus_of(home: Home, version: ModelVersion) -> Path:
    """The prepared data that a version was trained on.

    Raises:
        CftError: the version does not name them, or they are gone.
    """
    digest = version.tags.get("data_digest")
    if not digest:
        raise CftError(
            f"{version.name}/{version.version}: has no tag data_digest; name a version that "
            "training registered"
        )
    folder = home.data / digest
    if not folder.is_dir():
        raise CftError(
            f"{folder}: the data of {version.name}/{version.version} are gone, and with them the "
            "texts that it did not train on; prepare them again from its recipe"
        )
    return folder


@task(name="decide", cache_key_fn=key_of_target, persist_result=True)
def run_gate(target: str, bout: Bout, evaluations: dict[str, dict[str, str]]) -> str:
    """Compare challenger and champion and write the decision down, whole or not at all.

    Args:
        target: folder of the decision.
        bout: who meets whom.
        evaluations: by version and suite, the folder of each result.
    """
    challenger = _entrant(bout, bout.challenger, evaluations[bout.challenger])
    champion = None
    if bout.champion is not None:
        champion = _entrant(bout, bout.champion, evaluations[bout.champion])
    decision = decide(bout.gate, challenger, champion)
    with whole_folder(Path(target)) as beside:
        write_atomic(beside / DECISION, decision.model_dump_json(indent=2) + "\n")
        write_atomic(beside / PAGE, gate_page(decision))
    return target


def _entrant(bout: Bout, version: str, evaluations: dict[str, str]) -> Entrant:
    home = Home.from_environment()
    client = registry_client(home)
    registered = client.get_model_version(bout.name, version)
    name, objections, notes = f"{bout.name}/{version}", [], []
    if (mark := contamination_of(client, registered)) is not None:
        objections.append(mark)
    seen: dict[str, np.ndarray] = {}
    try:
        data = [corpus_of(home, registered)]
    except CftError as error:
        # Of a challenger it must be shown; a champion that is flattered only stays where it is.
        objections.append(f"whether it was trained on texts of the suites is not known: {error}")
        notes.append(f"Whether {name} was trained on texts of the suites is not known: {error}.")
    else:
        seen = {one.suite: trained_on(one.texts(), data) for one in bout.questions}
    results = {suite: load_result(Path(folder)) for suite, folder in evaluations.items()}
    return Entrant(name, results, seen, objections, notes)


def decision_of(folder: Path) -> GateDecision:
    """The decision that :func:`run_gate` left."""
    return GateDecision.model_validate_json((folder / DECISION).read_bytes())


@task(name="publish-decision", cache_policy=NO_CACHE)
def publish_decision(folder: str, job: str, experiment: str) -> dict[str, str]:
    """The decision as an artifact of the flow run and of an MLflow run of the gate's own.

    A run that was suspended or retried publishes once.

    Returns:
        ``report``, ``mlflow_run_id`` and ``mlflow_experiment_id``.
    """
    done = Path(folder).with_name(f"{Path(folder).name}.published.json")
    if done.exists():
        return json.loads(done.read_text(encoding="utf-8"))
    decision, page = decision_of(Path(folder)), (Path(folder) / PAGE).read_text(encoding="utf-8")
    tracking = Tracking.open(Home.from_environment(), experiment)
    tags = {
        "flow_run_id": job,
        "gate_verdict": decision.verdict,
        "challenger": decision.challenger,
        "champion": decision.champion,
    }
    with tracking.run(f"gate {decision.challenger}", role="gate", job=job, tags=tags) as run:
        run.text(page, f"gate/{PAGE}")
        run.text(decision.model_dump_json(indent=2), f"gate/{DECISION}")
        run.metrics(
            {
                f"gate/{row.suite}/{f'{row.slice}/' if row.slice else ''}{row.metric}/{name}": value
                for row in decision.rows
                for name in ("challenger", "champion", "difference")
                if (value := getattr(row, name)) is not None
            }
        )
    create_markdown_artifact(page, key=ARTIFACT_KEY, description=f"Gate: {decision.verdict}")
    for reason in decision.reasons:
        get_run_logger().info("refused: %s", reason)
    if run.id is None or run.experiment_id is None:
        raise CftError(
            f"MLflow at {tracking.uri}: has not taken the gate's decision, which lies in {folder}; "
            "retry this run when it answers"
        )
    published = {
        "report": f"runs:/{run.id}/gate/{PAGE}",
        "mlflow_run_id": run.id,
        "mlflow_experiment_id": run.experiment_id,
    }
    write_json(done, published)
    return published
