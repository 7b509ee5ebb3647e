"""Suites on any encoder: scored once, shown on a page, logged with the version that earned them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from cft.corpora.evalset import EvalSet
from cft.corpora.trika import load_trika
from cft.errors import CftError
from cft.evaluation.contamination import find_contamination, training_data_of
from cft.evaluation.figures import PRIMARY
from cft.evaluation.report import suite_report
from cft.evaluation.report.page import write_report
from cft.evaluation.report.texts import texts_of
from cft.evaluation.result import SuiteResult, load_result
from cft.evaluation.suites import held_out, sanskrit_sts, trika
from cft.files import digest_code, digest_json, write_atomic
from cft.home import Home
from cft.recipe import EvalRecipe
from cft.tracking.runs import TrackedRun
from cft.tracking.scores import registered_version
from tasks.data import evaluation_set
from tasks.evaluate import differences_of, results_of
from tasks.registry import registry_client
from tasks.retries import ON_NETWORK

if TYPE_CHECKING:
    from cft.evaluation.encoders import NamedEncoder

# What a model that does not fit this machine, or is no model, fails with; not a fault of ours.
FAULTS = (CftError, RuntimeError, MemoryError, OSError)
SUITES = (trika.SUITE, sanskrit_sts.SUITE)
HELD_OUT = "held-out"


@dataclass(frozen=True)
class Candidate:
    """A model to be evaluated.

    Attributes:
        title: name of its column.
        reference: whatever :func:`cft.evaluation.encoders.open_encoder` takes.
        backbone: of an adapter whose own word on it is not to be taken.
        adapter: put on a backbone.
        query_prompt: of a model that has none of its own.
        document_prompt: likewise.
        device: ``auto`` takes CUDA, then MPS, then the CPU.
        trust_remote_code: whether Python files of the model may run.
        contaminated: whether it was trained on texts of the suites.
    """

    title: str
    reference: str
    backbone: str | None = None
    adapter: str | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    device: str = "auto"
    trust_remote_code: bool = False
    contaminated: bool = False

    def open(self, home: Home) -> "NamedEncoder":
        """Load the model, with the state folder's cache of embeddings."""
        from cft.evaluation.encoders import open_encoder

        return open_encoder(
            self.reference,
            backbone=self.backbone,
            adapter=self.adapter,
            device=self.device,
            cache=home.embeddings,
            query_prompt=self.query_prompt,
            document_prompt=self.document_prompt,
            trust_remote_code=self.trust_remote_code,
        )

    def training_data(self) -> list[Path]:
        """What the model was trained on, where that is still on this machine."""
        home = Home.from_environment()
        named = [Path(one) for one in (self.reference, self.adapter) if one]
        data = [store for one in named for store in training_data_of(one)]
        version = registered_version(registry_client(home), self.reference)
        if version is not None and version.tags.get("data_digest"):
            data.append(home.data / version.tags["data_digest"])
        for one in data:
            if not one.exists():
                get_run_logger().warning(
                    "%s: gone; whether it held texts of a suite is not known", one
                )
        return [one for one in data if one.exists()]


@dataclass(frozen=True)
class Question:
    """A suite and what it asks from, where it has no texts of its own.

    Attributes:
        suite: one of :data:`SUITES`, or ``held-out``.
        pairs: file of labelled pairs, of ``sanskrit-sts``.
        corpus: prepared data whose held-out texts are asked, of ``held-out``.
    """

    suite: str
    pairs: str | None = None
    corpus: str | None = None

    def asked(self) -> Any:
        """The corpus or the labelled pairs.

        Raises:
            CftError: the suite is unknown, or its file is missing or malformed.
        """
        if self.suite == trika.SUITE:
            return load_trika()
        if self.suite == sanskrit_sts.SUITE:
            if self.pairs is None:
                raise CftError(
                    f"suite {self.suite}: no labelled pairs; name the file that "
                    "`cft data vbt-eval` writes"
                )
            return sanskrit_sts.read_sanskrit_sts(Path(self.pairs))
        if self.suite == HELD_OUT and self.corpus is not None:
            return evaluation_set(Path(self.corpus))
        raise CftError(f"suite {self.suite}: unknown; give one of {', '.join(SUITES)}")

    def ask(
        self,
        encoder: "NamedEncoder",
        recipe: EvalRecipe,
        *,
        model: str,
        contaminated: bool,
        base: SuiteResult | None,
    ) -> SuiteResult:
        """Score an encoder; drift is measured from ``base`` where the suite does."""
        options: dict[str, Any] = {"model": model, "contaminated": contaminated}
        if self.suite == trika.SUITE:
            return trika.run(encoder, self.asked(), recipe, base=base, **options)
        if self.suite == HELD_OUT:
            return held_out.evaluate(encoder, self.asked(), recipe, base=base, **options)
        return sanskrit_sts.run(encoder, self.asked(), recipe, **options)

    def texts(self) -> list[str]:
        """Every text that is asked."""
        asked = self.asked()
        if self.suite == trika.SUITE:
            return list(asked.texts.values())
        if isinstance(asked, EvalSet):
            return [text for _, text in asked.labelled_texts()]
        return list(asked.texts())

    def seen_by(self, one: Candidate) -> bool:
        """Whether a model was trained on texts of the suite, as far as its data can be found."""
        found = find_contamination(self.suite, self.texts(), one.training_data())
        return one.contaminated or bool(found)

    def digest(self) -> str:
        """Of what is asked: the texts and the labels."""
        asked = self.asked()
        evalset = asked.to_evalset() if self.suite == trika.SUITE else asked
        return digest_json(evalset.model_dump(mode="json"))


def pinned(home: Home, reference: str) -> str:
    """A reference that means the same version however often it is asked.

    An alias moves when another training ends: what was opened, what was looked up and what the
    scores are written on would be three versions.

    Raises:
        CftError: the registry has no such model, version or alias.
    """
    version = registered_version(registry_client(home), reference)
    return f"models:/{version.name}/{version.version}" if version else reference


@task(name="run-suite", cache_policy=NO_CACHE)
def run_suite(
    question: Question, candidate: Candidate, recipe: EvalRecipe, base: str | None = None
) -> str:
    """Score a model on a suite; the result of the same weights, texts and settings is taken again.

    Returns:
        Folder of the result.
    """
    home = Home.from_environment()
    encoder, contaminated = candidate.open(home), question.seen_by(candidate)
    target = home.evaluations / digest_json(
        {
            "suite": question.suite,
            "asked": question.digest(),
            "title": candidate.title,
            "contaminated": contaminated,
            "revision": encoder.revision,
            "prompts": [encoder.query_prompt, encoder.document_prompt],
            "base": Path(base).name if base else None,
            "recipe": recipe.model_dump(exclude={"batch_tokens"}),
            "code": digest_code("cft.evaluation", "cft.model", "cft.text"),
        }
    )
    if not target.exists():
        from_base = load_result(Path(base)) if base else None
        options: dict[str, Any] = {"model": candidate.title, "contaminated": contaminated}
        question.ask(encoder, recipe, base=from_base, **options).save(target)
    return str(target)


@task(name="report-suite", cache_policy=NO_CACHE)
def report_suite(
    question: Question,
    evaluations: dict[str, str],
    folder: str,
    recipe: EvalRecipe,
    facts: dict[str, str],
    absent: dict[str, str],
) -> str:
    """Write page, plots and markdown of a suite; the markdown is also an artifact of the flow run.

    Args:
        question: the suite.
        evaluations: folder of each result by title; the others are compared with the first.
        folder: where the files go.
        recipe: settings of the comparison.
        facts: lines about the run.
        absent: models that could not be evaluated, and why.

    Returns:
        The HTML page.
    """
    results = results_of({title: Path(place) for title, place in evaluations.items()})
    page = write_report(
        results,
        texts_of(next(iter(results.values()))),
        Path(folder),
        differences=differences_of(results, recipe),
        facts=facts,
        notes=[f"{title} was not evaluated: {why}" for title, why in absent.items()],
    )
    title = f"{question.suite}: {', '.join(results)}"
    markdown = suite_report(
        title,
        {name: one.evaluation for name, one in results.items()},
        absent=absent,
        facts=facts | {"Page with plots and failures": str(page)},
    )
    write_atomic(Path(folder) / "report.md", markdown)
    create_markdown_artifact(markdown, key=f"suite-{question.suite}", description=title)
    return str(page)


@task(name="track-suite", cache_policy=NO_CACHE, **ON_NETWORK)
def track_suite(run: TrackedRun, reference: str, folder: str) -> None:
    """Log one model's scores to its run, and to the registered version where it is one."""
    result = load_result(Path(folder))
    run.scores(
        result.suite,
        result.evaluation.metrics(),
        reference=reference,
        headline={name: result.figures[name].value for name in PRIMARY if name in result.figures},
        contaminated=result.contaminated,
    )
    run.tags({"model": reference, "revision": result.revision or None})
    run.files(Path(folder), f"{result.suite}/result")


@task(name="track-report", cache_policy=NO_CACHE, **ON_NETWORK)
def track_report(run: TrackedRun, suite: str, page: str) -> None:
    """Store the page, its plots and the markdown as artifacts of the run."""
    run.files(Path(page).parent, f"{suite}/report")
