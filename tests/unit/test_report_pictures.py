"""The pictures of a report hold the numbers that they are drawn from."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from PIL import Image

from cft.errors import CftError
from cft.evaluation.figures import Figure as Value
from cft.evaluation.report import pictures


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, so that a test can look at what they hold."""
    figures = []
    save = pictures.save_figure

    def keep(figure, path):
        figures.append(figure)
        return save(figure, path)

    monkeypatch.setattr(pictures, "save_figure", keep)
    return figures


def is_picture(path) -> bool:
    with Image.open(path) as image:
        image.load()
        return image.format == "PNG" and np.asarray(image.convert("L")).std() > 1


def test_rank_bars_add_up_to_all_queries(drawn, tmp_path):
    ranks = {
        "base": {"there": np.array([1.0, 1.5, 2, 3, 7, 60]), "back": np.full(6, 1.0)},
        "tuned": {"there": np.array([1.0, 1, 1, 1, 2, 4]), "back": np.full(6, 5.0)},
    }
    assert is_picture(pictures.rank_histograms(ranks, tmp_path / "ranks.png"))
    left, right = drawn[0].axes
    assert [text.get_text() for text in left.get_xticklabels()] == [
        *("1", "2–3", "4–5", "6–10", "11–20", "21–50", "51–100")
    ]
    heights = [[bar.get_height() for bar in bars] for bars in left.containers]
    # The mean rank 1.5 is a tie for the first place, and no sure success.
    assert heights[0] == pytest.approx([100 / 6, 50, 0, 100 / 6, 0, 0, 100 / 6])
    assert heights[1] == pytest.approx([100, 0, 0, 0, 0, 0, 0])
    for axes in (left, right):
        for bars in axes.containers:
            assert sum(bar.get_height() for bar in bars) == pytest.approx(100)


def test_the_map_has_a_point_for_every_text_and_a_line_for_every_link(drawn, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(6, 4))
    groups, marks = ["a", "a", "b", "b", "a", "b"], ["sa", "en", "sa", "en", "sa", "sa"]
    links = [(0, 1), (2, 3)]
    path = pictures.embedding_map({"m": vectors}, groups, marks, tmp_path / "map.png", links)
    assert is_picture(path)
    (axes,) = drawn[0].axes
    clouds = [one for one in axes.collections if isinstance(one, PathCollection)]
    points = {one.get_label(): one.get_offsets() for one in clouds}
    assert {name: len(found) for name, found in points.items()} == {
        **{"a, sa": 2, "a, en": 1},
        **{"b, sa": 2, "b, en": 1},
    }
    (joined,) = [one for one in axes.collections if isinstance(one, LineCollection)]
    lines = joined.get_segments()
    assert len(lines) == len(links)
    np.testing.assert_allclose(lines[0], [points["a, sa"][0], points["a, en"][0]])
    with pytest.raises(CftError, match=r"map\.png: m has 6 vectors, 5 groups and 6 marks; give"):
        pictures.embedding_map({"m": vectors}, groups[:5], marks, path)


def test_length_groups_hold_equal_numbers_of_queries(drawn, tmp_path):
    lengths = np.array([9, 1, 5, 3, 7, 2, 4, 6, 8, 10])
    scores = {"m": lengths / 10}
    assert is_picture(pictures.length_effect(lengths, scores, tmp_path / "lengths.png"))
    line = drawn[0].axes[0].get_lines()[0].get_xydata()
    np.testing.assert_allclose(line[:, 0], [1.5, 3.5, 5.5, 7.5, 9.5])
    np.testing.assert_allclose(line[:, 1], line[:, 0] / 10)


def test_graded_pairs_show_the_mean_of_every_score(drawn, tmp_path):
    score_S, cosine_S = np.array([0, 0, 1, 2.5]), np.array([0.1, 0.3, 0.4, 0.9])
    assert is_picture(pictures.score_scatter(score_S, {"m": cosine_S}, tmp_path / "sts.png"))
    line = drawn[0].axes[0].get_lines()[0].get_xydata()
    np.testing.assert_allclose(line, [[0, 0.2], [1, 0.4], [2.5, 0.9]])
    points = drawn[0].axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 1], cosine_S)
    assert np.abs(points[:, 0] - score_S).max() < 0.2


def test_intervals_are_drawn_where_a_model_has_the_metric(drawn, tmp_path):
    figures = {
        "base": {"mean/mrr": Value(value=0.2, low=0.1, high=0.3)},
        "tuned": {
            "mean/mrr": Value(value=0.5, low=0.4, high=0.6),
            "sts/spearman": Value(value=0, low=-0.1, high=0.1),
        },
    }
    labels = {"mean/mrr": "MRR", "sts/spearman": "Spearman", "auc": "AUC"}
    assert is_picture(pictures.interval_plot(figures, labels, tmp_path / "intervals.png"))
    left, right = drawn[0].axes
    assert [left.get_title(loc="left"), right.get_title(loc="left")] == ["MRR", "Spearman"]
    assert [line.get_xdata()[:].tolist() for line in map(_listed, left.get_lines())] == [
        *([0.1, 0.3], [0.2], [0.4, 0.6], [0.5])
    ]
    assert len(right.get_lines()) == 2


def _listed(line):
    line.set_xdata(np.asarray(line.get_xdata()))
    return line


def test_nothing_to_draw_is_an_error_and_leaves_nothing(tmp_path):
    path, empty = tmp_path / "x.png", {"m": np.array([])}
    with pytest.raises(CftError, match=r"x\.png: no ranks to draw; "):
        pictures.rank_histograms({"m": {}}, path)
    with pytest.raises(CftError, match=r"x\.png: no texts to draw; "):
        pictures.embedding_map({}, [], [], path)
    with pytest.raises(CftError, match=r"x\.png: no scores to draw; "):
        pictures.length_effect(np.array([]), empty, path)
    with pytest.raises(CftError, match=r"x\.png: no graded pairs to draw; "):
        pictures.score_scatter(np.array([]), empty, path)
    with pytest.raises(CftError, match=r"x\.png: no figures to draw; "):
        pictures.interval_plot({"m": {}}, {"mean/mrr": "MRR"}, path)
    assert list(tmp_path.iterdir()) == []
