"""A mining job with an encoder that was killed goes on where it stopped."""

import subprocess
import sys

import pytest

from tests import mining
from tests.tiny import save_backbone

pytestmark = pytest.mark.integration


def test_killed_and_started_again_gives_the_bytes_of_an_undisturbed_job(tmp_path):
    flags = [
        "--input", str(mining.write_triplets(tmp_path / "triplets.jsonl", mining.rows(600))),
        "--backbone", str(save_backbone(tmp_path / "backbone")), "--device", "cpu",
        "--num-negatives", "2", "--margin", "0.0005", "--shard-size", "4",
    ]  # fmt: skip
    calm = tmp_path / "calm"
    line = [sys.executable, "-m", "cft.cli", "data", "mine", *flags]
    subprocess.run([*line, "--output", str(calm / "mined.jsonl")], check=True, capture_output=True)
    mining.killed_and_resumed(flags, tmp_path / "killed" / "mined.jsonl", calm)
