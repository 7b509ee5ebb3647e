"""What the benchmark of training's limits computes from what a profiler saw."""

import pytest

from tests.benchmarks.training_limits import covered


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
