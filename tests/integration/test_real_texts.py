"""The flow on real verses with a real pre-trained backbone, where both lie beside the project."""

import os
import sys
from pathlib import Path

import pytest

from cft.home import Home
from tests.integration.command import run
from tests.integration.migrated import migrated
from tests.integration.pilot import finished_pilot

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
BACKBONE = SHARED / "models" / "mini-sa-en"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]


@pytest.mark.skipif(not BACKBONE.is_dir(), reason="the real corpora and backbone are not here")
def test_a_real_backbone_learns_from_two_thousand_real_verses(tmp_path: Path):
    # Few steps: a backbone of 19M parameters costs two cores two seconds a step.
    flags = (
        "--num-rows 2000 --triplet-types cross_lingual --max-length 48 "
        "--stage1-batch-size 16 --stage1-max-steps 36 --stage1-warmup-steps 10 "
        "--stage2-batch-size 8 --stage2-max-steps 4 --stage2-warmup-steps 1"
    )
    data = SHARED / "data"
    command = (
        f"{Path(sys.executable).parent}/cft pilot --itihasa {data / 'itihasa'} "
        f"--vbt {data / 'vbt' / 'vbt.json'} --backbone {BACKBONE} {flags}"
    )
    home = tmp_path / "home"
    migrated(Home(home).prefect)
    done = finished_pilot(run(command, tmp_path, os.environ | {"CFT_HOME": str(home)}), home)
    base, stage1 = done.figure("base", "mean/mrr"), done.figure("stage1", "mean/mrr")
    assert stage1.low > base.high
