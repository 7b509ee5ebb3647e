"""SIGKILL at any moment of a data job leaves the whole dataset or none, and nothing in the way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import save_backbone

pytestmark = pytest.mark.integration

# Forks a process for every moment: the imports, which take most of the time, are made once.
# The moments are counted in calls of functions, Python's and C's, so that they fall anywhere
# between the first check of the arguments and the last rename.
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from transformers import AutoConfig, AutoTokenizer
from transformers.models.llama import configuration_llama, tokenization_llama
from cft.files import digest_folder
from cft.recipe import DataRecipe, ModelRecipe
from cft.triplets import prepare as preparing, store_files
from cft.triplets.preprocess import preprocess
from cft.triplets.store import TokenStore

here, job, moments = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
target = here / "out" / "made"
store_files.BUDGET = 3000  # texts go to disk, and their ranges are cut again

data = DataRecipe(num_rows=300, eval_pairs=20)
corpora = preparing.load_corpora(data)  # read once: it writes nothing
preparing.load_corpora = lambda recipe: corpora

def work():
    if job == "preprocess":
        recipe = ModelRecipe(backbone=str(here / "backbone"), max_length=40, query_prompt="q: ")
        preprocess(here / "t.csv", target, recipe)
    else:
        preparing.prepare(data, target)

def in_child(action):
    sys.stdout.flush()
    if pid := os.fork():
        return os.waitpid(pid, 0)[1]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # progress bars
    try:
        action()
    except BaseException as error:
        print(repr(error))
        os._exit(1)
    os._exit(0)

def counted(last):
    calls = 0
    def count(frame, event, argument):
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1
            if calls == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(count)
    work()
    sys.setprofile(None)
    (here / "calls").write_text(str(calls))

def made():
    return digest_folder(target) if target.exists() else None

assert in_child(lambda: counted(None)) == 0
whole, calls = made(), int((here / "calls").read_text())
ends = [calls - back for back in (5, 30, 60, 90, 150, 250)]
results = []
for last in sorted({*range(calls // moments, calls, calls // moments), *ends}):
    os.system(f"rm -rf '{target.parent}'")
    status = in_child(lambda: counted(last))
    found = made()
    left = sorted(os.listdir(target.parent)) if target.parent.exists() else []
    again = in_child(work)
    results.append({
        "last": last, "status": status, "found": found, "left": left, "again": again,
        "now": made(), "beside": sorted(os.listdir(target.parent)),
    })
print(json.dumps({"whole": whole, "calls": calls, "results": results}))
"""


@pytest.mark.parametrize(("job", "moments"), [("preprocess", 12), ("prepare", 6)])
def test_killed_at_any_moment(tmp_path: Path, job: str, moments: int):
    save_backbone(tmp_path / "backbone")
    rows = [f"anchor {n % 70},positive {n},negative {n % 37}" for n in range(150)]
    (tmp_path / "t.csv").write_text("\n".join(["sent0,sent1,hard_neg", *rows]))
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), job, str(moments)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = json.loads(ended.stdout.splitlines()[-1])
    killed = [one for one in said["results"] if one["status"] == 9]
    assert len(killed) >= moments
    for one in said["results"]:  # where the calls were fewer than counted before, it ended well
        assert one["status"] in (0, 9), one
        assert one["found"] in (None, said["whole"]), one
        assert one["again"] == 0, one
        assert one["now"] == said["whole"], one
        assert one["beside"] == ["made"], one
    assert any(one["left"] not in ([], ["made"]) for one in killed), "none was killed half-way"
    assert any(one["found"] is None for one in killed)
