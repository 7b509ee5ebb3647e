"""What every test shares: where optional real data lies, and the ban on skips in CI."""

import os
from pathlib import Path

import pytest

# Before torch is imported: threads that spin while they wait would take the cores from the
# processes that the tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


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
