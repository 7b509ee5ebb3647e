"""Real mteb tasks over local data, scored through the adapter and by hand."""

import mteb
import numpy as np
import pytest
from datasets import Dataset
from mteb.abstasks import AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.cache import ResultCache
from mteb.models import EncoderProtocol
from mteb.types import PromptType
from scipy.stats import spearmanr

from cft.errors import CftError
from cft.evaluation.encoders import open_encoder
from cft.evaluation.mteb_encoder import MtebEncoder
from cft.model.encoder import Encoder
from tests.lexical import DICTIONARY, SANSKRIT, english_of
from tests.sentence_transformers_models import save_sentence_transformer
from tests.tiny import save_backbone

ABOUT = {
    "description": "Verses made in the test.", "reference": None, "category": "t2t",
    "modalities": ["text"], "eval_splits": ["test"], "eval_langs": ["eng-Latn"], "date": None,
    "domains": [], "task_subtypes": [], "license": None, "annotations_creators": "derived",
    "dialect": [], "sample_creation": "created", "bibtex_citation": "",
    "dataset": {"path": "local/none", "revision": "0"},
}  # fmt: skip
ENGLISH = [english_of(verse) for verse in SANSKRIT]
SHIFTED = ENGLISH[4:] + ENGLISH[:4]
SCORES = [len(set(a.split()) & set(b.split())) for a, b in zip(ENGLISH, SHIFTED, strict=True)]


class VersesSTS(AbsTaskSTS):
    metadata = TaskMetadata(name="VersesSTS", type="STS", main_score="cosine_spearman", **ABOUT)

    def load_data(self, **options):
        columns = {"sentence1": ENGLISH, "sentence2": SHIFTED, "score": SCORES}
        self.dataset = {"test": Dataset.from_dict(columns)}
        self.data_loaded = True


class VersesRetrieval(AbsTaskRetrieval):
    metadata = TaskMetadata(
        name="VersesRetrieval", type="Retrieval", main_score="ndcg_at_10", **ABOUT
    )

    def load_data(self, **options):
        names = [str(row) for row in range(len(ENGLISH))]
        data = RetrievalSplitData(
            corpus=Dataset.from_dict({"id": names, "text": ENGLISH, "title": [""] * len(names)}),
            queries=Dataset.from_dict({"id": names, "text": [v.split()[0] for v in ENGLISH]}),
            relevant_docs={name: {name: 1} for name in names},
            top_ranked=None,
        )
        self.dataset = {"default": {"test": data}}
        self.data_loaded = True


class Seen:
    """The encoder, and which prompt each call had."""

    def __init__(self, encoder):
        self.encoder, self.calls = encoder, []

    def __getattr__(self, name):
        return getattr(self.encoder, name)

    def encode(self, texts, *, prompt=None, **options):
        self.calls.append((prompt, len(texts)))
        return self.encoder.encode(texts, prompt=prompt, **options)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = save_backbone(tmp_path_factory.mktemp("model") / "tiny")
    return open_encoder(folder, device="cpu", query_prompt="q: ")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    folder = save_sentence_transformer(tmp_path_factory.mktemp("model") / "theirs")
    return open_encoder(folder, device="cpu", document_prompt="read: ")


def scores(model, task, **options):
    found = mteb.evaluate(
        model, task, cache=options.pop("cache", None), show_progress_bar=False, **options
    )
    return found[0].scores["test"][0]


@pytest.mark.parametrize("kind", ["ours", "theirs"])
def test_an_sts_task_gives_the_correlation_computed_by_hand(kind, request):
    seen = Seen(request.getfixturevalue(kind))
    adapter = MtebEncoder(seen, progress=False)
    assert isinstance(adapter, EncoderProtocol)
    found = scores(adapter, VersesSTS())
    prompt = seen.encoder.query_prompt
    a_ND, b_ND = (
        seen.encoder.encode(side, prompt=prompt, progress=False) for side in (ENGLISH, SHIFTED)
    )
    expected = spearmanr((a_ND * b_ND).sum(axis=1), SCORES)[0]
    assert found["cosine_spearman"] == pytest.approx(expected, abs=1e-6)
    assert found["spearman"] == pytest.approx(expected, abs=1e-6)
    assert {one for one, _ in seen.calls} == {prompt}


@pytest.mark.parametrize("kind", ["ours", "theirs"])
def test_a_retrieval_task_gives_queries_and_documents_their_prompts(kind, request):
    seen = Seen(request.getfixturevalue(kind))
    found = scores(MtebEncoder(seen, progress=False), VersesRetrieval())
    encode, n = seen.encoder.encode, len(ENGLISH)
    query_ND = encode(
        [one.split()[0] for one in ENGLISH], prompt=seen.encoder.query_prompt, progress=False
    )
    document_ND = encode(ENGLISH, prompt=seen.encoder.document_prompt, progress=False)
    order = np.argsort(-(query_ND @ document_ND.T), axis=1, kind="stable")
    rank_N = (order == np.arange(n)[:, None]).argmax(axis=1)
    assert found["recall_at_10"] == pytest.approx((rank_N < 10).mean(), abs=1e-4)
    counts = {prompt: sum(n for one, n in seen.calls if one == prompt) for prompt, _ in seen.calls}
    assert counts == {seen.encoder.document_prompt: n, seen.encoder.query_prompt: n}


@pytest.mark.parametrize("task", [VersesSTS, VersesRetrieval])
def test_an_encoder_of_ours_is_one_of_mteb_as_it_is(tmp_path, task):
    encoder = Encoder.load(save_backbone(tmp_path / "tiny"), device="cpu")
    assert isinstance(encoder, EncoderProtocol)
    main = task.metadata.main_score
    by_adapter = scores(MtebEncoder(encoder, progress=False), task())
    assert scores(encoder, task())[main] == pytest.approx(by_adapter[main], abs=1e-6)


def test_mteb_gets_the_prompt_of_each_side(tmp_path):
    contract = {"query_prompt": "q: ", "document_prompt": "d: "}
    folder = save_backbone(tmp_path / "tiny")
    encoder = Encoder.load(folder, device="cpu")
    encoder.contract = encoder.contract.model_copy(update=contract)
    asked = {"task_metadata": VersesSTS.metadata, "hf_split": "test", "hf_subset": "default"}
    for side, prompt in ((PromptType.query, "q: "), (PromptType.document, "d: "), (None, "q: ")):
        found = encoder.encode([{"text": ENGLISH}], prompt_type=side, **asked)
        expected = encoder.encode(ENGLISH, prompt=prompt)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_unknown_argument_is_no_word_of_mteb(ours):
    with pytest.raises(TypeError, match="no argument batch_size"):
        ours.encode(ENGLISH, batch_size=4)


def test_results_are_kept_under_name_and_revision(ours, tmp_path):
    cache = ResultCache(tmp_path)
    first = scores(MtebEncoder(ours, progress=False), VersesSTS(), cache=cache)
    (path,) = tmp_path.rglob("VersesSTS.json")
    assert path.parent.parts[-2:] == ("local__tiny", ours.revision)
    seen = Seen(ours)
    again = scores(MtebEncoder(seen, progress=False), VersesSTS(), cache=cache)
    assert again["cosine_spearman"] == pytest.approx(first["cosine_spearman"], abs=1e-5)
    assert seen.calls == []


def test_prompts_by_task_go_before_the_encoders_own(ours):
    prompts = {"VersesSTS": "task: ", "STS": "type: ", "query": "side: "}
    adapter = MtebEncoder(ours, prompts)
    metadata = VersesSTS.metadata
    assert adapter.prompt_for(metadata, None) == "task: "
    assert adapter.prompt_for(VersesRetrieval.metadata, PromptType.query) == "side: "
    assert adapter.prompt_for(VersesRetrieval.metadata, PromptType.document) == ""
    assert MtebEncoder(ours).prompt_for(metadata, None) == "q: "
    seen = Seen(ours)
    scores(MtebEncoder(seen, prompts, progress=False), VersesSTS())
    assert {one for one, _ in seen.calls} == {"task: "}


def test_similarities_are_cosines(ours):
    adapter = MtebEncoder(ours)
    one_ND = ours.encode(list(DICTIONARY), progress=False)
    np.testing.assert_allclose(adapter.similarity(one_ND, 3 * one_ND), one_ND @ one_ND.T, atol=1e-5)
    np.testing.assert_allclose(adapter.similarity_pairwise(one_ND, 3 * one_ND), 1, atol=1e-5)


def test_a_task_without_texts_is_refused(ours):
    with pytest.raises(CftError, match="VersesSTS: its inputs are image and not texts"):
        MtebEncoder(ours).encode(
            [{"image": []}], task_metadata=VersesSTS.metadata, hf_split="test", hf_subset="default"
        )
