"""Which flow runs are at work: those of the stack's workers, and those that only use its server."""

import contextlib
from collections.abc import Mapping
from typing import Any

import httpx
import psutil

from deployments.stack.services import API_VARIABLE, AUTH

ANSWER_SECONDS = 10.0
_CLIENT = "cft"


def runs_at_server(record: Mapping[str, Any]) -> set[str]:
    """Ids of the flow runs that the stack's server calls running, whoever has started them.

    Args:
        record: as the supervisor writes it. A server that does not answer has told of none.
    """
    url = record.get("clients", {}).get(API_VARIABLE)
    if not url or record["state"] != "ready":
        return set()
    user, _, word = _password(record).partition(":")
    # As the stack's clients do: no proxy reaches it.
    with (
        contextlib.suppress(httpx.HTTPError, ValueError, KeyError, TypeError),
        httpx.Client(
            auth=(user, word) if user else None,
            timeout=ANSWER_SECONDS,
            trust_env=False,
        ) as client,
    ):
        answer = client.get(f"{url}/csrf-token", params={"client": _CLIENT}).raise_for_status()
        headers = {
            "Prefect-Csrf-Token": answer.json()["token"],
            "Prefect-Csrf-Client": _CLIENT,
        }
        wanted = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
        found = client.post(f"{url}/flow_runs/filter", json=wanted, headers=headers)
        return {str(one["id"]) for one in found.raise_for_status().json()}
    return set()


def _password(record: Mapping[str, Any]) -> str:
    """What the server asks for: this shell may not have what the supervisor was started with."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(int(record["pid"])).environ().get(AUTH, "")
    return ""
