"""What every unit test starts from: nothing that a flow has left in the environment."""

import pytest

OF_A_FLOW = (
    "CFT_HOME",
    "CFT_MLFLOW_UI_URL",
    "CFT_NTFY_STARTED",
    "CFT_NTFY_TOKEN",
    "CFT_NTFY_TOPIC",
    "CFT_NTFY_URL",
    "MLFLOW_TRACKING_URI",
)


@pytest.fixture(autouse=True)
def no_flow_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the state folder and the tracking store of the integration tests' own session."""
    for name in OF_A_FLOW:
        monkeypatch.delenv(name, raising=False)
