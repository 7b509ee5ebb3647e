"""Two encoders on the same items: paired differences, their tests and a verdict for each metric."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from rich.table import Table
from rich.text import Text

from cft.errors import CftError
from cft.evaluation.figures import PRIMARY, described, ordered
from cft.evaluation.result import SuiteResult
from cft.evaluation.sections import sections
from cft.evaluation.significance import Difference, holm, paired_bootstrap
from cft.recipe import EvalRecipe, Settings


def compare(first: SuiteResult, second: SuiteResult, recipe: EvalRecipe) -> dict[str, Difference]:
    """Second minus first, metric by metric, on the same items, with interval and p.

    The p values of the metrics of :data:`~cft.evaluation.figures.PRIMARY` that the suite has are
    corrected by Holm's method over these; those of the others stand as they are, and are for
    looking and not for deciding.

    Raises:
        CftError: the two results are not of the same suite or the same items.
    """
    names = f"{first.model} and {second.model}"
    if (first.suite, first.evaluation.evalset) != (second.suite, second.evaluation.evalset):
        raise CftError(
            f"{names}: {_set_of(first)} against {_set_of(second)}; evaluate both on one set"
        )
    before, after = (
        [one for one in sections(result.items) if not one.relative] for result in (first, second)
    )
    if [one.names for one in before] != [one.names for one in after]:
        raise CftError(f"{names}: evaluated on different sections; evaluate both on one set")
    if not before:
        raise CftError(f"{names}: nothing to compare item by item; evaluate both on one set")
    differences: dict[str, Difference] = {}
    for left, right in zip(before, after, strict=True):
        for key in left.keys:
            if not np.array_equal(first.items[key], second.items[key]):
                raise CftError(f"{names}: {key} differs; evaluate both on one set")
        found = paired_bootstrap(
            left.statistic,
            right.statistic,
            left.items,
            recipe.bootstrap_samples,
            recipe.seed,
            recipe.intervals,
        )
        differences |= {
            name: one for name, one in zip(left.names, found, strict=True) if one is not None
        }
    return _corrected(differences)


def _set_of(result: SuiteResult) -> str:
    return f"{result.suite} on {result.evaluation.evalset or 'an unnamed set'}"


def _corrected(differences: dict[str, Difference]) -> dict[str, Difference]:
    tested = {
        name: p for name, one in differences.items() if name in PRIMARY and (p := one.p) is not None
    }
    adjusted = dict(zip(tested, holm(list(tested.values())).tolist(), strict=True))
    return {
        name: dataclasses.replace(one, p_adjusted=adjusted.get(name))
        for name, one in differences.items()
    }


class Compared(Settings):
    """One metric of two encoders, as it is written down."""

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float | None
    p_adjusted: float | None
    primary: bool
    verdict: str


def compared(differences: Mapping[str, Difference]) -> dict[str, Compared]:
    """The differences with their verdicts as serialisable values, in the order of every table."""
    return {
        name: Compared(
            first=(one := differences[name]).first,
            second=one.second,
            difference=one.value,
            low=one.low,
            high=one.high,
            p=one.p,
            p_adjusted=one.p_adjusted,
            primary=name in PRIMARY,
            verdict=one.verdict(described(name)[1]),
        )
        for name in ordered(set(differences))
    }


_STYLES = {"better": "bold green", "worse": "bold red"}


def difference_table(rows: Mapping[str, Compared], first: str, second: str, title: str) -> Table:
    """A row for each metric: both values, the difference with its interval, p and the verdict.

    Primary metrics are marked by a star, and their p is the corrected one.
    """
    table = Table(title=Text(title), title_justify="left")
    table.add_column("metric", no_wrap=True)
    for column in (first, second, "difference [95%]", "p"):
        table.add_column(Text(column), justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for name, row in rows.items():
        p = row.p if row.p_adjusted is None else row.p_adjusted
        table.add_row(
            Text(f"{described(name)[0]}{' *' if row.primary else ''}"),
            f"{row.first:z.3f}",
            f"{row.second:z.3f}",
            Text(f"{row.difference:+z.3f} [{row.low:z.3f}, {row.high:z.3f}]"),
            "–" if p is None else f"{p:.3f}",
            Text(row.verdict, style=_STYLES.get(row.verdict, "dim")),
        )
    table.caption = Text("* primary; p corrected by Holm's method")
    table.caption_justify = "left"
    return table
