"""Rows to mine for, and what one loop after the other finds in them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from cft.files import digest_file
from cft.mining.question import Pairs, mostly_devanagari
from cft.text import normalise, text_id
from tests.processes import until

VERBS = ["गच्छति", "पश्यति", "वदति", "शृणोति", "तिष्ठति", "हसति"]
NAMES = {"रामः": "Rama", "सीता": "Sita", "नृपः": "the king", "ऋषिः": "the sage"}
ENGLISH = dict(zip(VERBS, ["goes", "sees", "speaks", "hears", "stands", "laughs"], strict=True))
PLACES = {"वने": "in the forest", "गृहे": "in the house", "नगरे": "in the city"}


def verses() -> list[tuple[str, str]]:
    """72 verses with their English."""
    return [
        (f"{name} {place} {verb}", f"{NAMES[name]} {ENGLISH[verb]} {PLACES[place]}")
        for name in NAMES
        for place in PLACES
        for verb in VERBS
    ]


def rows(count: int = 60) -> Pairs:
    """Half translations, half neighbours, with two drawn negatives; anchors and texts repeat."""
    book, draw = verses(), np.random.default_rng(0)
    pairs = Pairs([], [], [], [])
    for row in range(count):
        number = int(draw.integers(len(book) - 1))
        across = row % 2 == 0
        pairs.anchor.append(book[number][0])
        pairs.positive.append(book[number][1] if across else book[number + 1][0])
        others = draw.choice(len(book), 2, replace=False).tolist()
        pairs.negatives.append(tuple(book[one][across] for one in others))
        pairs.kind.append("cross_lingual" if across else "mono_sa")
    return pairs


def write_triplets(path: Path, pairs: Pairs) -> Path:
    """The rows as JSON lines."""
    lines = [
        json.dumps({"anchor": a, "positive": p, "negatives": n}, ensure_ascii=False)
        for a, p, n in zip(pairs.anchor, pairs.positive, pairs.negatives, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def slowly(pairs: Pairs, score, k: int, margin: float, window=(0, 100), same_script=True) -> list:
    """Negatives of each row by loops; None where there are too few.

    Args:
        pairs: the rows.
        score: of two texts, anchor first.
        k: how many.
        margin: relative to the positive.
        window: ranks to take.
        same_script: as the setting.
    """
    pool = {text_id(t): normalise(t) for t in pairs.positive}
    pool |= {text_id(t): normalise(t) for row in pairs.negatives for t in row}
    found: list = []
    for anchor, positive in zip(pairs.anchor, pairs.positive, strict=True):
        known = {text_id(anchor)}
        for a, p in zip(pairs.anchor, pairs.positive, strict=True):
            if text_id(a) == text_id(anchor):
                known.add(text_id(p))
            if text_id(p) == text_id(anchor):
                known.add(text_id(a))
        best = score(anchor, positive)
        bound = best - margin * abs(best)
        ranked = []
        for one in sorted(pool):
            if one in known:
                continue
            if same_script and mostly_devanagari(pool[one]) != mostly_devanagari(positive):
                continue
            value = score(anchor, pool[one])
            if value <= bound:
                ranked.append((-value, one))
        ranked = sorted(ranked)[slice(*window)][:k]
        found.append([pool[one] for _, one in ranked] if len(ranked) == k else None)
    return found


def mined(path: Path) -> list[dict]:
    """The rows of a mined file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def killed_and_resumed(flags: list[str], output: Path, calm: Path) -> None:
    """Start ``cft data mine``, kill it after three parts and start it again.

    Args:
        flags: of the command, without its output.
        output: a file ``mined.jsonl``.
        calm: folder of an undisturbed job's result.
    """
    line = [sys.executable, "-m", "cft.cli", "data", "mine", *flags, "--output", str(output)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def parts() -> set[Path]:
        return set(output.parent.glob(".mined.jsonl.*.partial/found-*.npz"))

    first = subprocess.Popen(line, **quiet)
    until(lambda: len(parts()) >= 3, 90)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert first.returncode == -signal.SIGKILL
    assert not output.exists()
    stamps = {path: path.stat().st_mtime_ns for path in parts()}
    assert 3 <= len(stamps) < 150
    seen: dict[Path, int] = {}

    def watch() -> None:
        while again.poll() is None:
            for path in stamps:
                try:
                    seen[path] = path.stat().st_mtime_ns
                except FileNotFoundError:
                    return
            time.sleep(0.01)

    again = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    watcher = threading.Thread(target=watch)
    watcher.start()
    _, log = again.communicate()
    watcher.join()
    assert again.returncode == 0, log
    assert seen == stamps, "finished parts were made again"
    names = ["mined.jsonl", "mined.report.json"]
    for name in names:
        assert digest_file(output.with_name(name)) == digest_file(calm / name)
    assert sorted(path.name for path in output.parent.iterdir()) == names
