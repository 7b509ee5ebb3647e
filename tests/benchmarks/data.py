"""Data: triplets and their tokens against the original system's way, and memory as rows grow.

On the real Itihasa and tokenizer where they lie beside the project, else on the embedded epic and
a nano tokenizer. Every way runs in a process of its own; its imports are not counted.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from cft.model.nano import train_tokenizer
from tests.benchmarks.peers import verses
from tests.tiny import save_backbone

SHARED = Path(__file__).resolve().parents[3] / "shared"
DEFAULT_ROWS = 4000
GENERATED = (100_000, 200_000, 400_000)
GENERATED_IN_FULL = (250_000, 1_000_000, 2_000_000)
_CHUNK = 50_000


def main(backbone: Path | None, rows: int = DEFAULT_ROWS) -> None:
    """Print seconds, disk and memory of each way, and the memory of growing files.

    Args:
        backbone: whose tokenizer is taken.
        rows: verse pairs; 0 for all of them (train and dev), and two million generated rows.
    """
    with tempfile.TemporaryDirectory(prefix="cft-bench-") as scratch:
        here = Path(scratch)
        tokenizer = backbone or _tokenizer(here / "tokenizer")
        _compare(here, tokenizer, rows)
        _grow(here, tokenizer, GENERATED if rows else GENERATED_IN_FULL)


def _compare(here: Path, tokenizer: Path, rows: int) -> None:
    source = _corpus(here / "corpus")
    took = {way: _run(way, source, tokenizer, here / way, rows) for way in ("ours", "original")}
    print("| way | triplets | build s | tokenise s | all s | CPU s | disk MB | peak memory MB |")
    print("|---|---|---|---|---|---|---|---|")
    for way, one in took.items():
        print(
            f"| {way} | {one['triplets']:,} | {one['build']:.1f} | {one['tokenise']:.1f} "
            f"| {_seconds(one):.1f} | {one['cpu']:.1f} | {one['disk'] / 1e6:,.1f} "
            f"| {one['peak'] / 1e6:,.0f} |"
        )
        shutil.rmtree(here / way)
    mine, theirs = took["ours"], took["original"]
    print(
        f"\nours: {_seconds(theirs) / _seconds(mine):.1f} x faster, "
        f"{theirs['cpu'] / mine['cpu']:.1f} x less CPU time, "
        f"{theirs['disk'] / mine['disk']:.1f} x smaller, "
        f"{theirs['peak'] / mine['peak']:.1f} x less memory\n"
    )


def _grow(here: Path, tokenizer: Path, sizes: tuple[int, ...]) -> None:
    print("| generated rows | file MB | store MB | s | rows/s | peak MB | of that not imports MB |")
    print("|---|---|---|---|---|---|---|")
    for rows in sizes:
        path, output = here / "generated.csv", here / "generated"
        _generate(path, rows)
        one = _run("stream", path, tokenizer, output, 0)
        print(
            f"| {rows:,} | {path.stat().st_size / 1e6:,.0f} | {one['disk'] / 1e6:,.0f} "
            f"| {one['tokenise']:.1f} | {rows / one['tokenise']:,.0f} | {one['peak'] / 1e6:,.0f} "
            f"| {(one['peak'] - one['imported']) / 1e6:,.0f} |",
            flush=True,
        )
        path.unlink()
        shutil.rmtree(output)


def _run(way: str, source: Path, tokenizer: Path, output: Path, rows: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.data_ways", way]
    command += [str(one) for one in (source, tokenizer, output, rows)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{way} failed:\n{ended.stderr[-3000:]}")
    figures: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def _seconds(one: dict[str, float]) -> float:
    return one["build"] + one["tokenise"]


def _corpus(folder: Path) -> Path:
    if (SHARED / "data" / "itihasa").is_dir():
        return SHARED / "data" / "itihasa"
    folder.mkdir()
    for name, texts in zip(("sn", "en"), verses(), strict=True):
        (folder / f"train.{name}").write_text("".join(f"{one}\n" for one in texts), "utf-8")
    return folder


def _tokenizer(folder: Path) -> Path:
    """A folder with a tokenizer; the weights in it have nothing to do with it."""
    if (SHARED / "models" / "mini-sa-en").is_dir():
        return SHARED / "models" / "mini-sa-en"
    save_backbone(folder)
    train_tokenizer([text for side in verses() for text in side], 3072).save_pretrained(folder)
    return folder


def _generate(path: Path, rows: int) -> None:
    """Rows of made-up sentences, nearly all distinct, with negatives from other rows."""
    draw = np.random.default_rng(7)
    text = " ".join(verses()[1][:400]).replace('"', "")
    words = np.array(text.split(), dtype=object)

    def sentences(numbers: np.ndarray, mark: str) -> list[str]:
        # Words follow from the number alone, so a negative is the very text of another row.
        places = (numbers[:, None] * 7919 + np.arange(1, 8)[None] * 104729) % len(words)
        return [
            f"{' '.join(row)} {mark}{number}"
            for row, number in zip(words[places].tolist(), numbers.tolist(), strict=True)
        ]

    with path.open("w", encoding="utf-8") as file:
        file.write("sent0,sent1,hard_neg\n")
        for start in range(0, rows, _CHUNK):
            numbers = np.arange(start, min(start + _CHUNK, rows))
            columns = [
                sentences(numbers, "a"),
                sentences(numbers, "p"),
                sentences(draw.integers(0, rows, len(numbers)), "p"),
            ]
            file.writelines(f'"{a}","{b}","{c}"\n' for a, b, c in zip(*columns, strict=True))
