"""Which models ours is compared with, the prompts of each, and the comparison itself."""

import gc
import logging
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError
from tqdm import tqdm

from cft.corpora.trika import TrikaCorpus
from cft.errors import CftError, problems_of
from cft.evaluation.contamination import find_contamination, training_data_of
from cft.evaluation.figures import Evaluation
from cft.evaluation.result import FIGURES, load_result
from cft.evaluation.suites.trika import run as run_trika
from cft.files import digest_json
from cft.recipe import EvalRecipe, Settings

log = logging.getLogger(__name__)
BASE, OURS = "base", "ours"  # the two that come from the command line
_WEIGHT_FAULTS = (CftError, RuntimeError, MemoryError, OSError)  # torch's out-of-memory is the 2nd


class Baseline(Settings):
    """One model of the comparison."""

    title: str = Field(min_length=1, description="Name in tables.")
    model: str = Field(description="Folder, or name of a sentence-transformers model.")
    adapter: str | None = Field(None, description="Adapter folder on top of a backbone.")
    query_prompt: str | None = Field(
        None, description="Put before queries and both sides of STS; none: the model's own."
    )
    document_prompt: str | None = Field(
        None, description="Put before documents; none: the model's own."
    )
    trust_remote_code: bool = Field(False, description="Whether the model's Python files run.")


class BaselineRow(Settings):
    """One model's figures, or the reason why it has none."""

    key: str
    title: str
    model: str
    query_prompt: str | None = None
    document_prompt: str | None = None
    evaluation: Evaluation | None = None
    reason: str = ""

    @property
    def note(self) -> str:
        """What a reader of the row must know: why it is empty, or that its figures flatter."""
        contaminated = self.evaluation is not None and self.evaluation.contaminated
        return "CONTAMINATED: trained on these texts" if contaminated else self.reason


def load_baselines(path: Path | None = None) -> dict[str, Baseline]:
    """The models of a YAML file by key; those that come with the package where none is named.

    Raises:
        CftError: the file is missing, no YAML, or an entry has a wrong or unknown field.
    """
    place: Any = path or resources.files(__package__) / "baselines.yaml"
    try:
        entries = yaml.safe_load(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CftError(f"{path}: no such list of models; name a YAML file that exists") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        what = " ".join(str(error).split())
        raise CftError(f"{path}: not valid YAML ({what}); mend the file") from None
    if not isinstance(entries, dict):
        raise CftError(f"{path}: not a mapping of keys to models; see the package's baselines.yaml")
    found = {}
    for key, entry in entries.items():
        try:
            found[str(key)] = Baseline.model_validate(entry)
        except ValidationError as error:
            raise CftError(f"{place}, {key}: {problems_of(error)}; mend the entry") from None
    return found


def chosen_baselines(
    names: Sequence[str],
    known: dict[str, Baseline],
    *,
    model_path: Path | None = None,
    adapter_path: Path | None = None,
) -> dict[str, Baseline | str]:
    """Models by key in the order asked for; a text in place of one says why it cannot be.

    Args:
        names: keys, ``all``, ``base``, ``ours``, or a folder or ``OWNER/NAME`` that is no key.
        known: from :func:`load_baselines`.
        model_path: the base model.
        adapter_path: our adapter, on the base model or on the one that it names itself.

    Raises:
        CftError: a name is no key and no reference.
    """
    base: Baseline | str = "no base model was named; give --model-path"
    if model_path is not None:
        base = Baseline(title=f"{model_path.name} (base)", model=str(model_path))
    ours: Baseline | str = "no adapter was named; give --adapter-path"
    if adapter_path is not None and model_path is not None:
        ours = Baseline(title="ours", model=str(model_path), adapter=str(adapter_path))
    elif adapter_path is not None:
        ours = Baseline(title="ours", model=str(adapter_path))
    every = {**known, BASE: base, OURS: ours}
    found: dict[str, Baseline | str] = {}
    for name in names:
        if name == "all":
            found |= {key: one for key, one in every.items() if key not in found}
        elif name in every:
            found[name] = every[name]
        elif "/" in name or Path(name).exists():
            key = title = Path(name).name
            while key in found or key in every:  # two folders called alike
                key += "+"
            found[key] = Baseline(title=title, model=name)
        else:
            raise CftError(
                f"--models: {name} is none of {', '.join(every)}; give one of these, all, a "
                "folder or OWNER/NAME"
            )
    if not found:
        raise CftError("--models: empty; name a model or all")
    return found


def run_baselines(
    chosen: dict[str, Baseline | str],
    corpus: TrikaCorpus,
    recipe: EvalRecipe,
    *,
    output: Path,
    device: str = "auto",
    cache: Path | None = None,
    progress: bool = True,
) -> list[BaselineRow]:
    """Score each model on the Trika suite; one at a time is in memory.

    Results are folders ``<output>/<key>-<digest>``; a model whose folder is there, for the same
    weights, prompts and verses, is loaded to be sure of its weights, but not run again. A model
    that cannot be loaded or run is a row that says why, and the others go on.
    """
    import torch  # not where only the list of models is asked for

    rows = []
    started = time.perf_counter()
    with tqdm(chosen.items(), desc="baselines", unit="model", disable=not progress) as bar:
        for key, one in bar:
            bar.set_postfix_str(key)
            if isinstance(one, str):
                rows.append(BaselineRow(key=key, title=key, model="", reason=one))
                continue
            try:
                rows.append(_run(key, one, corpus, recipe, output, device, cache))
            except _WEIGHT_FAULTS as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                log.warning("%s: not run (%s)", one.title, reason)
                rows.append(BaselineRow(**_facts(key, one), reason=reason))
            gc.collect()  # the model is in reference cycles, and the next one needs its room
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    if progress:
        seconds, count = time.perf_counter() - started, len(scored(rows))
        log.info(
            "baselines: %d of %d models have figures, %.1f s (%.2f models/s)",
            count, len(rows), seconds, count / max(seconds, 1e-9),
        )  # fmt: skip
    return rows


def _facts(key: str, one: Baseline) -> dict[str, Any]:
    return {
        "key": key,
        "title": one.title,
        "model": one.model if one.adapter is None else f"{one.model} + {one.adapter}",
        "query_prompt": one.query_prompt,
        "document_prompt": one.document_prompt,
    }


def _run(
    key: str,
    one: Baseline,
    corpus: TrikaCorpus,
    recipe: EvalRecipe,
    output: Path,
    device: str,
    cache: Path | None,
) -> BaselineRow:
    from cft.evaluation.encoders import open_encoder

    encoder = open_encoder(
        one.model,
        adapter=one.adapter,
        device=device,
        cache=cache,
        query_prompt=one.query_prompt,
        document_prompt=one.document_prompt,
        trust_remote_code=one.trust_remote_code,
    )
    prompts = {
        "query_prompt": encoder.query_prompt,
        "document_prompt": encoder.document_prompt,
    }
    settings = recipe.model_dump(exclude={"batch_tokens"})
    identity = [encoder.revision, prompts, corpus.source, settings, one.title]
    folder = output / f"{key}-{digest_json(identity)[:12]}"
    if (folder / FIGURES).exists():
        found = load_result(folder)
    else:
        found = run_trika(
            encoder,
            corpus,
            recipe,
            model=one.title,
            query_prompt=encoder.query_prompt,
            document_prompt=encoder.document_prompt,
            contaminated=_is_contaminated(one, corpus),
        )
        found.save(folder)
    return BaselineRow(**(_facts(key, one) | prompts), evaluation=found.evaluation)


def _is_contaminated(one: Baseline, corpus: TrikaCorpus) -> bool:
    """Whether the runs that trained a model had these verses, as far as their data are here."""
    stores = training_data_of(Path(one.adapter or one.model))
    there = [store for store in stores if store.exists()]
    for store in stores:
        if store not in there:
            log.warning("%s: gone; whether %s was trained on %s is not known",
                        store, one.title, corpus.name)  # fmt: skip
    return bool(find_contamination(corpus.name, list(corpus.texts.values()), there))


def scored(rows: Sequence[BaselineRow]) -> dict[str, Evaluation]:
    """Evaluations by title; equal titles are told apart by their keys."""
    found: dict[str, Evaluation] = {}
    for row in rows:
        if row.evaluation is not None:
            title = row.title if row.title not in found else f"{row.title} ({row.key})"
            found[title] = row.evaluation
    return found
