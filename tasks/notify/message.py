"""A push as plain data, within what ntfy takes as a message."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

MAX_ACTIONS = 3  # of one notification, by ntfy
TITLE_LENGTH = 180
ESCAPED_TITLE_BYTES = 1200
# ntfy makes a file of what is longer than 4096 bytes, Apprise of what is longer than 8000 bytes
# as escaped JSON, where one letter of Devanagari takes six.
BODY_BYTES = 3600
ESCAPED_BYTES = 6000

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_TAG = re.compile(r"[a-z0-9_+-]{1,60}", re.ASCII)


@dataclass(frozen=True)
class Action:
    """A button under the notification that opens a page."""

    label: str
    url: str


@dataclass(frozen=True)
class Push:
    """One notification.

    Attributes:
        title: one line.
        body: what is read on the phone; the rest belongs on the page that ``click`` opens.
        priority: 1 (silent) to 5 (insists).
        tags: names of emoji, or words.
        click: the page that opens on a tap.
        actions: at most three buttons.
    """

    title: str
    body: str
    priority: int = 3
    tags: tuple[str, ...] = ()
    click: str | None = None
    actions: tuple[Action, ...] = ()

    def fitted(self) -> "Push":
        """The same without control characters and cut to what arrives as one message."""
        title = " ".join(_readable(self.title).split())
        body = _readable(self.body).strip()
        return Push(
            title=_cut(title, _title_fits),
            body=_cut(body, _body_fits) or title,
            priority=min(5, max(1, self.priority)),
            tags=tuple(tag for tag in self.tags if _TAG.fullmatch(tag)),
            click=ascii_url(self.click) if self.click else None,
            actions=tuple(
                Action(one.label, ascii_url(one.url)) for one in self.actions[:MAX_ACTIONS]
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Push":
        """The push that :meth:`to_json` gave."""
        actions = tuple(Action(**one) for one in record["actions"])
        return cls(**record | {"tags": tuple(record["tags"]), "actions": actions})


def ascii_url(url: str) -> str:
    """A URL as headers carry it: other letters and spaces percent-encoded, escapes as they are."""
    return quote(url, safe="%:/?#[]@!$&'()*+,;=~")


def _readable(text: str) -> str:
    """Text from logs without colours, control characters and halves of surrogate pairs."""
    plain = _CONTROL.sub("", _COLOUR.sub("", text.replace("\r\n", "\n")))
    return plain.encode("utf-8", "replace").decode("utf-8")


def _title_fits(text: str) -> bool:
    return len(text) <= TITLE_LENGTH and len(json.dumps(text)) <= ESCAPED_TITLE_BYTES


def _body_fits(text: str) -> bool:
    return len(text.encode()) <= BODY_BYTES and len(json.dumps(text)) <= ESCAPED_BYTES


def _cut(text: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning of ``text`` that fits, with an ellipsis where something is missing."""
    if fits(text):
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(text[:middle] + "…") else (low, middle - 1)
    return text[:low].rstrip() + "…"
