"""The quality benchmark's own arithmetic: steps of a budget, intervals, the table of its lines."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch.nn.functional import cross_entropy, normalize

from cft.files import append_line
from cft.recipe import Recipe, flattened
from cft.training.batches import collate
from cft.training.objective import contrastive_loss
from tests.benchmarks import quality
from tests.benchmarks.peer_training import Columns
from tests.benchmarks.quality_rows import (
    ablation,
    changed,
    chosen,
    interval,
    steps_within,
    tables,
    with_steps,
)
from tests.tiny import tiny_store


def line(row: int, seed: int, mrr: float, **others):
    counts = {"batch": 256, "steps": 900, "triplets": 230_400, "seconds": 39.0 + seed}
    return {"row": row, "name": f"row {row}", "seed": seed, "mrr": mrr, "recall_at_1": mrr / 2,
            "device": "GPU", "budget": 40.0, **counts, **others}  # fmt: skip


def test_a_change_is_of_the_named_leaves_alone():
    before, after = Recipe(), changed(Recipe(), model__lora__r=32, stage1__batch_size=256)
    differ = {k: v for k, v in flattened(after).items() if flattened(before)[k] != v}
    assert differ == {"model.lora.r": 32, "stage1.batch_size": 256}
    with pytest.raises(ValidationError, match="ranks"):
        changed(Recipe(), model__lora__ranks=32)


def test_the_first_row_is_the_original_recipe_and_each_row_has_a_name_of_its_own():
    rows = ablation()
    first = rows[0].recipe
    assert (first.stage1.batch_size, first.stage1.learning_rate) == (7, 5e-5)
    assert (first.model.lora.r, first.model.lora.target_modules) == (8, ["q_proj", "v_proj"])
    assert (first.data.triplet_types, rows[0].hard_negatives) == ("both", True)
    assert len({row.name for row in rows}) == len(rows)


def test_float8_is_compared_with_its_own_recipe_in_bfloat16():
    (row,) = [one for one in ablation() if one.recipe.stage1.float8]
    assert row.pace in [one.recipe for one in ablation()]
    assert changed(row.recipe, stage1__float8=False, stage1__bf16=False) == row.pace


def test_rows_are_chosen_by_number():
    assert chosen(None, 3) == [0, 1, 2]
    assert chosen("", 3) == []
    assert chosen("2, 0", 3) == [2, 0]
    with pytest.raises(ValueError, match="no row 3"):
        chosen("3", 3)


@pytest.mark.parametrize(
    ("budget", "steps", "seconds", "expected"), [(40, 30, 1.5, 800), (40, 30, 7, 171), (1, 3, 9, 1)]
)
def test_steps_fill_the_budget_at_the_measured_rate(budget, steps, seconds, expected):
    assert steps_within(budget, steps, seconds) == expected


def test_the_schedule_ends_with_the_steps():
    stage = with_steps(Recipe(), 805).stage1
    assert (stage.max_steps, stage.warmup_steps) == (805, 80)
    assert stage.save_steps > stage.max_steps
    assert with_steps(Recipe(), 1).stage1.warmup_steps == 0


@pytest.mark.parametrize("values", [[0.31, 0.35], [0.8, 0.81, 0.79], [0.1, 0.4, 0.2, 0.3]])
def test_the_interval_is_students(values):
    mean, half = interval(values)
    expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx(expected)


def test_one_seed_has_no_interval():
    mean, half = interval([0.5])
    assert mean == 0.5
    assert math.isnan(half)


def test_the_table_has_a_line_a_row_and_the_last_run_of_a_seed_counts(tmp_path):
    out = tmp_path / "runs.jsonl"
    for one in (line(3, 0, 0.9), line(3, 0, 0.4), line(3, 1, 0.6), line(0, 0, 0.02)):
        append_line(out, one)
    shown = tables(quality.finished(out)).splitlines()
    assert "GPU, 40 s" in shown[0]
    assert shown[-2:] == [
        "| 0 | row 0 | 0.020 | 0.010 | 256 | 900 | 230,400 | 39.0 | 1 |",
        "| 3 | row 3 | 0.500 ± 1.271 | 0.250 | 256 | 900 | 230,400 | 39.5 | 2 |",
    ]


def test_machines_and_budgets_are_not_mixed():
    text = tables([line(0, 0, 0.1), line(0, 1, 0.2, device="other"), line(0, 2, 0.3, budget=20.0)])
    assert text.count("| 0 | row 0 |") == 3
    assert text.count("seconds | seeds") == 3


def test_nothing_finished_is_an_empty_table(tmp_path):
    assert tables(quality.finished(tmp_path / "none.jsonl")) == ""


def test_without_rows_the_table_is_all(tmp_path, monkeypatch, capsys):
    append_line(tmp_path / "runs.jsonl", line(1, 0, 0.25))
    monkeypatch.setenv("CFT_QUALITY_ROWS", "")
    quality.main(None)
    assert "not run" in capsys.readouterr().out
    monkeypatch.setenv("CFT_QUALITY_OUT", str(tmp_path / "runs.jsonl"))
    quality.main(None)
    assert "| 1 | row 1 | 0.250 |" in capsys.readouterr().out


def test_without_hard_negatives_the_other_positives_are_the_candidates(tmp_path):
    tiny_store(tmp_path / "store")
    batch = collate(quality.WithoutHardNegatives(tmp_path / "store"), np.arange(6), 0)
    assert batch.negative_BK.shape == (6, 0)
    vector_UD = normalize(torch.randn(batch.packed.texts, 8), dim=1)
    loss = contrastive_loss(vector_UD, batch, 0.05, mask_false_negatives=False).loss
    cosine_BB = vector_UD[batch.anchor_B] @ vector_UD[batch.positive_B].T
    torch.testing.assert_close(loss, cross_entropy(cosine_BB / 0.05, torch.arange(6)))


def test_the_peer_reads_the_same_tokens(tmp_path):
    store = tiny_store(tmp_path / "store", ways=2)
    batch = Columns(store, pad_id=99)([{"row": 3}, {"row": 0}])
    anchor_B, _, negative_BK = store.triplet_ids(np.array([3, 0]))
    for name, ids_B in (("anchor", anchor_B), ("negative_1", negative_BK[:, 1])):
        keep_BL = batch[f"{name}_attention_mask"].bool()
        ids_BL = batch[f"{name}_input_ids"]
        flat_T, length_B = store.batch_tokens(ids_B)
        assert ids_BL[keep_BL].tolist() == flat_T.tolist()
        assert keep_BL.sum(dim=1).tolist() == length_B.tolist()
        assert (ids_BL[~keep_BL] == 99).all()
        assert ids_BL.shape[1] == length_B.max()
    assert [name for name in batch if name.endswith("ids")] == [
        f"{name}_input_ids" for name in ("anchor", "positive", "negative_0", "negative_1")
    ]


def test_it_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("CFT_ITIHASA", raising=False)
    quality.main(None)
    assert "not run: give a pre-trained" in capsys.readouterr().out
    quality.main(tmp_path)
    assert "not run: CFT_ITIHASA" in capsys.readouterr().out
    monkeypatch.setenv("CFT_ITIHASA", str(tmp_path))
    (tmp_path / "train.sn").touch()
    quality.main(tmp_path)
    assert "missing: train.en, dev.sn, dev.en" in capsys.readouterr().out
