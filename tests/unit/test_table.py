"""Tables, verdicts and reports: what they say follows from the figures alone."""

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from cft.errors import CftError
from cft.evaluation.figures import Evaluation, Figure, described, ordered
from cft.evaluation.report import duration, run_report
from cft.evaluation.table import best_models, comparison_table, rich_table, verdict

COUNTS = {"pairs": 400, "sts": 0, "triplets": 60, "texts": 830}


def evaluated(**figures):
    """An evaluation from ``{metric with __ for /: value or (value, low, high)}``."""
    made = {}
    for name, value in figures.items():
        middle, low, high = value if isinstance(value, tuple) else (value, value, value)
        made[name.replace("__", "/")] = Figure(value=middle, low=low, high=high)
    return Evaluation(model="any", evalset="synthetic", figures=made, counts=COUNTS)


BASE = evaluated(
    mean__mrr=(0.02, 0.015, 0.03), anisotropy__mean=0.93, anisotropy__std=0.02, sts__spearman=-0.1
)
ONE = evaluated(mean__mrr=(0.5, 0.45, 0.55), anisotropy__mean=0.31, anisotropy__std=0.2)
TWO = evaluated(mean__mrr=(0.48, 0.43, 0.53), anisotropy__mean=0.35, anisotropy__std=0.3)
ALL = {"base": BASE, "stage 1": ONE, "stage 2": TWO}


def rows(markdown):
    return {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in markdown.splitlines()
    }


def test_markdown_has_best_in_bold_both_ways_round():
    table = rows(comparison_table(ALL))
    assert table["metric"] == ["base", "stage 1", "stage 2"]
    assert table["Cross-lingual MRR ↑"] == [
        "0.020 [0.015, 0.030]",
        "**0.500** [0.450, 0.550]",
        "0.480 [0.430, 0.530]",
    ]
    assert table["Pairwise cosine, mean ↓"][1].startswith("**0.310**")
    assert not any("**" in cell for cell in table["Pairwise cosine, std"])


def test_no_zero_has_a_sign():
    assert str(Figure(value=-0.0001, low=-0.0004, high=0.0004)) == "0.000 [0.000, 0.000]"
    tiny = {"a": evaluated(triplet__margin=(-0.0001, -0.2, 0.1)), "b": BASE}
    assert rows(comparison_table(tiny))["Triplet margin ↑"][0] == "0.000 [-0.200, 0.100]"
    assert " 0.000 [-0.200, 0.100]" in printed(rich_table(tiny))


def test_what_was_not_measured_is_a_dash_and_wins_nothing():
    table = rows(comparison_table(ALL))
    assert table["STS Spearman ↑"] == ["-0.100 [-0.100, -0.100]", "–", "–"]
    assert best_models(ALL, "sts/spearman") == set()


def test_a_tie_as_printed_is_shared_and_three_equals_win_nothing():
    close = {"a": evaluated(mean__mrr=0.50001), "b": evaluated(mean__mrr=0.5), "c": BASE}
    assert best_models(close, "mean/mrr") == {"a", "b"}
    assert best_models({"a": ONE, "b": ONE}, "mean/mrr") == set()


def test_names_cannot_break_the_table():
    markdown = comparison_table({"a|b\nc": BASE, "[bold]x[/bold]": ONE})
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines()}) == 1
    text = printed(rich_table({"a|b": BASE, "[bold]x[/bold]": ONE}, title="[red]t"))
    assert "[bold]x[/bold]" in text
    assert "[red]t" in text


def printed(table, width=160):
    console = Console(width=width, record=True, force_terminal=False, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_the_terminal_table_says_the_same_and_keeps_its_columns_with_wide_glyphs():
    text = printed(rich_table({"基礎 मूल": BASE, "stage 1": ONE}))
    assert "0.500 [0.450, 0.550]" in text
    assert "–" in text
    widths = {cell_len(line) for line in text.splitlines() if line.strip()}
    assert len(widths) == 1
    assert text.count("├") == 2  # lines between retrieval, STS and geometry


def test_a_narrow_terminal_gets_whole_values_and_is_told_of_the_intervals():
    wide, narrow = (printed(rich_table(ALL, width=width)) for width in (160, 60))
    assert "0.500 [0.450, 0.550]" in wide
    needed = max(len(line) for line in wide.splitlines())
    assert f"95% intervals need a terminal of {needed} columns" in narrow
    assert "[" not in narrow
    assert "…" not in narrow
    assert "0.500" in narrow
    assert max(len(line) for line in narrow.splitlines()) <= 60
    assert printed(rich_table(ALL, width=needed)) == wide == printed(rich_table(ALL))


def test_metrics_stand_in_one_order_and_have_names():
    names = ordered(
        {"uniformity", "triplet/mono_margin", "zeta", "sts/pearson", "sa_en/mrr", "triplet/margin"}
    )
    assert names == [
        "sa_en/mrr", "sts/pearson", "triplet/margin", "triplet/mono_margin", "uniformity", "zeta"
    ]  # fmt: skip
    assert described("triplet/cross_lingual_accuracy") == (
        "Triplet accuracy, cross-lingual",
        "higher",
    )
    assert described("sa_en/recall_at_3") == ("Sanskrit → English R@3", "higher")
    assert described("zeta") == ("zeta", None)


def test_the_verdict_says_how_far_and_whether_intervals_overlap():
    assert verdict(ALL) == (
        "Cross-lingual MRR rose from 0.020 [0.015, 0.030] (base) to 0.500 [0.450, 0.550] "
        "(stage 1), 25 times base's; the 95% intervals do not overlap. From base it rose to "
        "0.480 [0.430, 0.530] (stage 2), 24 times base's; the 95% intervals do not overlap."
    )


def test_the_verdict_tells_bad_news_in_the_same_words():
    worse = {"base": ONE, "stage 1": TWO}
    assert verdict(worse) == (
        "Cross-lingual MRR fell from 0.500 [0.450, 0.550] (base) to 0.480 [0.430, 0.530] "
        "(stage 1), 1.0 times base's; the 95% intervals overlap."
    )
    same = {"base": ONE, "stage 1": ONE}
    assert verdict(same).startswith(
        "Cross-lingual MRR stayed: 0.500 [0.450, 0.550] (base) and 0.500 [0.450, 0.550] (stage 1)"
    )


def test_the_verdict_falls_back_to_what_all_have_and_needs_no_ratio_from_zero():
    left = evaluated(triplet__accuracy=(0.0, 0.0, 0.1))
    right = evaluated(triplet__accuracy=(0.4, 0.3, 0.5), mean__mrr=0.3)
    said = verdict({"base": left, "ours": right})
    assert said.startswith("Triplet accuracy rose from 0.000")
    assert "times" not in said
    assert "do not overlap" in said
    assert verdict({"a": evaluated(uniformity=-1.0), "b": ONE}).startswith("No verdict: ")


def test_too_few_evaluations_are_errors():
    with pytest.raises(CftError, match=r"no evaluations; "):
        comparison_table({})
    with pytest.raises(CftError, match=r"fewer than two evaluations; "):
        verdict({"base": BASE})


def test_the_report_has_everything_a_reader_asks_for():
    report = run_report(
        recipe="pilot",
        evaluations=ALL,
        seconds=187,
        steps={"stage 1": 61.2, "stage 2": 22.04},
        reused=["data", "backbone"],
        facts={"Registered": "cft-embedder version 3"},
        notes=["This run is contaminated."],
    )
    assert report.startswith("# Recipe pilot")
    assert verdict(ALL) in report
    assert comparison_table(ALL) in report
    assert "> **Note.** This run is contaminated." in report
    assert "400 held-out verse pairs, 0 graded pairs, 60 triplets and 830 distinct texts" in report
    assert "- Duration: 3 min 07 s" in report
    assert "    - stage 2: 22 s" in report
    assert "- Reused from an earlier run: data, backbone" in report
    assert "- Registered: cft-embedder version 3" in report
    alone = run_report(recipe="pilot", evaluations={"base": BASE}, seconds=0.44)
    assert "Reused from an earlier run: nothing" in alone
    assert "Duration: 0.4 s" in alone


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text
