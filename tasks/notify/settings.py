"""Where pushes go: from the environment, or from a block on the Prefect server.

The topic of an ntfy server is a password and the token is one as well: neither is shown by a
``repr``, a log line or an error.
"""

import os
import re
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from cft.errors import CftError, one_line
from tasks.notify.bounded import within

BLOCK_TYPE = "cft-ntfy"
DOCUMENT = "default"
PUBLIC_SERVER = "https://ntfy.sh"
URL, TOPIC, TOKEN = "CFT_NTFY_URL", "CFT_NTFY_TOPIC", "CFT_NTFY_TOKEN"
STARTED = "CFT_NTFY_STARTED"
HOW = f"set {TOPIC}, or save a block {BLOCK_TYPE} named {DOCUMENT}"
SECONDS = 4.0  # for the block; a server that answers needs some hundredths

_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,64}")


class SettingsUnknownError(Exception):
    """The server that may hold the block does not answer, so nobody knows yet."""


@dataclass(frozen=True)
class NtfySettings:
    """A topic on a server.

    Attributes:
        server: ``https://host`` or ``http://host:port``.
        topic: name of the topic.
        token: access token, where the server asks for one.
        started: whether the start of a run is pushed as well.
    """

    server: str
    topic: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    started: bool = False

    def redacted(self, text: str) -> str:
        """``text`` without the topic and the token."""
        for secret in (self.token, self.topic):
            text = text.replace(secret, "[hidden]") if secret else text
        return text


def checked(
    source: str, server: str, topic: str, token: str | None, started: bool = False
) -> NtfySettings:
    """Settings that can be used.

    Args:
        source: where they come from, for the error.

    Raises:
        CftError: one of them cannot be used. No value is shown.
    """
    try:
        parts = urlsplit(server.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:  # a port that is no number
        usable = False
    if not usable or parts.username or parts.path.strip("/") or parts.query:
        raise CftError(
            f"{source}: the server is no plain http(s)://host[:port]; "
            "topic and token are settings of their own"
        )
    if not _TOPIC.fullmatch(topic.strip()):
        raise CftError(f"{source}: a topic is 1 to 64 letters, digits, '-' and '_'; {HOW}")
    token = (token or "").strip() or None
    if token and not (token.isascii() and token.isprintable()):
        raise CftError(f"{source}: the token holds characters that no token has; copy it anew")
    return NtfySettings(f"{parts.scheme}://{parts.netloc}", topic.strip(), token, started)


def find_settings(seconds: float = SECONDS) -> NtfySettings | None:
    """Settings from the environment, else from the block; None where there are neither.

    Raises:
        CftError: they are there and cannot be used.
        SettingsUnknownError: the server does not answer.
    """
    found = from_environment() or from_block(seconds)
    if found is not None and started_by_environment():
        found = replace(found, started=True)
    return found


def from_environment() -> NtfySettings | None:
    """Settings of ``CFT_NTFY_TOPIC``, ``CFT_NTFY_URL`` and ``CFT_NTFY_TOKEN``, if any is set.

    Raises:
        CftError: a server without a topic, or one that cannot be used.
    """
    topic, server = os.environ.get(TOPIC, ""), os.environ.get(URL, "")
    if not topic and not server:
        return None
    return checked("environment", server or PUBLIC_SERVER, topic, os.environ.get(TOKEN))


def started_by_environment() -> bool:
    """Whether ``CFT_NTFY_STARTED`` asks for a push when a run starts."""
    return os.environ.get(STARTED, "").lower() in ("1", "true", "yes", "on")


def from_block(seconds: float = SECONDS) -> NtfySettings | None:
    """Settings of the block document ``cft-ntfy/default``, if it exists.

    Raises:
        CftError: it cannot be used.
        SettingsUnknownError: the server does not answer.
    """
    try:
        data = within(seconds, _block_data)
    except ObjectNotFound:
        return None
    except Exception as error:  # httpx, Prefect and the operating system all have their own
        raise SettingsUnknownError(f"block {BLOCK_TYPE}/{DOCUMENT}: {one_line(error)}") from None
    return checked(
        f"block {BLOCK_TYPE}/{DOCUMENT}",
        str(data.get("server") or PUBLIC_SERVER),
        str(data.get("topic") or ""),
        data.get("token"),
        bool(data.get("started")),
    )


def _block_data() -> dict[str, Any]:
    # Settings of its own make it a client of its own: that of a flow must not wait for this one.
    with get_client(sync_client=True, httpx_settings={"timeout": SECONDS}) as client:
        document = client.read_block_document_by_name(DOCUMENT, BLOCK_TYPE, include_secrets=True)
    return dict(document.data)
