"""Tasks by name, narrowed to their languages, and our own suites as tasks of mteb."""

from pathlib import Path

import mteb
import pytest

from cft.corpora.trika import load_trika
from cft.errors import CftError
from cft.evaluation.benchmarks.own_tasks import HeldOutRetrieval, HeldOutSTS, TrikaRetrieval
from cft.evaluation.benchmarks.own_tasks import TrikaSTS as Sts
from cft.evaluation.benchmarks.tasks import (
    BITEXT_TASKS,
    ENGLISH,
    RETRIEVAL_TASKS,
    SANSKRIT_ENGLISH,
    STS_TASKS,
    requests,
)
from cft.evaluation.mteb_encoder import MtebEncoder
from cft.evaluation.suites.held_out import evaluate
from tests.benchmark_data import NamedTrigrams
from tests.lexical import RECIPE, evaluation_set


def test_the_lists_are_tasks_of_mteb_with_one_english_subset_each():
    assert (len(STS_TASKS), len(RETRIEVAL_TASKS)) == (10, 26)
    for name in (*STS_TASKS, *RETRIEVAL_TASKS):
        task = requests([name], ENGLISH)[0].open()
        assert task.metadata.name == name
        assert len(task.hf_subsets) == 1
        assert set(task.languages) == {"eng"}
    narrowed = {name: requests([name], ENGLISH)[0].open().hf_subsets for name in STS_TASKS}
    assert (narrowed["STS17"], narrowed["STS22"]) == (["en-en"], ["en"])


@pytest.mark.parametrize("name", BITEXT_TASKS)
def test_bitext_is_narrowed_to_sanskrit_and_english_both_ways(name):
    subsets = requests([name], SANSKRIT_ENGLISH)[0].open().hf_subsets
    there, back = (subset.split("-") for subset in subsets)
    assert there == back[::-1]
    assert {one.partition("_")[0] for one in there} == {"san", "eng"}


def test_a_task_is_usually_asked_in_the_languages_of_its_command():
    for names, languages in ((STS_TASKS, ENGLISH), (BITEXT_TASKS, SANSKRIT_ENGLISH)):
        assert requests(names, None) == requests(names, languages)
    (german,) = requests(["GermanSTSBenchmark"], None)
    assert german.languages == ()
    assert requests(["TrikaSTS"], None) == requests(["TrikaSTS"], ENGLISH)


def test_a_sum_of_tasks_becomes_its_tasks_and_a_name_given_twice_is_run_once():
    found = requests(["CQADupstackRetrieval", "STS12", "CQADupstackTexRetrieval"], ENGLISH)
    assert len(found) == 13
    assert {one.name for one in found} >= {"CQADupstackTexRetrieval", "STS12"}


@pytest.mark.parametrize(
    ("names", "languages", "told"),
    [
        (["STS71"], ENGLISH, "did you mean STS17"),
        (["sts17"], ENGLISH, "did you mean STS17"),
        (["Trika STS"], ENGLISH, "TrikaSTS"),
        (["qqqqqqqqqqqq"], ENGLISH, "none of that name"),
        (["GermanSTSBenchmark"], ENGLISH, "no subset in eng alone"),
        (["HeldOutRetrieval"], (), "--eval-set"),
        ([], ENGLISH, "name a task"),
    ],
)
def test_a_slip_is_found_before_the_first_task_runs(names, languages, told):
    with pytest.raises(CftError, match=told):
        requests(names, languages)


def test_held_out_tasks_read_an_evaluation_set(tmp_path: Path):
    evaluation_set().save(tmp_path / "set.json")
    found = requests(["HeldOutRetrieval", "HeldOutSTS"], evalset=tmp_path / "set.json")
    assert [one.open().metadata.type for one in found] == ["Retrieval", "STS"]
    evaluation_set(sts=[]).save(tmp_path / "set.json")
    with pytest.raises(CftError, match=r"HeldOutSTS: evaluation set words has no rows"):
        requests(["HeldOutSTS"], evalset=tmp_path / "set.json")


@pytest.mark.parametrize("retrieval", [HeldOutRetrieval, TrikaRetrieval])
def test_own_tasks_give_the_figures_of_the_suite(retrieval):
    """Any mteb model is scored alike: here ours, by mteb's evaluators and by our own suite."""
    held_out = retrieval is HeldOutRetrieval
    evalset = evaluation_set() if held_out else load_trika().to_evalset()
    tasks = (retrieval(evalset), HeldOutSTS(evalset)) if held_out else (retrieval(), Sts())
    encoder = NamedTrigrams(translating=True, query_prompt="find ", document_prompt="")
    model = MtebEncoder(encoder, progress=False)
    found, graded = mteb.evaluate(model, list(tasks), cache=None, show_progress_bar=False)
    ours = evaluate(
        encoder, evalset, RECIPE, model="m", query_prompt="find ", document_prompt=""
    ).figures
    scores = {one["hf_subset"]: one for one in found.scores["test"]}
    for subset, way in (("san_Deva-eng_Latn", "sa_en"), ("eng_Latn-san_Deva", "en_sa")):
        # The pool is smaller than mteb's last cutoff; ties are rare, and mteb's go by id.
        assert scores[subset]["mrr_at_1000"] == pytest.approx(ours[f"{way}/mrr"].value, abs=5e-3)
    # Cosines of counts that are equal may differ in their last bit, which moves ranks of ties.
    assert graded.scores["test"][0]["cosine_spearman"] == pytest.approx(
        ours["sts/spearman"].value, abs=2e-3
    )


def test_own_tasks_are_scored_with_a_model_that_mteb_brings():
    model = mteb.get_model("mteb/baseline-random-encoder")
    found = mteb.evaluate(model, TrikaRetrieval(), cache=None, show_progress_bar=False)
    assert {one["hf_subset"] for one in found[0].scores["test"]} == {
        "san_Deva-eng_Latn",
        "eng_Latn-san_Deva",
    }
    assert found[0].main_score < 0.2


def test_the_revision_of_an_own_task_follows_its_rows():
    first, second = HeldOutRetrieval(evaluation_set()), HeldOutRetrieval(evaluation_set(sts=[]))
    fewer = HeldOutRetrieval(evaluation_set(pairs=evaluation_set().pairs[:-1]))
    assert first.metadata.revision == second.metadata.revision != fewer.metadata.revision
