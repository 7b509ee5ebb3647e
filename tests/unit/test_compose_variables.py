"""compose.yaml with other ports, addresses and names than its own."""

import json
import re
from urllib.parse import urlsplit

import pytest
from mlflow.server.security_utils import is_allowed_host_header

from tests.compose import document, interpolated

SET = {"CFT_SECRETS_GID": "1000"}


def test_variables_are_put_in_as_compose_does() -> None:
    assert interpolated("${A:-b}/${B}:$$x", {"B": "c"}) == "b/c:$x"
    assert interpolated("${A:-b}", {"A": ""}) == "b"
    nested = "${A:-x:${B:-1}}/${C:-2}"
    assert interpolated(nested, {}) == "x:1/2"
    assert interpolated(nested, {"B": "3"}) == "x:3/2"
    assert interpolated(nested, {"A": "y", "B": "3"}) == "y/2"


def test_a_port_that_is_changed_is_changed_wherever_it_stands() -> None:
    moved = SET | {"CFT_PREFECT_PORT": "4300", "CFT_MLFLOW_PORT": "5001"}
    text = json.dumps(document(moved)["services"])
    for port, host in (("4200", "prefect-server"), ("5000", "mlflow")):
        assert not re.search(rf"http://127\.0\.0\.1:{port}(?!/(api/)?health)", text)
        assert f"{host}:{port}" in text, "inside nothing moves"
    for address in ("4300/api", "4300", "5001"):
        assert f'http://127.0.0.1:{address}"' in text
    assert "--cors-allowed-origins=http://127.0.0.1:5001" in text
    named = json.dumps(document(moved | {"CFT_PREFECT_URL": "https://p.example"})["services"])
    assert '"https://p.example/api"' in named


@pytest.mark.parametrize("host", ["", "mlflow.example.com"])
def test_mlflow_is_called_by_names_that_it_allows(host: str) -> None:
    services = document(SET | {"CFT_MLFLOW_HOST": host, "CFT_MLFLOW_URL": f"https://{host}"})
    command = services["services"]["mlflow"]["command"]
    (option,) = [one for one in command if one.startswith("--allowed-hosts=")]
    allowed = option.partition("=")[2].split(",")
    called = urlsplit(
        document(SET)["services"]["deploy"]["environment"]["MLFLOW_TRACKING_URI"]
    ).netloc
    for name in (called, "127.0.0.1:5000", "localhost:5000", *([host] if host else [])):
        assert is_allowed_host_header(allowed, name), name
    for name in ("mlflow", "evil.example", "10.0.0.7:5000"):
        assert not is_allowed_host_header(allowed, name), name
    if host:
        assert f"--cors-allowed-origins=https://{host}" in command
