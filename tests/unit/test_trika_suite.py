"""The Trika suite: ranks, failures and neighbours that can be found again by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from cft.corpora.trika import load_trika
from cft.errors import CftError
from cft.evaluation.result import load_result
from cft.evaluation.suites.trika import SHOWN, run
from cft.text import text_id
from tests.lexical import RECIPE, TrigramEncoder

CORPUS = load_trika()


class Revised(TrigramEncoder):
    revision = "0123456789abcdef"


@pytest.fixture(scope="module")
def result():
    return run(Revised(width=256), CORPUS, RECIPE, model="trigrams")


def test_the_result_says_what_it_is_of(result):
    assert (result.suite, result.model, result.revision) == ("trika", "trigrams", Revised.revision)
    assert result.evaluation.counts == {
        "pairs": 129, "sts": len(CORPUS.sts), "triplets": len(CORPUS.triplets), "texts": 258,
    }  # fmt: skip
    assert not result.contaminated
    assert result.details["repeats"] == {"SS_3_2": "SS_1_2"}
    assert set(result.items["texts/source"].tolist()) == set(CORPUS.verses)
    needed = {
        "mean/mrr", "sa_en/recall_at_5", "en_sa/recall_at_1", "sts/spearman", "sts/pearson",
        "sts/sa-sa_spearman", "sts/sa-en_spearman", "sts/en-en_pearson", "triplet/accuracy",
        "triplet/mono_accuracy", "triplet/hard_margin", "triplet/cross_lingual_accuracy",
        "anisotropy/range", "uniformity", "hubness/sa_en", "hubness/en_sa", "hubness/texts",
        "length/sa_en_hubs", "length/en_sa_rank",
    }  # fmt: skip
    assert needed <= set(result.figures)


def test_language_pairs_are_the_graded_pairs_of_that_pair(result):
    encoder = TrigramEncoder(width=256)
    for name, ends in {
        "sa-sa": (False, False),
        "sa-en": (False, True),
        "en-en": (True, True),
    }.items():
        chosen = [
            one
            for one in CORPUS.sts
            if tuple(sorted(i.endswith("_EN") for i in (one.a_id, one.b_id))) == ends
        ]
        assert chosen
        cosines = [
            float(np.dot(*(encoder.vector(CORPUS.texts[i]) for i in (one.a_id, one.b_id))))
            for one in chosen
        ]
        scores = [one.score for one in chosen]
        rho = stats.spearmanr(np.round(cosines, 6), scores).statistic
        r = stats.pearsonr(cosines, scores).statistic
        assert result.figures[f"sts/{name}_spearman"].value == pytest.approx(rho, abs=2e-3)
        assert result.figures[f"sts/{name}_pearson"].value == pytest.approx(r, abs=1e-4)


def test_neighbours_and_failures_are_found_again_by_hand(result):
    encoder = TrigramEncoder(width=256)
    ids = [one["id"] for one in result.details["verses"]]
    english = np.array([encoder.vector(CORPUS.texts[f"{one}_EN"]) for one in ids])
    for row in (0, 40, 128):
        said = result.details["retrieval"]["sa_en"][row]
        assert said["id"] == ids[row]
        cosines = english @ encoder.vector(CORPUS.texts[ids[row]])
        assert said["cosine"] == pytest.approx(cosines[row], abs=1e-5)
        nearest = said["neighbours"]
        assert len(nearest) == SHOWN
        np.testing.assert_allclose(
            [one["cosine"] for one in nearest], np.sort(cosines)[::-1][:SHOWN], atol=1e-5
        )
        for one in nearest:
            verse = one["id"].removesuffix("_EN")
            assert one["cosine"] == pytest.approx(cosines[ids.index(verse)], abs=1e-5)
    ranks = {one["id"]: one["rank"] for one in result.details["retrieval"]["en_sa"]}
    failures = result.details["failures"]["en_sa"]
    assert set(failures) == {one for one, rank in ranks.items() if rank > 1}
    assert [ranks[one] for one in failures] == sorted(
        (ranks[one] for one in failures), reverse=True
    )
    assert all(one.endswith("_EN") for one in failures)


def test_nearest_texts_speak_the_same_language(result):
    nearest = result.details["nearest"]
    assert len(nearest) == 258
    for one, others in nearest.items():
        assert one not in [other["id"] for other in others]
        assert {other["id"].endswith("_EN") for other in others} == {one.endswith("_EN")}


def test_occurrences_count_the_neighbour_lists(result):
    items = result.items
    for pool in ("sa_en", "en_sa", "texts"):
        counts = np.zeros(len(items[f"{pool}/document_id"]))
        for row in items[f"{pool}/neighbours"]:
            counts[row] += 1
        np.testing.assert_array_equal(items[f"{pool}/occurrences"], counts)
        hubness = result.figures[f"hubness/{pool}"].value
        assert hubness == pytest.approx(stats.skew(counts))
        rho = stats.spearmanr(counts, items[f"{pool}/document_length"]).statistic
        assert result.figures[f"length/{pool}_hubs"].value == pytest.approx(rho)
    lengths = {text_id(text): len(text) for text in CORPUS.texts.values()}
    found = dict(
        zip(
            items["en_sa/document_id"].tolist(),
            items["en_sa/document_length"].tolist(),
            strict=True,
        )
    )
    assert all(lengths[one] == length for one, length in found.items())


def test_the_drift_from_a_base(result):
    same = run(TrigramEncoder(width=256), CORPUS, RECIPE, model="same", base=result)
    assert same.figures["drift/cosine"].value == pytest.approx(0, abs=1e-6)
    assert same.figures["drift/neighbours"].value == 0
    other = run(
        TrigramEncoder(width=256, words={"शिवः": "Śiva", "the": "a"}), CORPUS, RECIPE,
        model="other", base=result,
    )  # fmt: skip
    expected = 1 - (other.items["texts/vector"] * result.items["texts/vector"]).sum(axis=1).mean()
    assert other.figures["drift/cosine"].value == pytest.approx(expected, abs=1e-6)
    assert 0 < other.figures["drift/neighbours"].value < 1
    wider = run(TrigramEncoder(width=300), CORPUS, RECIPE, model="wider", base=result)
    assert "drift/cosine" not in wider.figures  # no axes in common
    assert "drift/neighbours" in wider.figures
    fewer = replace(CORPUS, verses={"spanda_karika": CORPUS.verses["spanda_karika"]}, sts=[],
                    triplets=[])  # fmt: skip
    with pytest.raises(CftError, match=r"few and trigrams: evaluated on different texts; "):
        run(TrigramEncoder(width=256), fewer, RECIPE, model="few", base=result)


def test_a_corpus_without_verses_of_one_kind_is_evaluated_on_what_it_has():
    fewer = replace(CORPUS, verses={"spanda_karika": CORPUS.verses["spanda_karika"]}, sts=[],
                    triplets=[])  # fmt: skip
    found = run(TrigramEncoder(), fewer, RECIPE, model="few")
    assert found.evaluation.counts == {"pairs": 53, "sts": 0, "triplets": 0, "texts": 106}
    assert "sts/spearman" not in found.figures


def test_details_survive_and_stay_readable(result, tmp_path):
    folder = result.save(tmp_path / "trika")
    again = load_result(folder)
    assert again.details == result.details
    assert again.evaluation == result.evaluation
    assert "चैतन्यमात्मा" in (folder / "details.json").read_text(encoding="utf-8")
    (folder / "details.json").write_text("[1, 2", encoding="utf-8")
    with pytest.raises(CftError, match=r"details\.json: not valid JSON .*; delete the folder"):
        load_result(folder)
    (folder / "details.json").write_text(json.dumps([1]), encoding="utf-8")
    with pytest.raises(CftError, match=r"details\.json: not an object; "):
        load_result(folder)


def test_a_result_does_not_vanish_into_a_folder_that_is_there(result, tmp_path):
    (tmp_path / "empty").mkdir()
    assert load_result(result.save(tmp_path / "empty")).model == "trigrams"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(CftError, match=r"full: not an empty folder; name another"):
        result.save(tmp_path / "full")
    assert [one.name for one in (tmp_path / "full").iterdir()] == ["notes.txt"]
