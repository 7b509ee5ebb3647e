"""The state folder and the environment of a flow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cft.home import Home
from flows.environment import environment_of, prepare_environment


def test_the_default_is_under_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    for value in (None, ""):
        monkeypatch.delenv("CFT_HOME", raising=False)
        if value is not None:
            monkeypatch.setenv("CFT_HOME", value)
        assert Home.from_environment().path == Path("/somewhere/.cft")


def test_a_relative_home_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CFT_HOME", "state")
    home = Home.from_environment()
    assert home.path == tmp_path / "state"
    assert home.tracking_uri == f"sqlite:///{tmp_path}/state/mlflow/mlflow.db"
    assert not home.path.exists(), "asking for a path creates nothing"


def test_the_users_tracking_server_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert Home(tmp_path).tracks_locally
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert Home(tmp_path).tracking_uri == "http://127.0.0.1:5000"
    assert not Home(tmp_path).tracks_locally


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = Home(tmp_path / "state")
    for name in environment_of(home):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", "/mine")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    prepare_environment(home)
    assert os.environ["PREFECT_HOME"] == "/mine"
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert os.environ["CFT_HOME"] == str(home.path)
    assert os.environ["MLFLOW_TRACKING_URI"] == home.local_tracking_uri


def test_prefect_takes_every_setting(tmp_path: Path) -> None:
    """A misspelt variable would be ignored in silence; ask Prefect what it understood."""
    code = """
import sys
from pathlib import Path
from cft.home import Home
from flows.environment import prepare_environment
assert "prefect" not in sys.modules and "mlflow" not in sys.modules
prepare_environment(Home(Path(sys.argv[1])))
import logging
from prefect.settings import get_current_settings
import prefect.main
settings = get_current_settings()
print(settings.home)
print(settings.results.local_storage_path)
print(settings.server.ephemeral.enabled, settings.server.ephemeral.startup_timeout_seconds)
print(settings.server.analytics_enabled, settings.logging.to_api.when_missing_flow)
print(*[logging.getLogger(f"prefect{name}").getEffectiveLevel()
        for name in ("", ".client", ".flow_runs", ".task_runs")])
print(*{type(handler).__name__ for handler in logging.getLogger().handlers})
"""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "MLFLOW_", "CFT_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines() == [
        str(tmp_path / "prefect"),
        str(tmp_path / "prefect" / "results"),
        "True 120",
        "False ignore",
        "30 30 20 20",
        "OneLineConsole",
    ]
