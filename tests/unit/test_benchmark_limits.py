"""What the benchmark of training's limits computes from what a profiler saw."""

import pytest

from tests.benchmarks.training_limits import Work, covered, shares


@pytest.mark.parametrize(
    ("spans", "length"),
    [
        ([], 0.0),
        ([(1.0, 3.0)], 2.0),
        ([(1.0, 3.0), (5.0, 6.0)], 3.0),
        ([(5.0, 6.0), (1.0, 3.0), (2.0, 4.0)], 4.0),
        ([(0.0, 10.0), (2.0, 3.0), (9.0, 11.0)], 11.0),
    ],
)
def test_streams_that_work_at_once_count_once(spans, length) -> None:
    assert covered(spans) == length


def test_the_kernels_that_take_longest_come_first() -> None:
    done = [Work("a", 0, 1), Work("b", 1, 3), Work("a", 3, 8), Work("c", 8, 10)]
    assert shares(done, most=2) == [("a", 0.6), ("b", 0.2)]
    assert shares([]) == []
