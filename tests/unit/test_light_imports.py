"""Who lists, deploys or plans flows waits for no torch: it comes when something is computed."""

import subprocess
import sys

from tests.conftest import ROOT

SLOW = ("torch", "transformers", "mteb", "sentence_transformers", "datasets")


def test_no_flow_task_or_verb_brings_torch_before_it_computes() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in ("flows", "tasks", "deployments")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not path.name.startswith("__")
    ]
    assert "flows.two_stage" in modules
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import importlib, sys\n"
            "for name in sys.argv[1:]:\n"
            "    importlib.import_module(name)\n"
            f"    found = [one for one in {SLOW} if one in sys.modules]\n"
            "    assert not found, f'{name} imports {found}'\n",
            *modules,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr[-2000:]
