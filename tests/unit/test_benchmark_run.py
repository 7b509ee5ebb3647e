"""Running tasks: what is kept, what is not run and why, and what a fault leaves."""

import gc
import json
import math
import weakref
from pathlib import Path

import numpy as np
import pytest
from mteb.abstasks import AbsTask
from mteb.results import TaskResult
from rich.console import Console
from scipy.stats import spearmanr

from cft.errors import CftError
from cft.evaluation.benchmarks.local_data import LocalData
from cft.evaluation.benchmarks.run import Results, result_files, run_tasks
from cft.evaluation.benchmarks.table import benchmark_rich_table, benchmark_table
from cft.evaluation.benchmarks.tasks import ENGLISH, SANSKRIT_ENGLISH, STS_TASKS, requests
from cft.evaluation.mteb_encoder import MtebEncoder
from tests.benchmark_data import NamedTrigrams, bitext_rows, sts_rows, write_retrieval, write_rows

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "sts"
STS = ("STS12", "STS13", "STS17")


@pytest.fixture(scope="module", autouse=True)
def frozen():
    """Each task ends with a collection, which need not visit the objects of all modules."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    write_rows(folder / "STS12" / "test.tsv", sts_rows(4))
    write_rows(folder / "STS13" / "test.parquet", sts_rows(5))
    write_rows(folder / "STS17" / "en-en" / "test.tsv", sts_rows(2))
    return folder


def run(tmp_path, names=STS, encoder=None, languages=ENGLISH, splits=(), **options):
    model = MtebEncoder(encoder or NamedTrigrams(), progress=False)
    options = {"benchmark": "sts", "output": tmp_path / "out", "progress": False} | options
    return run_tasks(model, requests(names, languages, splits), **options)


def states(result):
    return {row.task: row.state for row in result.rows}


def test_scores_are_those_of_the_cosines(tmp_path, data):
    result = run(tmp_path, data=data)
    encoder = NamedTrigrams()
    for row, shift in zip(result.rows, (4, 5, 2), strict=True):
        rows = sts_rows(shift)
        first, second = (encoder.encode([one[f"sentence{k}"] for one in rows]) for k in (1, 2))
        by_hand = spearmanr((first * second).sum(axis=1), [one["score"] for one in rows])
        assert row.value == pytest.approx(by_hand.statistic, abs=2e-3)
    assert result.mean == pytest.approx(np.mean([row.value for row in result.rows]))


def test_the_same_call_again_encodes_nothing_and_says_the_same(tmp_path, data):
    first = run(tmp_path, data=data)
    encoder = NamedTrigrams()
    second = run(tmp_path, encoder=encoder, data=data)
    assert encoder.calls == []
    assert set(states(second).values()) == {"kept"}
    assert second.metrics() == first.metrics()


def test_results_are_mtebs_own_files(tmp_path, data):
    result = run(tmp_path, data=data)
    files = result_files(result, tmp_path / "out")
    assert set(files) == set(STS)
    for name, path in files.items():
        kept = TaskResult.from_disk(path)
        assert (kept.task_name, path.name) == (name, f"{name}.json")
        assert path.is_relative_to(tmp_path / "out" / "results")


def test_other_data_other_weights_and_other_prompts_are_run_anew(tmp_path, data):
    first = run(tmp_path, data=data)
    write_rows(data / "STS12" / "test.tsv", sts_rows(7))
    second = run(tmp_path, data=data)
    assert states(second) == {"STS12": "run", "STS13": "kept", "STS17": "kept"}
    assert second.rows[0].value != first.rows[0].value
    assert set(states(run(tmp_path, encoder=NamedTrigrams("r2"), data=data)).values()) == {"run"}


def test_another_split_adds_to_the_results(tmp_path, data):
    write_rows(data / "STS12" / "dev.tsv", sts_rows(7))
    run(tmp_path, ["STS12"], data=data)
    assert states(run(tmp_path, ["STS12"], splits=["dev"], data=data)) == {"STS12": "run"}
    assert states(run(tmp_path, ["STS12"], data=data)) == {"STS12": "kept"}


def test_a_task_without_data_is_not_run_and_never_zero(tmp_path, data):
    result = run(tmp_path, ["STS12", "STS14", "BIOSSES"], data=data)
    assert states(result) == {"STS12": "run", "STS14": "not run", "BIOSSES": "not run"}
    assert "STS14/test.tsv: not there" in result.rows[1].reason
    metrics = result.metrics()
    assert not any("STS14" in name or "BIOSSES" in name for name in metrics)
    assert "mteb/sts/mean" not in metrics
    assert (metrics["mteb/sts/tasks"], metrics["mteb/sts/tasks_scored"]) == (3, 1)
    table = benchmark_table(result)
    assert f"| STS12 |  | test | {result.rows[0].value:.4f} |" in table
    assert "| STS14 |  | test | – | – | not run |" in table
    assert "over only 1 of 3 tasks" in table
    assert "STS14/test.tsv: not there" in str(benchmark_rich_table(result).caption)


def test_the_mean_has_its_name_only_over_the_whole_benchmark(tmp_path, data):
    for name in STS_TASKS:
        subset = {"STS17": "en-en/", "STS22": "en/"}.get(name, "")
        write_rows(data / name / f"{subset}test.tsv", sts_rows())
    (data / "STS13" / "test.parquet").unlink()
    whole = run(tmp_path, STS_TASKS, data=data)
    assert whole.metrics()["mteb/sts/mean"] == pytest.approx(whole.mean)
    assert "over all 10 tasks" in benchmark_table(whole)
    part = run(tmp_path, STS, data=data)
    assert part.complete
    assert "mteb/sts/mean" not in part.metrics()
    many = run(tmp_path, ["STS12", "TrikaRetrieval"], data=data, languages=())
    shown = Console(width=110, record=True)
    shown.print(benchmark_rich_table(many))
    text = shown.export_text()
    assert f"ndcg_at_10 {many.rows[1].value:.4f}" in text
    assert "mrr_at_100" in text


def test_malformed_data_stops_its_task_alone(tmp_path, data):
    (data / "STS13" / "test.parquet").write_bytes(b"PAR1 cut short")
    result = run(tmp_path, data=data)
    assert states(result) == {"STS12": "run", "STS13": "not run", "STS17": "run"}
    assert "cannot be read as parquet" in result.rows[1].reason


def test_without_local_data_and_hub_nothing_is_run(tmp_path, monkeypatch):
    assert set(states(run(tmp_path, hub=False)).values()) == {"not run"}
    with pytest.raises(CftError, match="no such folder of task data"):
        run(tmp_path, data=tmp_path / "none")


def test_the_hub_is_asked_for_what_is_not_local_and_its_silence_is_a_reason(
    tmp_path, data, monkeypatch
):
    asked = []

    def unreachable(self, **options):
        asked.append(self.metadata.name)
        raise ConnectionError("Couldn't reach\nthe hub")

    monkeypatch.setattr(AbsTask, "load_data", unreachable)
    write_rows(data / "STS13" / "test.tsv", sts_rows())  # in two formats now: a fault, no absence
    result = run(tmp_path, ["STS12", "STS13", "STS14"], data=data, hub=True)
    assert asked == ["STS14"]
    assert states(result) == {"STS12": "run", "STS13": "not run", "STS14": "not run"}
    assert "hold the same data" in result.rows[1].reason
    assert "ConnectionError: Couldn't reach the hub" in result.rows[2].reason
    run(tmp_path, ["BIOSSES"])  # without local data the hub is what is left
    assert asked == ["STS14", "BIOSSES"]


@pytest.mark.parametrize("cut", [0, 400])
def test_a_result_file_that_was_cut_short_is_no_result(tmp_path, data, caplog, cut):
    first = run(tmp_path, data=data)
    path = result_files(first, tmp_path / "out")["STS13"]
    path.write_bytes(path.read_bytes()[:cut])
    second = run(tmp_path, data=data)
    assert states(second) == {"STS12": "kept", "STS13": "run", "STS17": "kept"}
    assert "is evaluated again" in caplog.text
    assert second.metrics() == first.metrics()


def test_only_the_english_of_nested_results_counts(tmp_path, data):
    """A kept file may hold every language; and subsets that were not asked for are no score."""
    first = run(tmp_path, ["STS17"], data=data)
    path = result_files(first, tmp_path / "out")["STS17"]
    kept = json.loads(path.read_text())
    (english,) = kept["scores"]["test"]
    others = [
        {**english, "hf_subset": subset, "languages": ["deu-Latn"], "main_score": 0.99,
         "cosine_spearman": 0.99}
        for subset in ("en-de", "ar-ar")
    ]  # fmt: skip
    kept["scores"]["test"] = [others[0], english, others[1]]
    kept["scores"]["train"] = [{**english, "main_score": 0.98, "cosine_spearman": 0.98}]
    path.write_text(json.dumps(kept))
    second = run(tmp_path, ["STS17"], data=data)
    assert states(second) == {"STS17": "kept"}
    assert second.rows[0].scores == first.rows[0].scores


def test_results_of_old_versions_nest_deeper_and_are_read(tmp_path, data):
    """mteb before 1.11: split, subset, similarity, correlation."""
    task = requests(["STS17"], ENGLISH)[0].open()
    old = {
        "dataset_revision": task.metadata.revision,
        "mteb_dataset_name": "STS17",
        "mteb_version": "1.0.2",
        "test": {
            subset: {"cos_sim": {"pearson": value - 0.1, "spearman": value}, "evaluation_time": 1}
            for subset, value in (("en-en", 0.75), ("en-de", 0.25))
        },
    }
    model = MtebEncoder(NamedTrigrams(), progress=False).mteb_model_meta
    path = Results(tmp_path / "out").get_task_result_path("STS17", model)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(old))
    (row,) = run(tmp_path, ["STS17"]).rows
    assert (row.state, row.value) == ("kept", 0.75)


def test_an_undefined_correlation_is_no_figure(tmp_path, data):
    write_rows(data / "STS12" / "test.tsv", [{**row, "score": 3} for row in sts_rows()])
    result = run(tmp_path, ["STS12", "STS13"], data=data)
    assert states(result) == {"STS12": "run", "STS13": "run"}
    assert result.rows[0].value is None
    assert not any(math.isnan(one) for one in result.metrics().values())
    assert "| STS12 |  | test | – | – | run |" in benchmark_table(result)
    assert states(run(tmp_path, ["STS12"], data=data)) == {"STS12": "kept"}


def test_a_broken_encoder_is_an_error_and_what_was_done_is_kept(tmp_path, data):
    class Breaking(NamedTrigrams):
        def encode(self, texts, **options):
            if len(self.calls) == 3:
                raise CftError("trigrams: 1 of 30 vectors are NaN")
            return super().encode(texts, **options)

    with pytest.raises(CftError, match="vectors are NaN"):
        run(tmp_path, encoder=Breaking(), data=data)
    assert states(run(tmp_path, data=data)) == {"STS12": "kept", "STS13": "run", "STS17": "run"}


def test_one_tasks_data_is_in_memory_at_a_time(tmp_path, data, monkeypatch):
    loaded, alive = [], []
    load = LocalData.load

    def remembered(local):
        load(local)
        loaded.append(weakref.ref(local._task))

    class Counting(NamedTrigrams):
        def encode(self, texts, **options):
            alive.append(sum(one() is not None for one in loaded))
            return super().encode(texts, **options)

    monkeypatch.setattr(LocalData, "load", remembered)
    run(tmp_path, encoder=Counting(), data=data)
    assert alive == [1] * 6
    assert len(loaded) == 3


def test_retrieval_and_bitext_report_their_scores(tmp_path):
    folder = tmp_path / "data"
    write_retrieval(folder / "SciFact", ".jsonl")
    write_rows(folder / "IN22GenBitextMining" / "test.tsv", bitext_rows())
    encoder = NamedTrigrams(translating=True, query_prompt="q ", document_prompt="d ")
    (found,) = run(tmp_path, ["SciFact"], encoder, data=folder).rows
    assert set(found.scores) == {"ndcg_at_10", "map_at_100", "mrr_at_100", "recall_at_100"}
    assert 0.3 < found.value < 1 == found.scores["recall_at_100"]
    assert {prompt for prompt, _ in encoder.calls} == {"q ", "d "}
    for translating, low, high in ((True, 1, 1), (False, 0, 0.3)):
        encoder = NamedTrigrams(f"t{translating}", translating)
        (found,) = run(
            tmp_path, ["IN22GenBitextMining"], encoder, SANSKRIT_ENGLISH, data=folder
        ).rows
        assert found.subsets == ("eng_Latn-san_Deva", "san_Deva-eng_Latn")
        assert low <= found.value <= high
        assert set(found.scores) == {"f1", "accuracy"}


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real STS data")
def test_the_real_sts_benchmark_from_its_file(tmp_path: Path):
    encoder = NamedTrigrams()
    (row,) = run(tmp_path, ["STSBenchmark"], encoder, splits=["dev"], data=REAL).rows
    lines = (REAL / "STSBenchmark-dev.tsv").read_text().splitlines()[1:]
    cells = [line.split("\t") for line in lines]
    first, second = (encoder.encode([one[k] for one in cells]) for k in (2, 3))
    by_hand = spearmanr((first * second).sum(axis=1), [float(one[1]) for one in cells])
    assert len(cells) == 1500
    assert row.value == pytest.approx(by_hand.statistic, abs=1e-5)
    assert row.splits == ("dev",)
