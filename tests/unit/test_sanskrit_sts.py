"""Sanskrit STS: figures that follow from the cosines, and files that are read with care."""

import json

import numpy as np
import pytest
import pytrec_eval
from sklearn.metrics import roc_auc_score

from cft.errors import CftError
from cft.evaluation.suites.sanskrit_sts import beside, read_sanskrit_sts, run
from tests.lexical import DICTIONARY, RECIPE, SANSKRIT, TrigramEncoder, english_of

PAIRS = [
    *({"text_a": SANSKRIT[n], "text_b": SANSKRIT[n + 1], "label": 1} for n in range(0, 20, 2)),
    *(
        {"text_a": SANSKRIT[n], "text_b": english_of(SANSKRIT[29 - n]), "label": 0}
        for n in range(8)
    ),
]
DOCUMENTS = [{"sanskrit": verse, "english": english_of(verse)} for verse in SANSKRIT]
CASES = [
    {"query": f"{english_of(SANSKRIT[n])} today", "relevant": [n, n + 1]} for n in range(0, 24, 3)
]


@pytest.fixture
def files(tmp_path):
    path = tmp_path / "vbt_eval.json"
    path.write_text(json.dumps(PAIRS, ensure_ascii=False), encoding="utf-8")
    retrieval = {"documents": DOCUMENTS, "cases": CASES}
    beside(path).write_text(json.dumps(retrieval, ensure_ascii=False), encoding="utf-8")
    return path


def test_figures_follow_from_the_cosines(files):
    encoder = TrigramEncoder()
    result = run(encoder, read_sanskrit_sts(files), RECIPE, model="trigrams", contaminated=True)
    cosine = np.array([encoder.vector(p["text_a"]) @ encoder.vector(p["text_b"]) for p in PAIRS])
    label = np.array([p["label"] for p in PAIRS])
    value = {name: figure.value for name, figure in result.figures.items()}
    assert value["separation/similar_mean"] == pytest.approx(cosine[label == 1].mean(), abs=1e-6)
    assert value["separation/dissimilar_mean"] == pytest.approx(cosine[label == 0].mean(), abs=1e-6)
    gap = cosine[label == 1].mean() - cosine[label == 0].mean()
    assert value["separation/discrimination"] == pytest.approx(gap, abs=1e-6)
    area = roc_auc_score(label, np.round(cosine, 6))
    assert value["separation/auc_roc"] == pytest.approx(area)
    assert result.contaminated
    assert result.suite == "sanskrit-sts"
    assert result.evaluation.counts == {
        "similar": 10, "dissimilar": 8, "cases": 8, "documents": 30, "texts": 68,
    }  # fmt: skip
    assert result.details["pairs"][3]["cosine"] == pytest.approx(cosine[3], abs=1e-5)


def test_cases_equal_pytrec_eval(files):
    encoder = TrigramEncoder(width=300, words=DICTIONARY)
    result = run(encoder, read_sanskrit_sts(files), RECIPE, model="translating")
    truth = {f"q{q}": {f"d{d}": 1 for d in case["relevant"]} for q, case in enumerate(CASES)}
    for side, pool in (("sanskrit", "cases_sa"), ("english", "cases_en")):
        vectors = [encoder.vector(document[side]) for document in DOCUMENTS]
        scores = {
            f"q{q}": {
                f"d{d}": float(encoder.vector(case["query"]) @ vector)
                for d, vector in enumerate(vectors)
            }
            for q, case in enumerate(CASES)
        }
        found = pytrec_eval.RelevanceEvaluator(truth, {"recip_rank", "success.1,5"}).evaluate(
            scores
        )
        by_query = [found[f"q{q}"] for q in range(len(CASES))]
        for ours, theirs in (
            ("mrr", "recip_rank"),
            ("hit_at_1", "success_1"),
            ("hit_at_5", "success_5"),
        ):
            expected = np.mean([one[theirs] for one in by_query])
            assert result.figures[f"{pool}/{ours}"].value == pytest.approx(expected)
        ranks = [row[f"rank_{side}"] for row in result.details["cases"]]
        np.testing.assert_array_equal(ranks, result.items[f"{pool}/rank"])


def test_prompts_stand_before_queries_and_documents(files):
    encoder = TrigramEncoder()
    result = run(
        encoder, read_sanskrit_sts(files), RECIPE, model="any", query_prompt="q: ",
        document_prompt="d: ",
    )  # fmt: skip
    a, b = (encoder.vector(f"q: {PAIRS[0][name]}") for name in ("text_a", "text_b"))
    assert result.items["separation/cosine"][0] == pytest.approx(a @ b, abs=1e-6)
    assert {prompt for prompt, _ in encoder.calls} == {"q: ", "d: "}


def test_verses_with_one_translation_are_one_document(tmp_path):
    documents = [dict(one) for one in DOCUMENTS[:4]]
    documents[3]["english"] = documents[0]["english"]
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps(PAIRS), encoding="utf-8")
    other = tmp_path / "cases.json"
    cases = [{"query": documents[0]["english"], "relevant": [3]}]
    other.write_text(json.dumps({"documents": documents, "cases": cases}), encoding="utf-8")
    result = run(TrigramEncoder(), read_sanskrit_sts(path, other), RECIPE, model="any")
    assert result.items["cases_en/rank"].tolist() == [1]


def test_pairs_alone_are_enough(files):
    beside(files).unlink()
    result = run(TrigramEncoder(), read_sanskrit_sts(files), RECIPE, model="any")
    assert not any(name.startswith("cases") for name in result.figures)
    assert result.evaluation.counts["cases"] == 0


@pytest.mark.parametrize("label", [True, 1.0])
def test_labels_may_be_truth_values_and_rows_may_say_more(tmp_path, label):
    path = tmp_path / "pairs.json"
    rows = [{**PAIRS[0], "label": label, "note": "why"}, PAIRS[-1]]
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert [one.label for one in read_sanskrit_sts(path).pairs] == [1, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", r"not valid JSON in UTF-8 .*; mend the file"),
        ({"pairs": PAIRS}, r"Input should be a valid list"),
        ([{"text_a": "a", "label": 1}], r"0\.text_b: Field required"),
        ([{"text_a": "a", "text_b": "b", "label": 2}], r"0\.label: .*0 or 1"),
        ([{"text_a": "a", "text_b": "b", "label": "1"}], r"0\.label"),
        ([{"text_a": " ", "text_b": "b", "label": 1}], r"0\.text_a: empty text"),
        (PAIRS[:3], r"3 similar and 0 dissimilar pairs; separation needs both"),
        ([], r"0 similar and 0 dissimilar"),
    ],
)  # fmt: skip
def test_bad_pairs_are_one_clear_line(tmp_path, content, message):
    path = tmp_path / "pairs.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CftError, match=rf"pairs\.json: .*{message}") as raised:
        read_sanskrit_sts(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("relevant", [[30], [-1], []])
def test_a_case_that_names_no_document_is_told(files, relevant):
    content = {"documents": DOCUMENTS, "cases": [*CASES, {"query": "q", "relevant": relevant}]}
    beside(files).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CftError, match=r"_retrieval\.json: cases\.8\.relevant: .*; mend the case"):
        read_sanskrit_sts(files)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(CftError, match=r"none\.json: not readable .*; write it by `cft data vbt"):
        read_sanskrit_sts(tmp_path / "none.json")
