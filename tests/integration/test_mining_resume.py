"""A mining job with an encoder that was killed goes on where it stopped."""

import pytest

from cft.mining.dense import DenseEngine
from cft.mining.mine import mine
from cft.mining.pairs import read_pairs
from cft.mining.settings import MiningSettings
from tests import mining
from tests.tiny import save_backbone

pytestmark = pytest.mark.integration


def test_killed_and_started_again_gives_the_bytes_of_an_undisturbed_job(tmp_path):
    backbone = save_backbone(tmp_path / "backbone")
    given = mining.write_triplets(tmp_path / "triplets.jsonl", mining.rows(600))
    settings = MiningSettings(num_negatives=2, margin=0.0005, shard_size=4)
    mine(
        read_pairs(given),
        DenseEngine(backbone, device="cpu"),
        settings,
        tmp_path / "calm" / "mined.jsonl",
    )
    flags = [
        "--input", str(given), "--backbone", str(backbone), "--device", "cpu",
        "--num-negatives", "2", "--margin", "0.0005", "--shard-size", "4",
    ]  # fmt: skip
    mining.killed_and_resumed(flags, tmp_path / "killed" / "mined.jsonl", tmp_path / "calm")
