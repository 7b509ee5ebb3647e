"""What every test shares: where optional real data lies, and the ban on skips in CI."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A machine with other work is slow, and no test is about that.
settings.register_profile("cft", deadline=None)
settings.load_profile("cft")

# Before torch is imported: threads that spin while they wait would take the cores from the
# processes that the tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Before anything imports Triton: where no GPU is, its kernels run in its interpreter.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

ROOT = Path(__file__).resolve().parents[1]

# Minutes each: begun last, they would keep one process busy when the others have nothing left.
LONG = (
    "test_readme.py",
    "test_flow_killed.py",
    "test_team_stack.py",
    "test_uis.py",
    "test_stack.py",
    "test_flow_failures.py",
    "test_flow_registry.py",
    "test_flow_machines.py",
    "test_deploy.py",
)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, each whole and in its own order."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Under CFT_FORBID_SKIPS a skipped test is a failed one: CI may leave nothing out."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CFT_FORBID_SKIPS"):
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid}: skipped, but this machine forbids skips: {report.longrepr}"
        )
