"""The gate on arrays of which the answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from cft.errors import CftError
from cft.evaluation.figures import Evaluation
from cft.evaluation.gate import Entrant, GateDecision, decide
from cft.evaluation.report.gate import gate_page
from cft.evaluation.result import SuiteResult
from cft.evaluation.suites.held_out import figures_of
from cft.recipe import EvalRecipe, Floor, GateRecipe, SliceRule

PAIRS = 200
QUICK = EvalRecipe(bootstrap_samples=200)
SLICES = [SliceRule(slice=one) for one in ("sa_en", "en_sa", "siva_sutra", "spanda_karika")]
GATE = GateRecipe(suites=["trika"], floors=[], slices=SLICES, bootstrap_samples=500)
FIRST_TEXT = np.arange(PAIRS) < PAIRS // 2


def result(sa_en, en_sa=None, *, wins=0.5, suite="trika", model="m", **fields) -> SuiteResult:
    """Ranks as given; every right answer of a triplet is nearer in a share ``wins`` of them."""
    sa_en = np.broadcast_to(np.asarray(sa_en, dtype=float), PAIRS)
    en_sa = sa_en if en_sa is None else np.broadcast_to(np.asarray(en_sa, dtype=float), PAIRS)
    ids = np.arange(PAIRS)
    items = {
        "pairs/sanskrit_id": ids,
        "pairs/english_id": ids + 1000,
        "pairs/cosine": np.full(PAIRS, 0.5),
        "sa_en/rank": sa_en,
        "en_sa/rank": en_sa,
        "triplet/anchor_id": ids,
        "triplet/positive_id": ids + 1000,
        "triplet/negative_id": ids + 2000,
        "triplet/positive": np.where(ids < wins * PAIRS, 0.9, 0.1),
        "triplet/negative": np.full(PAIRS, 0.5),
        "triplet/category": np.array(["mono"] * PAIRS),
        "texts/id": ids,
    }
    if suite == "trika":
        items["pairs/text"] = np.where(FIRST_TEXT, "siva_sutra", "spanda_karika")
    evaluation = Evaluation(
        model=model,
        suite=suite,
        evalset="known",
        figures=figures_of(items, QUICK, model=model),
        counts={},
        **fields,
    )
    return SuiteResult(evaluation, items)


def entrant(*results: SuiteResult, name="cft-embedder/2", **fields) -> Entrant:
    return Entrant(name, {one.suite: one for one in results}, **fields)


def against(challenger: SuiteResult, champion: SuiteResult, gate: GateRecipe = GATE):
    return decide(gate, entrant(challenger), entrant(champion, name="cft-embedder/1"))


def rows(decision: GateDecision) -> dict:
    return {(row.check, row.title): row for row in decision.rows}


def test_better_passes_with_the_known_difference() -> None:
    decision = against(result(1), result(2))
    assert (decision.verdict, decision.passed, decision.reasons) == ("passed", True, [])
    row = rows(decision)["primary", "trika mean/mrr"]
    assert (row.challenger, row.champion, row.difference) == (1.0, 0.5, 0.5)
    assert (row.low, row.high, row.better, row.ok) == (0.5, 0.5, True, True)
    assert not rows(decision)["primary", "trika triplet/accuracy"].better
    assert [row.check for row in decision.rows] == ["primary"] * 2 + ["slice"] * 4
    assert GateDecision.model_validate_json(decision.model_dump_json()) == decision


def test_worse_is_refused_with_both_values() -> None:
    decision = against(result(2), result(1))
    assert decision.verdict == "refused"
    assert any(
        reason.startswith("trika mean/mrr: 0.500 is worse than the champion's 1.000 (difference "
                          "-0.500 [-0.500, -0.500]")
        for reason in decision.reasons
    )  # fmt: skip
    assert any("better than the champion on no primary metric" in one for one in decision.reasons)


def test_the_same_is_not_better() -> None:
    decision = against(result(2), result(2))
    assert decision.verdict == "refused"
    (reason,) = decision.reasons
    assert reason.startswith("better than the champion on no primary metric")
    assert all(row.ok and not row.better for row in decision.rows)


def test_a_loss_on_one_primary_is_not_made_good_by_another() -> None:
    decision = against(result(1, wins=0.2), result(2, wins=0.8))
    assert decision.verdict == "refused"
    assert [one.partition(":")[0] for one in decision.reasons] == ["trika triplet/accuracy"]
    assert rows(decision)["primary", "trika mean/mrr"].better


def test_a_text_that_lost_is_not_hidden_by_the_mean() -> None:
    challenger = result(np.where(FIRST_TEXT, 1, 4))
    champion = result(np.where(FIRST_TEXT, 5, 2))
    decision = against(challenger, champion)
    assert rows(decision)["primary", "trika mean/mrr"].better
    assert [one.partition(":")[0] for one in decision.reasons] == ["trika spanda_karika mean/mrr"]
    row = rows(decision)["slice", "trika spanda_karika mean/mrr"]
    assert (row.challenger, row.champion, row.ok) == (0.25, 0.5, False)
    assert rows(decision)["slice", "trika siva_sutra mean/mrr"].ok


def test_a_direction_that_lost_is_not_hidden_by_the_mean() -> None:
    decision = against(result(1, 3), result(4, 2))
    assert rows(decision)["primary", "trika mean/mrr"].better
    assert [one.partition(":")[0] for one in decision.reasons] == ["trika en_sa/mrr"]


def test_a_tolerated_loss_is_tolerated() -> None:
    tolerant = [one.model_copy(update={"tolerated_loss": 0.2}) for one in SLICES]
    gate = GATE.model_copy(update={"slices": tolerant})
    assert against(result(1, 3), result(4, 2), gate).passed
    gate = GATE.model_copy(update={"tolerated_loss": 0.6})
    kept = against(result(1, wins=0.2), result(2, wins=0.8), gate)
    assert kept.passed


def test_a_gain_must_exceed_what_is_required() -> None:
    gate = GATE.model_copy(update={"required_improvement": 0.5})
    decision = against(result(1), result(2), gate)
    assert "no gain is distinguishable from 0.500" in decision.reasons[0]
    assert against(result(1), result(4), gate).passed


def test_many_looks_are_corrected_over_all_suites() -> None:
    """A gain that is just significant alone is none among several metrics."""
    change = np.where(np.arange(PAIRS) < 6, 1, 2)
    alone = GATE.model_copy(update={"suites": ["held-out"], "slices": []})
    held_out = [result(one, suite="held-out") for one in (change, 2)]
    decision = against(*held_out, alone)
    p = rows(decision)["primary", "held-out mean/mrr"].p
    assert p is not None
    assert p <= 0.1
    both = GATE.model_copy(update={"suites": ["held-out", "trika"], "slices": []})
    more = decide(
        both,
        entrant(held_out[0], result(2)),
        entrant(held_out[1], result(2), name="cft-embedder/1"),
    )
    corrected = rows(more)["primary", "held-out mean/mrr"].p
    assert corrected == pytest.approx(2 * p, rel=1e-6), "four metrics instead of two"
    assert not more.passed


def test_floors_hold_with_and_without_a_champion() -> None:
    gate = GATE.model_copy(
        update={"floors": [Floor(metric="mean/mrr", at_least=0.9), Floor(at_least=0.4)]}
    )
    missed = decide(gate, entrant(result(2)), None)
    assert (missed.verdict, missed.champion) == ("refused", None)
    assert missed.reasons == ["trika mean/mrr: 0.500, below the floor of 0.900"]
    assert decide(gate, entrant(result(1)), None).verdict == "first"
    assert against(result(2), result(4), gate).verdict == "refused"
    assert against(result(1), result(4), gate).verdict == "passed"
    absent = GATE.model_copy(update={"floors": [Floor(metric="sts/spearman", at_least=0.1)]})
    decision = decide(absent, entrant(result(1)), None)
    assert decision.reasons == ["trika sts/spearman: undefined, below the floor of 0.100"]


@pytest.mark.parametrize("how", ["result", "seen", "tag"])
def test_a_contaminated_challenger_is_refused_however_good(how: str) -> None:
    fields = {
        "seen": {"seen": {"trika": np.array([3, 4])}},
        "tag": {"objections": ["contaminated: its version says so"]},
    }
    challenger = entrant(result(1, contaminated=how == "result"), **fields.get(how, {}))
    for champion in (None, entrant(result(9), name="cft-embedder/1")):
        decision = decide(GATE, challenger, champion)
        assert decision.verdict == "refused"
        assert len(decision.reasons) == 1
        assert decision.reasons[0].startswith("contaminated: ")


def test_what_the_champion_was_trained_on_is_left_out() -> None:
    """It remembers the first text; on the second it is worse."""
    champion = result(np.where(FIRST_TEXT, 1, 4))
    seen = {"trika": np.arange(PAIRS // 2) + 1000}
    challenger = result(2)
    flattered = against(challenger, champion)
    assert not flattered.passed
    gate = GATE.model_copy(update={"slices": SLICES[:2]})
    decision = decide(
        gate, entrant(challenger), entrant(champion, name="cft-embedder/1", seen=seen)
    )
    assert decision.passed
    assert rows(decision)["primary", "trika mean/mrr"].champion == 0.25
    assert "The champion was trained on 100 texts of the suite trika" in decision.notes[0]
    everything = {"trika": np.arange(PAIRS)}
    decision = decide(
        GATE, entrant(challenger), entrant(champion, name="cft-embedder/1", seen=everything)
    )
    assert "trika mean/mrr: no item is left to compare" in " ".join(decision.reasons)
    assert not decision.passed


def test_a_figure_that_is_undefined_for_the_challenger_alone() -> None:
    champion, challenger = result(2), result(1)
    items = dict(challenger.items) | {"triplet/positive": np.full(PAIRS, np.nan)}
    figures = {k: v for k, v in challenger.figures.items() if not k.startswith("triplet")}
    collapsed = replace(
        challenger,
        items=items,
        evaluation=challenger.evaluation.model_copy(update={"figures": figures}),
    )
    decision = against(collapsed, champion)
    assert decision.verdict == "refused"


def test_other_items_are_an_error() -> None:
    other = result(1)
    other.items["pairs/english_id"] = other.items["pairs/english_id"] + 1
    with pytest.raises(CftError, match=r"pairs/english_id differs; evaluate both on one set"):
        against(other, result(2))
    with pytest.raises(CftError, match=r"cft-embedder/2: not evaluated on trika"):
        decide(GATE, entrant(result(1, suite="held-out")), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"floors": [Floor(metric="mean/mmr")]}, r"gate\.floors\[0\]\.metric: mean/mmr is no"),
        ({"floors": [Floor(suite="held-out")]}, r"gate\.floors\[0\]\.suite: held-out is not"),
        (
            {"suites": ["held-out"], "slices": [SliceRule(suite="held-out", slice="siva_sutra")]},
            r"gate\.slices\[0\]: siva_sutra is a text",
        ),
    ],
)
def test_settings_that_nothing_could_meet_are_told(change: dict, message: str) -> None:
    with pytest.raises(CftError, match=message):
        decide(GATE.model_copy(update=change), entrant(result(1)), None)


def test_the_page_names_every_check_and_reason() -> None:
    decision = against(result(1, 3), result(4, 2))
    page = gate_page(decision, {"Flow run": "f"})
    assert page.startswith("# Gate: cft-embedder/2 against champion cft-embedder/1\n")
    assert "**Refused.**" in page
    for reason in decision.reasons:
        assert f"- {reason}" in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(decision.rows)
    assert len({line.count("|") for line in table}) == 1
    assert "- Flow run: f" in page
    first = gate_page(decide(GATE, entrant(result(1)), None))
    assert "against no champion" in first
    assert "There was no champion" in first
