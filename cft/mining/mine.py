"""A mining job: from rows to a file of triplets with hard negatives, resumable at any moment."""

import hashlib
import itertools
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from cft.errors import CftError
from cft.files import digest_code, digest_json, write_json
from cft.mining.output import Row, require_writable_kind, write_rows
from cft.mining.question import Pairs, Question
from cft.mining.search import Scores, hard_negatives
from cft.mining.settings import MiningSettings
from cft.mining.workshop import Workshop, workshop

log = logging.getLogger(__name__)

_ROWS_A_PART = 4096  # rows between two savings, at most


class Engine(Protocol):
    """What scores candidates.

    Attributes:
        identity: everything that the scores depend on, JSON-able.
    """

    identity: dict[str, Any]

    def groups(
        self, question: Question, shop: Workshop, shard_size: int, batch_tokens: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray, Scores]]: ...


def report_path(output: Path) -> Path:
    """The report of a file of mined triplets, beside it."""
    return output.with_name(f"{output.stem}.report.json")


def mine(pairs: Pairs, engine: Engine, settings: MiningSettings, output: Path) -> dict[str, Any]:
    """Find the hard negatives of every row and write those rows that have enough.

    Beside the output lies its report (:func:`report_path`). A killed job leaves a hidden folder
    beside the output, and the same job goes on with the parts that were finished; the bytes of
    its result are those of an undisturbed one. An output that the same job has written stands.

    Returns:
        The report.

    Raises:
        CftError: no row has enough candidates, the output stands and is of another job, or
            another process is writing it.
    """
    started = time.perf_counter()
    require_writable_kind(output)
    question = Question.of(pairs, settings.same_script)
    digest = _digest(question, pairs, engine, settings)
    if output.exists():
        return _standing(output, digest)
    with workshop(output, digest) as shop:
        found = _found(question, engine, settings, shop)
        report = _report(question, engine, settings, found) | {"digest": digest}
        if not report["rows_written"]:
            score = {}
            for name in ("positive", "random"):
                known = found[f"{name}_Q"][~np.isnan(found[f"{name}_Q"])]
                score[name] = f"{known.mean():.3f}" if len(known) else "none"
            raise CftError(
                f"mining: none of {len(pairs)} rows has {settings.num_negatives} candidates at "
                f"most {1 - settings.margin:g} times as near as its positive (mean score of "
                f"positives {score['positive']}, of random texts {score['random']}); "
                "mine with a trained --adapter, or lower --margin, --range-min or --num-negatives"
            )
        write_json(report_path(output), report)
        write_rows(_rows(question, pairs, found), shop.folder / f"rows{output.suffix}", output)
    seconds = time.perf_counter() - started
    log.info(
        "%s: %d of %d rows with %d hard negatives each, out of %d texts, in %.1f s, %.0f rows/s",
        output.name, report["rows_written"], len(pairs), settings.num_negatives,
        int(question.document_U.sum()), seconds, len(pairs) / seconds,
    )  # fmt: skip
    return report


def _standing(output: Path, digest: str) -> dict[str, Any]:
    path = report_path(output)
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        report = {}
    if not isinstance(report, dict) or report.get("digest") != digest:
        raise CftError(
            f"--output: {output}: exists and is of other rows, settings or weights; name another "
            "file or remove it"
        )
    log.info("%s: mined already, %d rows", output.name, report["rows_written"])
    return report


def _digest(question: Question, pairs: Pairs, engine: Engine, settings: MiningSettings) -> str:
    columns = hashlib.sha256()
    for column in (question.ids_U, question.anchor_N, question.positive_N, question.given_NK):
        columns.update(np.ascontiguousarray(column, dtype=np.int64).tobytes())
    return digest_json(
        {
            "rows": columns.hexdigest(),
            "kinds": pairs.kind,
            "settings": settings.deciding(),
            "engine": engine.identity,
            "code": digest_code("cft.mining", "cft.text"),
        }
    )


def _found(
    question: Question, engine: Engine, settings: MiningSettings, shop: Workshop
) -> dict[str, np.ndarray]:
    """What :func:`hard_negatives` finds for all rows, in their order."""
    parts: list[dict[str, np.ndarray]] = []
    rows: list[np.ndarray] = []
    size = min(settings.shard_size, _ROWS_A_PART)
    groups = engine.groups(question, shop, settings.shard_size, settings.batch_tokens)
    first = next(groups)  # encodes or indexes all texts, under a bar of its own
    with tqdm(total=len(question.anchor_N), desc="mine", unit="row") as bar:
        for group, (row_N, pool_P, scores) in enumerate(itertools.chain([first], groups)):
            for start in range(0, len(row_N), size):
                row_R = row_N[start : start + size]

                def made(
                    row_R: np.ndarray = row_R, pool_P: np.ndarray = pool_P, scores: Scores = scores
                ) -> dict[str, np.ndarray]:
                    few = [
                        row_R[at : at + scores.rows_at_once]
                        for at in range(0, len(row_R), scores.rows_at_once)
                    ]
                    return _joined(
                        [
                            hard_negatives(question, row_Q, pool_P, scores.ask(row_Q), settings)
                            for row_Q in few
                        ]
                    )

                parts.append(shop.arrays(f"found-{group}-{start}-{start + len(row_R)}", made))
                rows.append(row_R)
                bar.update(len(row_R))
    order = np.argsort(np.concatenate(rows), kind="stable")
    return {name: column[order] for name, column in _joined(parts).items()}


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _rows(question: Question, pairs: Pairs, found: dict[str, np.ndarray]) -> Iterator[Row]:
    texts = question.texts
    for row in np.flatnonzero((found["negative_QK"] >= 0).all(axis=1)).tolist():
        yield {
            "anchor": texts[question.anchor_N[row]],
            "positive": texts[question.positive_N[row]],
            "negatives": [texts[one] for one in found["negative_QK"][row].tolist()],
            "kind": pairs.kind[row],
            "positive_score": round(float(found["positive_Q"][row]), 6),
            "negative_scores": [round(one, 6) for one in found["mined_QK"][row].tolist()],
        }


def _report(
    question: Question, engine: Engine, settings: MiningSettings, found: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Counts and mean scores; without durations, so that the same job has the same report."""
    enough_N = (found["negative_QK"] >= 0).all(axis=1)
    scores = {
        "positive": found["positive_Q"],
        "mined": found["mined_QK"],
        "given": found["given_QG"],
        "random": found["random_Q"],
    }
    return {
        "settings": settings.deciding(),
        "engine": engine.identity,
        "rows": len(question.anchor_N),
        "rows_written": int(enough_N.sum()),
        "rows_with_too_few": int((~enough_N).sum()),
        "rows_asked_by_positive": int(found["by_positive_Q"].sum()),
        "candidates": {
            script: int((question.document_U & (question.script_U == number)).sum())
            for number, script in enumerate(("other", "devanagari"))
        },
        "distinct_negatives": int(np.unique(found["negative_QK"][enough_N]).size),
        # Over the rows that were written; "given" are the hard negatives that these came with.
        "score": {name: _moments(column[enough_N]) for name, column in scores.items()},
    }


def _moments(score: np.ndarray) -> dict[str, float] | None:
    known = score[np.isfinite(score)].astype(np.float64)
    if not len(known):
        return None
    return {"mean": round(float(known.mean()), 6), "std": round(float(known.std()), 6)}
