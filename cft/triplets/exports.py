"""Triplets of one source as a CSV file, with a manifest beside it that says how they were made."""

import csv
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cft.corpora.base import ParallelCorpus, VerseCorpus, VersePair
from cft.corpora.nli import COLUMNS
from cft.errors import CftError
from cft.files import digest_file, whole_file, write_json
from cft.recipe import DataRecipe
from cft.text import wording
from cft.triplets.base import Triplets
from cft.triplets.file_errors import DELIMITERS
from cft.triplets.itihasa import chapters_known, epic_triplets
from cft.triplets.splits import SHARES_A_SIDE, split_verses
from cft.triplets.vbt import Domains, domains_of, verse_triplets

log = logging.getLogger(__name__)

CHAPTERS, ROWS = "chapters", "rows"
_RULES = {
    CHAPTERS: "the next verse of the same chapter; negatives from other chapters",
    ROWS: "the next row, chapters or not; negatives by distance alone",
}


def itihasa_export(
    corpus: ParallelCorpus, recipe: DataRecipe, splits: Sequence[str], rule: str | None
) -> tuple[Triplets, dict[str, Any]]:
    """Stage-1 triplets of some splits of the epic, and their manifest.

    Rows that share a text with a split that is there but not asked for are left out: it may be
    evaluated on.

    Args:
        corpus: the epic.
        recipe: triplet types, distance and seed.
        splits: those to make triplets of.
        rule: ``chapters``; ``rows``, the rule of the original system; None: what is known.

    Raises:
        CftError: a split is absent, chapters are asked for and not known, or there are too few
            rows to draw negatives from.
    """
    absent = [name for name in splits if name not in corpus.splits]
    if absent:
        raise CftError(
            f"--splits {absent[0]}: the corpus has {', '.join(corpus.splits)}; name some of these"
        )
    pairs, kept = _training_rows(corpus, splits)
    known = chapters_known(kept)
    if rule == CHAPTERS and not known:
        raise CftError(
            "--rule chapters: not every row names its chapter; give train.chapters.tsv beside "
            "train.sn, or take --rule rows"
        )
    rule = rule or (CHAPTERS if known else ROWS)
    if rule == ROWS and known:
        kept = [replace(one, chapter=None) for one in kept]
    triplets = epic_triplets(kept, recipe.triplet_types, recipe.min_distance, recipe.seed)
    return triplets, {
        "source": corpus.source,
        "splits": {name: len(corpus.splits[name]) for name in splits},
        "dropped": corpus.dropped | {SHARES_A_SIDE: len(pairs) - len(kept)},
        "chapters": len({one.chapter for one in kept}) if rule == CHAPTERS else None,
        "neighbour_rule": _RULES[rule],
        "settings": recipe.model_dump(
            include={"triplet_types", "min_distance", "num_rows", "seed"}
        ),
    }


def _training_rows(
    corpus: ParallelCorpus, splits: Sequence[str]
) -> tuple[list[VersePair], list[VersePair]]:
    """The rows of the splits, and those of them that share no text with another split.

    Their numbers go on from split to split, and no split's end touches the next one.
    """
    pairs: list[VersePair] = []
    for name in splits:
        first = pairs[-1].row + 2 if pairs else 0
        pairs += [replace(one, row=first + one.row) for one in corpus.splits[name]]
    others = [name for name in corpus.splits if name not in splits]
    taboo = {side for name in others for one in corpus.splits[name] for side in _sides(one)}
    return pairs, [one for one in pairs if taboo.isdisjoint(_sides(one))]


@dataclass(frozen=True)
class VerseExport:
    """Stage-2 triplets with what there is to say about them."""

    triplets: Triplets
    strategies: dict[str, int]
    domains: Domains
    manifest: dict[str, Any]


def vbt_export(corpus: VerseCorpus, epic: ParallelCorpus, recipe: DataRecipe) -> VerseExport:
    """Stage-2 triplets of a verse corpus, with negatives from the epic's training rows.

    Of the verses those that ``recipe.vbt_held_out`` and the seed hold out are left out, so that
    an evaluation by the same two settings scores unseen verses; with ``all_verses`` none are.

    Raises:
        CftError: too few verses to split, or too few epic rows for the negatives.
    """
    verses, pairs = corpus.verses, corpus.similarity_pairs
    rule, held_out = "none: all verses are trained on", 0
    if not recipe.all_verses:
        split = split_verses(corpus, recipe.vbt_held_out, recipe.seed)
        verses, pairs = split.train, split.train_similarity
        rule, held_out = split.rule, len(split.held_out)
    triplets, strategies = verse_triplets(
        verses,
        pairs,
        _training_rows(epic, ["train"])[1],
        recipe.strategies,
        recipe.n_negs,
        recipe.seed,
    )
    domains = domains_of(verses, pairs)
    manifest = {
        "source": corpus.source,
        "negatives_from": epic.source,
        "dropped": corpus.dropped,
        "verses": len(verses),
        "similarity_pairs": len(pairs),
        "held_out_rule": rule,
        "held_out_verses": held_out,
        "contaminates_every_evaluation_on_these_verses": recipe.all_verses,
        "strategies": strategies,
        "domains": len(domains.members),
        "domain_sizes": sorted(map(len, domains.members), reverse=True),
        "verses_in_no_domain": domains.unpaired,
        "settings": recipe.model_dump(
            include={"strategies", "n_negs", "vbt_held_out", "all_verses", "seed"}
        ),
    }
    return VerseExport(triplets, strategies, domains, manifest)


def vbt_evaluation(
    corpus: VerseCorpus, recipe: DataRecipe
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What a verse corpus is evaluated on: labelled pairs, and retrieval cases.

    Without ``all_verses`` only what :func:`vbt_export` leaves out by the same settings: pairs of
    unseen texts, and cases all of whose answers are unseen verses.

    Returns:
        Rows of ``text_a``, ``text_b`` and ``label`` (1 similar, 0 not); and ``documents`` with
        ``cases`` of a ``query`` and the numbers of its ``relevant`` documents.

    Raises:
        CftError: too few verses to split.
    """
    similar, unlike = corpus.similarity_pairs, corpus.dissimilarity_pairs
    unseen = list(range(len(corpus.verses)))
    if not recipe.all_verses:
        split = split_verses(corpus, recipe.vbt_held_out, recipe.seed)
        similar, unlike = split.held_out_similarity, split.held_out_dissimilarity
        texts = {verse.sanskrit for verse in split.held_out}
        unseen = [row for row, one in enumerate(corpus.verses) if one.sanskrit in texts]
    number = {row: place for place, row in enumerate(unseen)}
    pairs = [
        {"text_a": a, "text_b": b, "label": label}
        for label, part in ((1, similar), (0, unlike))
        for a, b in part
    ]
    cases = [
        {"query": query, "relevant": [number[row] for row in rows]}
        for query, rows in corpus.retrieval_cases
        if rows and all(row in number for row in rows)
    ]
    documents = [
        {"sanskrit": corpus.verses[row].sanskrit, "english": corpus.verses[row].english}
        for row in unseen
    ]
    return pairs, {"documents": documents, "cases": cases}


def require_table_name(path: Path) -> None:
    """Refuse a name of a file that nothing could read afterwards, before any work is done.

    Raises:
        CftError: the name ends neither in .csv nor in .tsv.
    """
    if path.suffix.lower() not in DELIMITERS:
        raise CftError(f"{path}: unknown kind of file; name a {' or '.join(DELIMITERS)}")


def write_csv(path: Path, triplets: Triplets, manifest: Mapping[str, Any]) -> None:
    """Write ``sent0, sent1, hard_neg``, whole or not at all, and ``<path>.manifest.json``.

    A .tsv has tabs between its columns.

    Raises:
        CftError: a row has several hard negatives, or the place cannot be written to.
    """
    if triplets.num_negatives != 1:
        raise CftError(f"{path}: rows with several hard negatives; a CSV holds one in each row")
    started = time.perf_counter()
    rows = zip(triplets.anchor, triplets.positive, triplets.negatives, strict=True)
    try:
        with whole_file(path) as file:
            delimiter = DELIMITERS[path.suffix.lower()]
            writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
            writer.writerow(COLUMNS)
            for anchor, positive, (negative,) in tqdm(
                rows, desc=path.name, unit="row", total=len(triplets)
            ):
                writer.writerow((anchor, positive, negative))
        counts = {"rows": len(triplets), "kinds": triplets.kinds(), "digest": digest_file(path)}
        write_json(path.with_name(f"{path.name}.manifest.json"), {**counts, **manifest})
    except OSError as error:
        raise CftError(
            f"{path}: cannot be written ({error.strerror}); name another place"
        ) from None
    seconds = time.perf_counter() - started
    log.info(
        "%s: %d triplets in %.1f s, %.0f triplets/s",
        path, len(triplets), seconds, len(triplets) / seconds,
    )  # fmt: skip


def _sides(pair: VersePair) -> tuple[str, str]:
    return wording(pair.sanskrit), wording(pair.english)
