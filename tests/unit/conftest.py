"""What every unit test starts from: nothing that a flow has left in the environment."""

import pytest

OF_A_FLOW = ("CFT_HOME", "MLFLOW_TRACKING_URI")


@pytest.fixture(autouse=True)
def no_flow_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the state folder and the tracking store of the integration tests' own session."""
    for name in OF_A_FLOW:
        monkeypatch.delenv(name, raising=False)
