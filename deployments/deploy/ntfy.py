"""Pushes: the block that flows read, and the webhook that the server's automations push by.

The server has no class of ours, so automations use Prefect's own webhook block. It publishes the
JSON of ntfy; topic and token are secrets of the block, put in only when it is sent.
"""

import os
from typing import Any

from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient

from deployments.deploy.blocks import DOCUMENT, ensure_block, stored
from deployments.deploy.change import Change
from tasks.notify.block import NtfyBlock
from tasks.notify.settings import PUBLIC_SERVER, TOKEN, TOPIC, URL, checked

WEBHOOK = "cft-ntfy"
DIED = {"priority": 5, "tags": ["skull"]}


def ensure_ntfy(client: SyncPrefectClient) -> list[Change]:
    """The block, from the environment or as it is, and the webhook that follows it.

    Returns:
        What became of them; nothing where no topic is known.

    Raises:
        CftError: server, topic or token cannot be used.
    """
    given = {field: os.environ.get(name) or None for field, name in _VARIABLES.items()}
    before = stored(client, NtfyBlock, DOCUMENT)
    fields = {"server": PUBLIC_SERVER} | before | {k: v for k, v in given.items() if v}
    if not fields.get("topic"):
        return []
    checked("cft deploy", fields["server"], fields["topic"], fields.get("token"))
    return [
        ensure_block(client, NtfyBlock, DOCUMENT, given, {"server": PUBLIC_SERVER}),
        ensure_block(client, CustomWebhookNotificationBlock, WEBHOOK, webhook(fields), {}),
    ]


_VARIABLES = {"server": URL, "topic": TOPIC, "token": TOKEN}


def webhook(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of the webhook block that publishes to the topic of an ntfy block's fields."""
    secrets = {"topic": fields["topic"]}
    headers: dict[str, str] = {}
    if fields.get("token"):
        secrets["token"] = fields["token"]
        headers["Authorization"] = "Bearer {{token}}"
    return {
        "name": WEBHOOK,
        "url": fields["server"].rstrip("/"),
        "method": "POST",
        "json_data": {"topic": "{{topic}}", "title": "{{subject}}", "message": "{{body}}"} | DIED,
        "headers": headers,
        "secrets": secrets,
    }
