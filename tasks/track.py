"""What a two-stage run leaves in MLflow, and what a person reads of it."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from cft.evaluation.figures import MAIN_METRIC, Evaluation
from cft.evaluation.plots import loss_curve, losses, similarity_heatmap, similarity_histograms
from cft.evaluation.report import run_report
from cft.evaluation.report.page import write_report
from cft.evaluation.report.texts import report_texts
from cft.files import digest_file, digest_folder, digest_json, write_atomic
from cft.home import Home
from cft.mining.hardness import SIMILARITY_FILE, metrics_of
from cft.model.identity import backbone_digest
from cft.model.source import fetched_from
from cft.recipe import Recipe, flattened, training_digest
from cft.tracking.run_directory import RunDirectory
from cft.tracking.runs import TrackedRun, Tracking
from cft.triplets.manifest import contamination_note
from cft.triplets.prepare import EVALUATION_SET, load_manifest
from tasks.data import evaluation_set
from tasks.evaluate import differences_of, results_of, similarities

HEADLINE = (MAIN_METRIC, "sts/spearman", "triplet/accuracy")
RESULTS_KEY = "two-stage-results"


@dataclass(frozen=True)
class Tracked:
    """A two-stage run in MLflow: the parent and the way to its children."""

    tracking: Tracking
    parent: TrackedRun
    job: str
    lineage: dict[str, Any]

    def stage(self, stage: str, recipe: Recipe) -> contextlib.AbstractContextManager[TrackedRun]:
        """The child run of a stage, open while the block runs."""
        return self.tracking.run(
            f"{recipe.name} {stage}",
            role=stage,
            job=self.job,
            parent=self.parent,
            tags=self.lineage | {"stage": stage},
        )


@contextlib.contextmanager
def two_stage_run(
    home: Home,
    recipe: Recipe,
    job: str,
    corpus: Path,
    backbone: Path,
    code: Mapping[str, Any],
    role: str = "two-stage",
) -> Iterator[Tracked]:
    """The parent run, with everything that is known before the training: settings and lineage.

    A stage that is trained by itself has no parent: the run has its role and is its own.
    """
    tracking = Tracking.open(home, recipe.tracking.experiment, recipe.tracking.wait_seconds)
    manifest, source = load_manifest(corpus), fetched_from(backbone)
    lineage = {
        "recipe": recipe.name,
        "recipe_digest": training_digest(recipe),
        "data_digest": corpus.name,
        # On every run and every registered version: no figure of theirs can be read without it.
        "contaminated": manifest["contaminated"],
        "contaminated_rows": manifest["contaminated_rows"],
        "backbone": str(backbone),
        "backbone_digest": backbone_digest(backbone),
        "backbone_repo": source.repo if source else None,
        "backbone_revision": source.revision if source else None,
        "code_digest": code["digest"],
        "git_commit": code.get("git_commit"),
        "git_dirty": code.get("git_dirty"),
        "flow_run_id": job,
    }
    with tracking.run(
        recipe.name, role=role, job=job, tags=lineage, params=flattened(recipe)
    ) as parent:
        parent.file(corpus / "manifest.json", "data")
        for context in ("stage1", "stage2"):
            digest = digest_file(corpus / f"{context}.arrow")
            profile = {"manifest": digest_json(manifest)}
            parent.dataset(f"{recipe.name}-{context}", digest, corpus, profile, context)
        digest = digest_file(corpus / EVALUATION_SET)
        parent.dataset(f"{recipe.name}-held-out", digest, corpus / EVALUATION_SET, {}, "evaluation")
        yield Tracked(tracking, parent, job, lineage)


@task(name="draw-plots", cache_policy=NO_CACHE)
def draw_plots(folder: str, runs: dict[str, Path], evaluations: dict[str, Path]) -> list[str]:
    """Loss curve, similarity histograms and heat maps as PNG."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    curves = {name: losses(RunDirectory(path).read_events(0)[0]) for name, path in runs.items()}
    drawn = [loss_curve(curves, place / "loss.png")]
    found = results_of(evaluations)
    similarities = {
        name: result.similarities
        for name, result in found.items()
        if result.similarities is not None
    }
    if similarities:
        drawn.append(similarity_histograms(similarities, place / "similarities.png"))
        drawn.append(similarity_heatmap(similarities, place / "heatmap.png"))
    return [str(path) for path in drawn]


@task(name="track-results", cache_policy=NO_CACHE)
def track_results(tracked: Tracked, evaluations: dict[str, Path], plots: list[str]) -> None:
    """Figures of all models under stable names, their JSON and the plots, on the parent run."""
    for name, folder in evaluations.items():
        evaluation = results_of({name: folder})[name].evaluation
        tracked.parent.metrics(figures_of(name, evaluation))
        tracked.parent.text(evaluation.model_dump_json(indent=2), f"evaluation/{name}.json")
    for plot in plots:
        tracked.parent.file(Path(plot), "plots")


@task(name="track-similarity", cache_policy=NO_CACHE)
def track_similarity(tracked: Tracked, run: TrackedRun, stage: str, folder: str) -> None:
    """How hard a stage's negatives are: on its run, and under the stage's name on the parent."""
    values = metrics_of(similarities(Path(folder))[stage])
    run.metrics(values)
    run.file(Path(folder) / SIMILARITY_FILE, "data")
    tracked.parent.metrics({f"{stage}/{name}": value for name, value in values.items()})


def figures_of(name: str, evaluation: Evaluation) -> dict[str, float]:
    """Metrics of one model: ``stage1/sa_en/mrr`` and its interval in ``…_low`` and ``…_high``."""
    values = {}
    for metric, figure in evaluation.figures.items():
        values[f"{name}/{metric}"] = figure.value
        values[f"{name}/{metric}_low"] = figure.low
        values[f"{name}/{metric}_high"] = figure.high
    return values


@task(name="log-model", cache_policy=NO_CACHE, retries=0)
def log_model(run: TrackedRun, adapter: str, backbone: str) -> str | None:
    """Log the adapter as a loadable model of its stage's run.

    Returns:
        The model's URI; None while the server has not taken it.
    """
    digest = backbone_digest(backbone)
    run.model(adapter=Path(adapter), backbone=Path(backbone), backbone_digest=digest)
    return run.model_uri


@dataclass(frozen=True)
class Trained:
    """One trained stage."""

    stage: str
    run: TrackedRun
    adapter: Path
    model: str | None


@task(name="register-adapter", cache_policy=NO_CACHE, retries=0)
def register_adapter(
    tracked: Tracked, recipe: Recipe, trained: list[Trained], folder: str
) -> str | None:
    """Register the last stage's model with its lineage and figures.

    Args:
        tracked: the two-stage run.
        recipe: of the run.
        trained: the stages in order; each is the parent of the next.
        folder: evaluation of the last stage.

    Returns:
        The version; None while the server has not taken it.
    """
    *before, last = trained
    figures = results_of({last.stage: Path(folder)})[last.stage].evaluation.figures
    tags = tracked.lineage | {"adapter_digest": digest_folder(last.adapter)}
    runs, models = {"two_stage_run": tracked.parent}, {}
    if before:
        parent = before[-1]
        tags |= {
            "parent_stage": parent.stage,
            "parent_adapter_digest": digest_folder(parent.adapter),
        }
        runs["parent_run"] = models["parent_model"] = parent.run
    tags |= {f"figure.{name}": figures[name].value for name in HEADLINE if name in figures}
    last.run.register(
        recipe.tracking.model_name,
        tags=tags,
        runs=runs,
        models=models,
        description=f"Recipe {recipe.name}, flow run {tracked.job}"
        + (", CONTAMINATED" if tracked.lineage["contaminated"] else ""),
    )
    return last.run.version


@task(name="publish-report", cache_policy=NO_CACHE)
def publish_report(
    tracked: Tracked,
    recipe: Recipe,
    evaluations: dict[str, Path],
    folder: str,
    record: dict[str, Any],
    corpus: str,
) -> tuple[str, str]:
    """The report as files, as an artifact of the flow run and of the MLflow run.

    Returns:
        The markdown and the HTML page.
    """
    note = contamination_note(load_manifest(Path(corpus)))
    results = results_of(evaluations)
    page = write_report(
        results,
        report_texts(evaluation_set(Path(corpus))),
        Path(folder) / "page",
        differences=differences_of(results, recipe.evaluation),
        facts=record["facts"],
        notes=[note] if note else [],
    )
    markdown = run_report(
        recipe=recipe.name,
        evaluations={name: one.evaluation for name, one in results.items()},
        seconds=record["seconds"],
        steps=record["steps"],
        reused=record["reused"],
        facts=record["facts"] | {"Page with plots and failures": str(page)},
        notes=[note] if note else [],
    )
    path = Path(folder) / "report.md"
    write_atomic(path, markdown)
    tracked.parent.file(path, "report")
    tracked.parent.file(page, "report")
    create_markdown_artifact(
        markdown, key=RESULTS_KEY, description=f"Recipe {recipe.name}: base, stage 1, stage 2"
    )
    return str(path), str(page)
