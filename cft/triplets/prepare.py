"""From corpora to a folder of triplets, training texts and an evaluation set.

The folder holds ``texts.arrow`` (every text with its id; the texts of the training splits first),
``stage1.arrow`` and ``stage2.arrow`` (rows of text ids), ``eval.json`` and ``manifest.json``.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from cft.corpora import synthetic
from cft.corpora.base import ParallelCorpus, VerseCorpus, VersePair
from cft.corpora.itihasa import load_itihasa
from cft.corpora.sources import local_sources
from cft.corpora.vbt import load_vbt
from cft.errors import CftError
from cft.files import whole_folder
from cft.recipe import DataRecipe
from cft.triplets.base import TextIds, Triplets
from cft.triplets.examination import make_evalset
from cft.triplets.itihasa import epic_triplets
from cft.triplets.leaks import GuardedSet, Wordings, guarded_sets, require_no_leak
from cft.triplets.manifest import contamination, dataset_manifest, load_manifest, save_manifest
from cft.triplets.nli import nli_triplets
from cft.triplets.splits import EpicSplit, VerseSplit, split_epic, split_verses
from cft.triplets.tables import fixed_lists, map_file, numbers, table_of, write_table
from cft.triplets.vbt import domains_of, verse_triplets

__all__ = ["EVALUATION_SET", "load_manifest", "load_triplets", "prepare", "training_texts"]

log = logging.getLogger(__name__)

STAGES = ("stage1", "stage2")
EVALUATION_SET = "eval.json"
TEXTS = "texts.arrow"
_TEXTS_PER_BATCH = 8192


def prepare(recipe: DataRecipe, folder: Path) -> Path:
    """Read or generate the corpora, split them, and write triplets and evaluation set.

    The folder appears whole or not at all; where it exists already, it stands.

    Raises:
        CftError: a source is malformed, too small to split or to draw negatives from, or a
            text of the evaluation set stands in the training data.
    """
    started = time.perf_counter()
    recipe = local_sources(recipe)
    guarded = guarded_sets(recipe.eval_sets)  # a name that is wrong is told before any work
    epic, verses = load_corpora(recipe)
    verse_split = split_verses(verses, recipe.vbt_held_out, recipe.seed)
    unseen = [text for verse in verse_split.held_out for text in (verse.sanskrit, verse.english)]
    unseen += [text for pair in verse_split.held_out_dissimilarity for text in pair]
    unseen += [
        text
        for row in verse_split.held_out_graded
        for text in (verses.graded_pairs[row].a, verses.graded_pairs[row].b)
    ]
    epic_split = split_epic(epic, recipe.eval_pairs, recipe.seed, unseen)

    sources = {}
    if recipe.nli is None:
        stage1 = epic_triplets(
            epic_split.train, recipe.triplet_types, recipe.min_distance, recipe.seed
        )
    else:
        stage1, sources["nli"] = nli_triplets(Path(recipe.nli), recipe.num_rows)
    if recipe.all_verses:
        verse_split = replace(
            verse_split, train=verses.verses, train_similarity=verses.similarity_pairs
        )
    stage2, strategies = verse_triplets(
        verse_split.train,
        verse_split.train_similarity,
        epic_split.train,
        recipe.strategies,
        recipe.n_negs,
        recipe.seed,
    )
    evalset = make_evalset(
        f"{epic.name} and {verses.name}",
        epic_split,
        verse_split,
        verses.graded_pairs,
        recipe.eval_pairs,
        recipe.seed,
    )
    stages = {"stage1": stage1, "stage2": stage2}
    documents = _documents(epic_split.train) + _documents(verse_split.train)
    if recipe.nli is not None:
        documents += stage1.texts()
    ids = TextIds([*documents, *stage1.texts(), *stage2.texts()])
    columns = {name: ids.columns(triplets) for name, triplets in stages.items()}
    guarded = [GuardedSet.of(evalset), *guarded]
    trained = {
        f"{stage}.{name}": column
        for stage, parts in columns.items()
        for name, column in zip(("anchor", "positive", "negatives"), parts, strict=True)
    } | {"training_texts": ids.of(documents)}
    wordings = Wordings(ids.texts, ids.ids_U)
    leaks = require_no_leak(
        guarded, {name: wordings.of(ids_N) for name, ids_N in trained.items()}, recipe.allow_leak
    )
    manifest = dataset_manifest(recipe, epic, verses, epic_split, verse_split, stages, evalset)
    domains = domains_of(verse_split.train, verse_split.train_similarity)
    manifest["stage2"] |= {
        "strategies": strategies,
        "domains": len(domains.members),
        "domain_sizes": sorted(map(len, domains.members), reverse=True),
        "verses_in_no_domain": domains.unpaired,
    }
    manifest |= sources | contamination(guarded, leaks)
    manifest["texts"] = {"distinct": len(ids.texts), "training": len(set(documents))}
    with whole_folder(Path(folder)) as beside:
        _write_texts(beside / TEXTS, ids, len(set(documents)))
        for stage, (anchor_N, positive_N, negative_NK) in columns.items():
            batch = pa.RecordBatch.from_pydict(
                {
                    "anchor": pa.array(anchor_N),
                    "positive": pa.array(positive_N),
                    "negatives": fixed_lists(negative_NK),
                    "kind": pa.array(stages[stage].kind, pa.string()).dictionary_encode(),
                }
            )
            write_table(beside / f"{stage}.arrow", batch.schema, [batch])
        evalset.save(beside / EVALUATION_SET)
        save_manifest(beside, manifest)
    for leak in leaks:
        log.warning("CONTAMINATED: %s", leak)
    _report(stages, manifest, epic_split, verse_split, time.perf_counter() - started)
    return Path(folder)


def load_corpora(recipe: DataRecipe) -> tuple[ParallelCorpus, VerseCorpus]:
    """The two corpora of a recipe; the embedded synthetic one where no source is given.

    Raises:
        CftError: a source is missing or malformed.
    """
    recipe = local_sources(recipe)
    if recipe.itihasa is not None:
        epic = load_itihasa(Path(recipe.itihasa), recipe.num_rows)
    else:
        epic = synthetic.epic()
        first = epic.splits["train"][: recipe.num_rows]
        epic = replace(epic, splits={**epic.splits, "train": first})
    verses = load_vbt(Path(recipe.vbt)) if recipe.vbt is not None else synthetic.verses()
    return epic, verses


def load_triplets(folder: Path, stage: str) -> Triplets:
    """The triplets of a stage, ``stage1`` or ``stage2``.

    Raises:
        CftError: there is no such stage, or a file is missing or not whole.
    """
    if stage not in STAGES:
        raise CftError(f"stage {stage!r}: unknown; name one of {', '.join(STAGES)}")
    folder = Path(folder)
    table = _read(folder / TEXTS)
    text_of = dict(zip(numbers(table["id"]).tolist(), table["text"].to_pylist(), strict=True))
    rows = _read(folder / f"{stage}.arrow")

    def texts(ids: np.ndarray) -> list[str]:
        return [text_of[one] for one in ids.tolist()]

    width = rows.schema.field("negatives").type.list_size
    flat = texts(numbers(pa.chunked_array([c.values for c in rows["negatives"].chunks])))
    return Triplets(
        anchor=texts(numbers(rows["anchor"])),
        positive=texts(numbers(rows["positive"])),
        negatives=list(zip(*[iter(flat)] * width, strict=True)),
        kind=rows["kind"].to_pylist(),
    )


def training_texts(folder: Path) -> list[str]:
    """Distinct texts of the training splits as an interlinear edition prints them.

    Each verse is followed by its English, in the order of the corpus, the epic first. What a
    large multilingual model picks up from the parallel texts of the web, a nano backbone can only
    get from here.

    Raises:
        CftError: the file is missing or not whole.
    """
    table = _read(Path(folder) / TEXTS)
    return table.filter(table["training"])["text"].to_pylist()


def _documents(pairs: list[VersePair]) -> list[str]:
    return [text for pair in pairs for text in (pair.sanskrit, pair.english)]


def _read(path: Path) -> pa.Table:
    return table_of(map_file(path), path)


def _write_texts(path: Path, ids: TextIds, num_training: int) -> None:
    schema = pa.schema([("id", pa.int64()), ("text", pa.string()), ("training", pa.bool_())])
    training = np.arange(len(ids.texts)) < num_training
    batches = (
        pa.RecordBatch.from_arrays(
            [
                pa.array(ids.ids_U[start : start + _TEXTS_PER_BATCH]),
                pa.array(ids.texts[start : start + _TEXTS_PER_BATCH], pa.string()),
                pa.array(training[start : start + _TEXTS_PER_BATCH]),
            ],
            schema=schema,
        )
        for start in range(0, len(ids.texts), _TEXTS_PER_BATCH)
    )
    write_table(path, schema, batches, compress=True)


def _report(
    stages: Mapping[str, Triplets],
    manifest: dict,
    epic_split: EpicSplit,
    verse_split: VerseSplit,
    seconds: float,
) -> None:
    rows = sum(map(len, stages.values()))
    held = manifest["evaluation"]
    log.info(
        "data: %d training verses (%d held out) and %d domain verses (%d held out)",
        len(epic_split.train), len(epic_split.held_out),
        len(verse_split.train), len(verse_split.held_out),
    )  # fmt: skip
    log.info(
        "evaluation set: %d pairs, %d STS pairs, %d triplets",
        held["pairs"], held["sts"], held["triplets"],
    )  # fmt: skip
    log.info(
        "data: %d triplets over %d texts in %.1f s, %.0f triplets/s",
        rows, manifest["texts"]["distinct"], seconds, rows / seconds,
    )  # fmt: skip
