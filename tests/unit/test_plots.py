"""Plots: read from events, drawn to whole PNG files, with the marks that a reader needs."""

import threading
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from PIL import Image

from cft.errors import CftError
from cft.evaluation import plots
from cft.evaluation.plots import (
    loss_curve,
    losses,
    similarity_heatmap,
    similarity_histograms,
    smoothed,
)
from cft.evaluation.result import Similarities

GENERATOR = np.random.default_rng(0)


def similarities(positive, negative, size=40):
    matrix = GENERATOR.normal(negative, 0.05, (size, size))
    np.fill_diagonal(matrix, positive)
    positives, negatives = (
        np.clip(GENERATOR.normal(mean, 0.05, size), -1, 1.0000001)  # as float32 rounding gives
        for mean, size in ((positive, 200), (negative, 2000))
    )
    return Similarities(positives, negatives, np.clip(matrix, -1, 1))


MODELS = {"base": similarities(0.9, 0.88), "stage 1": similarities(0.6, 0.05)}
STAGES = {
    "stage 1": [(step, 3 / step) for step in range(10, 310, 10)],
    "stage 2": [(step, 1 / step) for step in range(10, 110, 10)],
}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, so that a test can look at what they hold."""
    figures: list[Figure] = []
    save = plots.save_figure

    def keep(figure, path):
        figures.append(figure)
        return save(figure, path)

    monkeypatch.setattr(plots, "save_figure", keep)
    return figures


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_losses_come_from_metric_events_and_a_repeated_step_counts_last():
    events = [
        {"t": 1.0, "step": 20, "kind": "metric", "values": {"train/loss": 2.0}},
        {"t": 0.5, "step": 10, "kind": "metric", "values": {"train/loss": 3.0, "other": 1}},
        {"t": 2.0, "step": 20, "kind": "metric", "values": {"train/loss": 1.5}},
        {"t": 2.0, "step": 20, "kind": "metric", "values": {"train/grad_norm": 9.0}},
        {"t": 2.5, "step": 20, "kind": "note", "text": "saved"},
    ]
    assert losses(events) == [(10, 3.0), (20, 1.5)]
    assert losses(events, "train/grad_norm") == [(20, 9.0)]


@pytest.mark.parametrize("window", [1, 2, 5, 40])
def test_smoothing_equals_the_slow_average(window):
    values = GENERATOR.normal(size=23)
    reach = window // 2
    expected = [values[max(0, i - reach) : i + reach + 1].mean() for i in range(23)]
    np.testing.assert_allclose(smoothed(values, window), expected)
    np.testing.assert_allclose(smoothed(np.full(9, 2.5), window), 2.5)


def test_loss_curve_runs_on_over_the_stage_border(drawn, tmp_path: Path):
    path = loss_curve(STAGES, tmp_path / "deep" / "loss.png")
    assert pixels(path).std() > 5
    (axes,) = drawn[0].axes
    assert axes.get_xlabel() == "optimiser step"
    assert axes.get_ylabel() == "InfoNCE loss (nats)"
    raw_1, strong_1, raw_2, strong_2, border = axes.get_lines()
    np.testing.assert_array_equal(raw_1.get_xdata(), np.arange(10, 310, 10))
    np.testing.assert_array_equal(raw_2.get_xdata(), np.arange(310, 410, 10))
    assert raw_1.get_alpha() < 0.5 < (strong_1.get_alpha() or 1)
    assert raw_1.get_color() == strong_1.get_color() != strong_2.get_color()
    assert set(border.get_xdata()) == {300}
    assert [text.get_text() for text in axes.texts] == ["stage 2 starts"]


def test_one_point_and_one_stage_are_enough(tmp_path: Path):
    assert pixels(loss_curve({"stage 1": [(10, 2.0)], "stage 2": []}, tmp_path / "a.png")).std() > 1


def test_histograms_share_axes_and_add_up_to_all_pairs(drawn, tmp_path: Path):
    assert pixels(similarity_histograms(MODELS, tmp_path / "hist.png")).std() > 5
    left, right = drawn[0].axes
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()
    assert left.get_title(loc="left").startswith("base")
    hills = [one for one in left.patches if isinstance(one, StepPatch)]
    assert [one.get_data().values.sum() for one in hills] == pytest.approx([100] * 4)
    gap = MODELS["stage 1"].positives.mean() - MODELS["stage 1"].negatives.mean()
    assert f"mean gap {gap:+.3f}" in right.get_title(loc="left")


def test_heat_maps_share_one_scale_and_one_bar(drawn, tmp_path: Path):
    assert pixels(similarity_heatmap(MODELS, tmp_path / "heat.png")).std() > 5
    *panels, bar = drawn[0].axes
    assert len(panels) == 2
    assert bar.get_ylabel() == "cosine similarity"
    images = [axes.get_images()[0] for axes in panels]
    assert len({image.get_clim() for image in images}) == 1
    np.testing.assert_array_equal(images[1].get_array(), MODELS["stage 1"].matrix)
    assert "own translation nearest: 100%" in panels[1].get_title(loc="left")


def test_few_pairs_and_no_negatives_still_draw(tmp_path: Path):
    one = {"only": Similarities(np.array([0.5]), np.array([]), np.array([[0.5]]))}
    assert pixels(similarity_histograms(one, tmp_path / "hist.png")).std() > 1
    assert pixels(similarity_heatmap(one, tmp_path / "heat.png")).std() > 1


def test_nothing_to_draw_is_an_error_and_leaves_nothing(tmp_path: Path):
    with pytest.raises(CftError, match=r"loss\.png: no loss was logged; "):
        loss_curve({"stage 1": []}, tmp_path / "loss.png")
    for draw in (similarity_histograms, similarity_heatmap):
        with pytest.raises(CftError, match=r"x\.png: no cross-lingual pairs to draw; "):
            draw({}, tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_the_same_input_gives_the_same_file(tmp_path: Path):
    first = loss_curve(STAGES, tmp_path / "a.png").read_bytes()
    assert loss_curve(STAGES, tmp_path / "b.png").read_bytes() == first


def test_drawing_in_threads_leaves_the_settings_as_they_were(tmp_path: Path):
    before = dict(mpl.rcParams)
    threads = [
        threading.Thread(target=loss_curve, args=(STAGES, tmp_path / f"{one}.png"))
        for one in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(mpl.rcParams) == before
    assert len({(tmp_path / f"{one}.png").read_bytes() for one in range(3)}) == 1
