"""One way of preparing data, in a process of its own: what it took, as JSON on the last line.

    python -m tests.benchmarks.data_ways ours|original|stream SOURCE TOKENIZER OUTPUT ROWS

``original`` is how the original system went about it: a pandas row at a time into a CSV, and three
passes of ``Dataset.map``, each padding its column to 150 tokens.
"""

import json
import random
import sys
import time
from pathlib import Path

MAX_LENGTH, MIN_DISTANCE, SEED = 150, 100, 42
COLUMNS = ("sent0", "sent1", "hard_neg")


def peak_bytes() -> int:
    """Most memory that this process ever held."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM in /proc/self/status")


def ours(source: Path, tokenizer: str, output: Path, rows: int | None) -> dict[str, float]:
    """Filters, both kinds of triplets by chapter, and the store."""
    from cft.corpora.itihasa import load_itihasa
    from cft.model.text_contract import TextContract
    from cft.model.tokenizer import load_tokenizer
    from cft.recipe import ModelRecipe
    from cft.triplets.itihasa import epic_triplets
    from cft.triplets.store import build_store

    started, cpu = time.perf_counter(), time.process_time()
    splits = load_itihasa(source, rows).splits
    pairs = splits["train"] + (splits.get("dev", []) if rows is None else [])
    triplets = epic_triplets(pairs, "both", MIN_DISTANCE, SEED)
    made = time.perf_counter()
    vocabulary = load_tokenizer(tokenizer)
    contract = TextContract.of(ModelRecipe(max_length=MAX_LENGTH), vocabulary)
    build_store(output, triplets, contract, vocabulary, {})
    ended = time.perf_counter()
    return {
        "triplets": len(triplets),
        "build": made - started,
        "tokenise": ended - made,
        "cpu": time.process_time() - cpu,
    }


def original(source: Path, tokenizer: str, output: Path, rows: int | None) -> dict[str, float]:
    """Row by row, then padded; neither filters nor chapters."""
    import pandas as pd
    from datasets import Dataset, disable_caching, disable_progress_bars

    from cft.model.tokenizer import load_tokenizer

    disable_caching()
    disable_progress_bars()
    started, cpu = time.perf_counter(), time.process_time()
    sides: dict[str, list[str]] = {"sn": [], "en": []}
    for split in ("train", "dev") if rows is None else ("train",):
        for side, lines in sides.items():
            path = source / f"{split}.{side}"
            if path.exists():
                lines += path.read_text(encoding="utf-8").split("\n")[:-1][:rows]
    frame = pd.DataFrame(sides)
    draw = random.Random(SEED)
    triplets = []

    def distant(row: int) -> int:
        while abs((other := draw.randrange(len(frame))) - row) < MIN_DISTANCE:
            pass
        return other

    for row, pair in frame.iterrows():
        negative = frame.iloc[distant(row)]["en"]
        triplets.append({"sent0": pair["sn"], "sent1": pair["en"], "hard_neg": negative})
    for row in range(len(frame) - 1):
        anchor, positive = frame.iloc[row]["sn"], frame.iloc[row + 1]["sn"]
        negative = frame.iloc[distant(row)]["sn"]
        triplets.append({"sent0": anchor, "sent1": positive, "hard_neg": negative})
    output.mkdir()
    pd.DataFrame(triplets).to_csv(output / "triplets.csv", index=False)
    made = time.perf_counter()
    vocabulary = load_tokenizer(tokenizer)
    if vocabulary.pad_token is None:
        vocabulary.pad_token = vocabulary.eos_token
    data = Dataset.from_pandas(pd.read_csv(output / "triplets.csv", keep_default_na=False))
    for column in COLUMNS:

        def padded(row: dict, column: str = column) -> dict:
            tokens = vocabulary(
                row[column], padding="max_length", truncation=True, max_length=MAX_LENGTH
            )
            return {
                f"{column}_input_ids": tokens["input_ids"],
                f"{column}_attention_mask": tokens["attention_mask"],
            }

        data = data.map(padded)
    data.save_to_disk(output / "processed")
    ended = time.perf_counter()
    return {
        "triplets": len(triplets),
        "build": made - started,
        "tokenise": ended - made,
        "cpu": time.process_time() - cpu,
    }


def stream(source: Path, tokenizer: str, output: Path, rows: int | None) -> dict[str, float]:
    """A file of triplets into a store."""
    from cft.recipe import ModelRecipe
    from cft.triplets.preprocess import preprocess

    before = peak_bytes()
    started = time.perf_counter()
    recipe = ModelRecipe(backbone=tokenizer, max_length=MAX_LENGTH)
    preprocess(source, output, recipe, rows)
    return {"tokenise": time.perf_counter() - started, "imported": before}


def main() -> None:
    """Run one way and print what it took."""
    way, source, tokenizer, output, rows = sys.argv[1:]
    run = {"ours": ours, "original": original, "stream": stream}[way]
    figures = run(Path(source), tokenizer, Path(output), int(rows) or None)
    disk = sum(path.stat().st_size for path in Path(output).rglob("*") if path.is_file())
    print(json.dumps(figures | {"peak": peak_bytes(), "disk": disk}))


if __name__ == "__main__":
    main()
