"""Whose a machine is, since when and until when: written on the machine itself.

The provider keeps no birth time and no owner, and a ledger can be lost with its disk. So the name
and the tags of a machine say enough to find and to judge it without any other record.
"""

import re
from dataclasses import dataclass

from tasks.machine.provider.protocol import Instance

OWNER_TAG = "cft-owner"
KEY_TAG = "cft-key"
BORN_TAG = "cft-born"
DEADLINE_TAG = "cft-deadline"

OWNER_PATTERN = r"[a-z0-9]{4,24}"
KEY_PATTERN = r"[a-f0-9]{12}"
# With an owner of 24 letters the name has 63: a provider's limit is 64.
_NAME = re.compile(rf"cft-({OWNER_PATTERN})-(\d{{1,10}})-(\d{{1,10}})-({KEY_PATTERN})")


@dataclass(frozen=True)
class Identity:
    """The mark of one machine."""

    owner: str  # of the ledger that launched it
    key: str  # of its entry there
    born: int  # seconds since the epoch, when its launch was asked for
    deadline: int  # seconds since the epoch, after which nobody may want it

    @property
    def name(self) -> str:
        """The machine's name."""
        return f"cft-{self.owner}-{self.born}-{self.deadline}-{self.key}"

    @property
    def tags(self) -> dict[str, str]:
        """The same as tags, which stay when somebody renames the machine."""
        return {
            OWNER_TAG: self.owner,
            KEY_TAG: self.key,
            BORN_TAG: str(self.born),
            DEADLINE_TAG: str(self.deadline),
        }


def identity_of(instance: Instance) -> Identity | None:
    """The mark of a machine, from its tags or else its name; None when it bears none.

    Where both are there and name different owners it is nobody's: such a machine is not touched.
    """
    by_tags, by_name = _from_tags(instance), _from_name(instance.name)
    if OWNER_TAG in instance.tags:
        if by_tags and by_name and by_tags.owner != by_name.owner:
            return None
        return by_tags
    return by_name


def belongs(instance: Instance, owner: str, key: str) -> bool:
    """Whether a machine was launched for one entry of one ledger."""
    mark = identity_of(instance)
    return mark is not None and (mark.owner, mark.key) == (owner, key)


def _from_name(name: str) -> Identity | None:
    if not (match := _NAME.fullmatch(name)):
        return None
    owner, born, deadline, key = match.groups()
    return Identity(owner, key, int(born), int(deadline))


def _from_tags(instance: Instance) -> Identity | None:
    tags = instance.tags
    try:
        owner, key = tags[OWNER_TAG], tags[KEY_TAG]
        born, deadline = int(tags[BORN_TAG]), int(tags[DEADLINE_TAG])
    except (KeyError, ValueError):
        return None
    if not re.fullmatch(OWNER_PATTERN, owner) or not re.fullmatch(KEY_PATTERN, key):
        return None
    return Identity(owner, key, born, deadline)
