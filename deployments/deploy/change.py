"""What became of one thing on the server."""

from dataclasses import dataclass
from typing import Final, Literal

CREATED: Final = "created"
UPDATED: Final = "updated"
UNCHANGED: Final = "unchanged"
SKIPPED: Final = "skipped"
What = Literal["created", "updated", "unchanged", "skipped"]


@dataclass(frozen=True)
class Change:
    """A thing on the server, and whether it was there already.

    Attributes:
        kind: such as ``work pool``.
        name: of the thing.
        what: whether it was made, changed, found as it should be, or called off.
        id: of the thing on the server.
    """

    kind: str
    name: str
    what: What
    id: str
