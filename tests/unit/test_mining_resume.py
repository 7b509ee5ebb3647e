"""A mining job that was killed goes on where it stopped; two at once do not mix."""

import pytest

from cft.errors import CftError
from cft.mining.dense import DenseEngine
from cft.mining.lexical import LexicalEngine
from cft.mining.mine import mine
from cft.mining.pairs import read_pairs
from cft.mining.settings import MiningSettings
from cft.mining.workshop import workshop
from tests import mining
from tests.tiny import save_backbone


def test_killed_and_started_again_gives_the_bytes_of_an_undisturbed_job(tmp_path):
    given = mining.write_triplets(tmp_path / "triplets.jsonl", mining.rows(600))
    settings = MiningSettings(method="bm25", num_negatives=2, shard_size=4)
    mine(read_pairs(given), LexicalEngine(), settings, tmp_path / "calm" / "mined.jsonl")
    flags = ["--method", "bm25", "--input", str(given), "--num_negatives", "2", "--shard_size", "4"]
    mining.killed_and_resumed(flags, tmp_path / "killed" / "mined.jsonl", tmp_path / "calm")


def test_parts_of_another_job_are_not_taken(tmp_path):
    output = tmp_path / "mined.jsonl"
    with pytest.raises(KeyboardInterrupt), workshop(output, "other") as shop:
        shop.arrays("found-0-0-4", lambda: {})
        raise KeyboardInterrupt
    assert len(list(tmp_path.glob(".mined.jsonl.other.partial/*"))) == 1
    settings = MiningSettings(method="bm25", num_negatives=1)
    mine(mining.rows(), LexicalEngine(), settings, output)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mined.jsonl", "mined.report.json"]


def test_one_writer_at_a_time_and_nothing_left_of_bad_input(tmp_path):
    output = tmp_path / "out" / "mined.jsonl"
    with (
        workshop(output, "one"),
        pytest.raises(CftError, match="another process is writing it"),
        workshop(output, "two"),
    ):
        pass
    settings = MiningSettings(num_negatives=2, margin=0.99)
    with pytest.raises(CftError, match="none of 60 rows"):
        mine(mining.rows(), DenseEngine(save_backbone(tmp_path / "backbone")), settings, output)
    assert list(output.parent.iterdir()) == []
