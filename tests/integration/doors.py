"""Requests as a page of another site, or somebody who tries names, would send them."""

import http.client
import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

FOREIGN = "http://elsewhere.example"
JSON = {"Content-Type": "application/json"}
ARTIFACTS = tuple(
    f"/{api}/2.0/mlflow-artifacts/artifacts" for api in ("api", "ajax-api")
)  # the UI's way as well


def names_leading_to(target: Path, root: Path) -> list[str]:
    """Ways to name a file outside of an artifact root, as a request spells them.

    Backslashes are a part of a name here, so these lead nowhere and must not lead anywhere.
    """
    up = os.path.relpath(target, root)
    return [
        up,
        f"a/../{up}",
        up.replace("..", "%2e%2e"),
        up.replace("..", "%252e%252e"),
        up.replace("/", "%2f"),
        up.replace("/", "%252f"),
        up.replace("/", "\\"),
        up.replace("/", "%5c"),
        str(target),
        str(target).replace("/", "%2f"),
        f"file://{target}",
        f"{up}%00",
    ]


def ask(
    address: str,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of the answer to a request whose path is sent as it is spelt."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        connection.request(method, path, data, dict(headers or {}))
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, answer.read(), told
    finally:
        connection.close()
