"""The checks of the gate, each a row of its decision: floors, primary metrics, slices."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cft.evaluation.comparison import compare
from cft.evaluation.figures import PRIMARY
from cft.evaluation.result import SuiteResult
from cft.evaluation.sections import sections
from cft.evaluation.significance import LEVEL, Difference, holm
from cft.evaluation.slices import pairs_of_text, without_texts
from cft.recipe import EvalRecipe, Floor, GateRecipe, Settings, SliceRule

WAYS = ("sa_en", "en_sa")
NOTHING_LEFT = "no item is left to compare"


class GateRow(Settings):
    """One check: a floor, a primary metric or a slice.

    ``limit`` is the floor, or the least difference that passes. ``better`` is meant of the
    primary metrics alone.
    """

    check: Literal["floor", "primary", "slice"]
    suite: str
    metric: str
    slice: str | None = None
    challenger: float | None
    champion: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    limit: float
    better: bool = False
    ok: bool
    why: str = ""

    @property
    def title(self) -> str:
        """Suite, metric and slice as one name, such as ``trika siva_sutra mean/mrr``."""
        return " ".join(part for part in (self.suite, self.slice, self.metric) if part)


def floor_row(floor: Floor, result: SuiteResult) -> GateRow:
    """A figure against its floor; undefined figures miss it."""
    figure = result.figures.get(floor.metric)
    value = figure.value if figure else None
    ok = value is not None and value >= floor.at_least
    shown = "undefined" if value is None else f"{value:.3f}"
    return GateRow(
        check="floor",
        suite=floor.suite,
        metric=floor.metric,
        challenger=value,
        limit=floor.at_least,
        ok=ok,
        why="" if ok else f"{shown}, below the floor of {floor.at_least:.3f}",
    )


@dataclass(frozen=True)
class Unseen:
    """Both results on the items of a suite that the champion never trained on."""

    challenger: SuiteResult
    champion: SuiteResult

    @classmethod
    def of(cls, challenger: SuiteResult, champion: SuiteResult, seen_N: np.ndarray) -> "Unseen":
        """Both results without the items that hold one of the texts ``seen_N`` (ids)."""
        return cls(
            *(
                dataclasses.replace(one, items=without_texts(one.items, seen_N))
                for one in (challenger, champion)
            )
        )

    def of_text(self, text: str) -> "Unseen":
        """Only the pairs of one text of the Trika suite."""
        return Unseen(
            *(
                dataclasses.replace(one, items=pairs_of_text(one.items, text))
                for one in (self.challenger, self.champion)
            )
        )

    def differences(self, gate: GateRecipe) -> dict[str, Difference]:
        """Challenger minus champion by metric; empty where no item is left."""
        if not sections(self.champion.items):
            return {}
        settings = EvalRecipe(
            bootstrap_samples=gate.bootstrap_samples, seed=gate.seed, intervals=gate.intervals
        )
        return compare(self.champion, self.challenger, settings)


def primary_rows(
    gate: GateRecipe,
    unseen: Mapping[str, Unseen],
    differences: Mapping[str, Mapping[str, Difference]],
) -> list[GateRow]:
    """Every primary metric of every suite, p corrected by Holm's method over all of them."""
    found = {
        (suite, metric): differences[suite][metric]
        for suite in gate.suites
        for metric in PRIMARY
        if metric in differences[suite]
    }
    tested = {key: one.p for key, one in found.items() if one.p is not None}
    corrected = dict(zip(tested, holm(list(tested.values())).tolist(), strict=True))
    rows = []
    for suite in gate.suites:
        both = unseen[suite]
        for metric in PRIMARY:
            key = (suite, metric)
            if key in found:
                one = dataclasses.replace(found[key], p_adjusted=corrected.get(key))
                rows.append(_compared("primary", suite, metric, None, one, gate))
            elif metric in both.champion.figures:
                undefined = metric not in both.challenger.figures
                why = "undefined" if undefined else NOTHING_LEFT
                rows.append(_absent("primary", suite, metric, None, why))
    return rows


def slice_row(
    rule: SliceRule, gate: GateRecipe, unseen: Unseen, differences: Mapping[str, Difference]
) -> GateRow:
    """A direction, or a text of the Trika suite, which may not lose more than its rule allows."""
    metric, name = f"{rule.slice}/{rule.metric}", None
    if rule.slice not in WAYS:
        metric, name = f"mean/{rule.metric}", rule.slice
        differences = unseen.of_text(rule.slice).differences(gate)
    if metric not in differences:
        return _absent("slice", rule.suite, metric, name, NOTHING_LEFT)
    one = differences[metric]
    return _compared("slice", rule.suite, metric, name, one, gate, rule.tolerated_loss)


def _compared(
    check: Literal["primary", "slice"],
    suite: str,
    metric: str,
    name: str | None,
    one: Difference,
    gate: GateRecipe,
    tolerated: float | None = None,
) -> GateRow:
    tolerated = gate.tolerated_loss if tolerated is None else tolerated
    ok = one.high >= -tolerated
    p = one.p if one.p_adjusted is None else one.p_adjusted
    gained = one.low > gate.required_improvement and (p is None or p <= LEVEL)
    return GateRow(
        check=check,
        suite=suite,
        metric=metric,
        slice=name,
        challenger=one.second,
        champion=one.first,
        difference=one.value,
        low=one.low,
        high=one.high,
        p=p,
        limit=-tolerated,
        better=check == "primary" and gained,
        ok=ok,
        why=""
        if ok
        else f"{one.second:.3f} is worse than the champion's {one.first:.3f} "
        f"(difference {one.value:+.3f} [{one.low:.3f}, {one.high:.3f}], "
        f"tolerated loss {tolerated:.3f})",
    )


def _absent(
    check: Literal["primary", "slice"], suite: str, metric: str, name: str | None, why: str
) -> GateRow:
    return GateRow(
        check=check,
        suite=suite,
        metric=metric,
        slice=name,
        challenger=None,
        limit=0.0,
        ok=False,
        why=f"{why}, so it cannot be held against the champion",
    )
