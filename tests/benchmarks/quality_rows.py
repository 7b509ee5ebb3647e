"""What the quality benchmark compares, and how its runs become a table; nothing here trains."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scipy import stats

from cft.recipe import Recipe

Way = Literal["cft", "sentence-transformers, bf16", "sentence-transformers, tf32"]
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
WARM_UP_SHARE = 0.1  # of the steps, as in the original's 100 of 1000


@dataclass(frozen=True)
class Row:
    """One line of the ablation."""

    name: str
    recipe: Recipe
    hard_negatives: bool = True
    way: Way = "cft"
    pace: Recipe | None = None  # it takes the steps that fit into the seconds with this one


def changed(recipe: Recipe, **changes: Any) -> Recipe:
    """The recipe with some leaves replaced: ``stage1__batch_size=256``.

    Raises:
        ValidationError: there is no such leaf, or not with such a value.
    """
    values = recipe.model_dump()
    for name, value in changes.items():
        *path, leaf = name.split("__")
        node = values
        for part in path:
            node = node[part]
        node[leaf] = value
    return Recipe.model_validate(values)


def ablation() -> list[Row]:
    """The original's recipe, which is that of the defaults, and one change after the other."""
    original = changed(Recipe(), stage1__logging_steps=100)
    faster = changed(original, stage1__learning_rate=5e-4)
    large = changed(original, stage1__learning_rate=1e-3, stage1__batch_size=256)
    crossing = changed(large, data__triplet_types="cross_lingual")
    wide = changed(crossing, model__lora__r=32, model__lora__target_modules=SEVEN)
    larger = changed(wide, stage1__batch_size=512)
    mean = changed(larger, model__pooling="mean")
    both = changed(mean, model__attention="bidirectional")
    return [
        Row("the original's: batch 7, lr 5e-5", original),
        Row("the same, lr 5e-4", faster),
        Row("batch 256, lr 5e-4", changed(faster, stage1__batch_size=256)),
        Row("batch 256, lr 1e-3", large),
        Row("and no hard negatives", large, hard_negatives=False),
        Row("and no monolingual rows", crossing, hard_negatives=False),
        Row("and r 32 on all seven projections", wide, hard_negatives=False),
        Row("and batch 512", larger, hard_negatives=False),
        Row("and mean pooling", mean, hard_negatives=False),
        Row("and bidirectional attention", both, hard_negatives=False),
        Row(
            "and false negatives not masked",
            changed(both, stage1__mask_false_negatives=False),
            hard_negatives=False,
        ),
        # Masks matter where next verses are positives: one row's anchor is another's positive.
        Row(
            "batch 256, lr 1e-3, false negatives not masked",
            changed(large, stage1__mask_false_negatives=False),
        ),
        Row("mean pooling at batch 1024", changed(mean, stage1__batch_size=1024), False),
        # What rounding does to quality, not to speed: a model this small gains no time from it.
        Row(
            "mean pooling with float8, in the steps of bfloat16",
            changed(mean, stage1__bf16=True, stage1__float8=True),
            hard_negatives=False,
            pace=mean,
        ),
        *(
            Row(f"{way}: batch 512, r 32 on all seven, mean pooling", mean, False, way)
            for way in PEERS
        ),
    ]


PEERS: tuple[Way, ...] = ("sentence-transformers, bf16", "sentence-transformers, tf32")


def chosen(text: str | None, count: int) -> list[int]:
    """Numbers of rows from ``"0,3,5"``; all where nothing is said, none where it is empty.

    Raises:
        ValueError: one is no number of a row.
    """
    if text is None:
        return list(range(count))
    numbers = [int(one) for one in text.split(",") if one.strip()]
    if wrong := [one for one in numbers if not 0 <= one < count]:
        raise ValueError(f"CFT_QUALITY_ROWS: no row {wrong[0]}; there are 0 to {count - 1}")
    return numbers


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """The schedule of stage 1 over so many steps, with its share of warm-up; nothing is saved."""
    return changed(
        recipe,
        stage1__max_steps=steps,
        stage1__warmup_steps=math.floor(steps * WARM_UP_SHARE),
        stage1__save_steps=10 * steps,
    )


def steps_within(budget: float, steps: int, seconds: float) -> int:
    """Steps that take ``budget`` seconds at the measured rate; one at least."""
    return max(1, round(budget * steps / seconds))


def interval(values: list[float], level: float = 0.95) -> tuple[float, float]:
    """Mean and half the width of Student's interval of it; NaN for one value alone.

    mean +- t(n - 1) s / sqrt(n)
    """
    mean, count = statistics.fmean(values), len(values)
    if count < 2:
        return mean, math.nan
    quantile = float(stats.t.ppf((1 + level) / 2, count - 1))
    return mean, quantile * statistics.stdev(values) / math.sqrt(count)


def tables(runs: Iterable[Mapping[str, Any]]) -> str:
    """Runs by device and budget, each a table with a line for every row of the ablation.

    Of runs with the same row and seed the last one counts.
    """
    groups: dict[tuple[str, float], dict[tuple[int, str], dict[int, Mapping[str, Any]]]] = {}
    for run in runs:
        group = groups.setdefault((run["device"], run["budget"]), {})
        group.setdefault((run["row"], run["name"]), {})[run["seed"]] = run
    parts = []
    for (device, budget), rows in groups.items():
        lines = [
            f"{device}, {budget:g} s of training a run; means over seeds, 95% intervals of MRR",
            "",
            "| | recipe | MRR | R@1 | batch | steps | triplets seen | seconds | seeds |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [_line(number, name, list(rows[number, name].values()))
                  for number, name in sorted(rows)]  # fmt: skip
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _line(number: int, name: str, runs: list[Mapping[str, Any]]) -> str:
    mean, half = interval([run["mrr"] for run in runs])
    mrr = f"{mean:.3f}" if math.isnan(half) else f"{mean:.3f} ± {half:.3f}"
    average = {
        key: statistics.fmean(run[key] for run in runs)
        for key in ("recall_at_1", "steps", "triplets", "seconds")
    }
    return (
        f"| {number} | {name} | {mrr} | {average['recall_at_1']:.3f} | {runs[0]['batch']} | "
        f"{average['steps']:,.0f} | {average['triplets']:,.0f} | {average['seconds']:.1f} | "
        f"{len(runs)} |"
    )
