"""The record of every machine that was ever asked for, one file each, durable before the asking.

An entry is replaced as a whole (written beside, flushed to the disk, renamed), so whoever reads it
after a crash sees the state before or after a step and never between. It is changed only under
the lock of its key, which the kernel lets go with the process that held it.
"""

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from cft.errors import CftError, problems_of
from cft.files import digest_json, write_atomic
from cft.home import Home
from cft.recipe.base import Settings
from tasks.machine.provider.caps import moment_of_cost
from tasks.machine.provider.errors import BusyError
from tasks.machine.provider.identity import KEY_PATTERN, OWNER_PATTERN, Identity

# Whoever asks whether an entry is held, holds it for a moment: that is no reason to give up.
LOCK_TRIES = 20
LOCK_PAUSE_SECONDS = 0.05

# Why an entry has no machine, where no refusal says so: later than this it may still show one.
NOT_FOUND = "not answered, and no machine was found"

State = Literal["intent", "launched", "ready", "releasing", "released"]
# "released" leads to "releasing" when a machine that was thought gone shows up.
_NEXT: dict[str, tuple[str, ...]] = {
    "intent": ("intent", "launched", "releasing", "released"),
    "launched": ("launched", "ready", "releasing"),
    "ready": ("ready", "releasing"),
    "releasing": ("releasing", "released"),
    "released": ("releasing",),
}


class Entry(Settings):
    """What is known of one machine. Times are seconds since the epoch."""

    key: str = Field(pattern=f"^{KEY_PATTERN}$", description="Names the entry and its machine.")
    owner: str = Field(pattern=f"^{OWNER_PATTERN}$", description="Of the ledger it began in.")
    state: State = Field(description="How far it has come.")
    job: str = Field("", description="Flow run or job that it serves; empty: a person's.")
    instance_type: str = Field(description="As the provider names it.")
    region: str = Field(description="Where it was asked for.")
    cents_per_hour: int = Field(ge=0, description="Price at the launch, in US cents.")
    max_cost: float = Field(gt=0, description="Cap of the whole rental, in US dollars.")
    born: int = Field(ge=0, description="When the launch was asked for.")
    deadline: int = Field(ge=0, description="When it must be released.")
    refused: str = Field("", description="Why the last launch gave no machine; else empty.")
    instance_id: str | None = Field(None, description="The provider's id, once it is known.")
    ip: str | None = Field(None, description="Its address, once it has one.")
    port: int = Field(22, ge=1, le=65535, description="Where its SSH server listens.")
    ready_at: float | None = Field(None, description="When it first did what was asked of it.")
    ended_at: float | None = Field(None, description="When the provider said that it is gone.")
    note: str = Field("", description="Why it is released.")

    @property
    def identity(self) -> Identity:
        """The mark that its machine bears."""
        return Identity(self.owner, self.key, self.born, self.deadline)

    @property
    def open(self) -> bool:
        """Whether there may be a machine that costs money."""
        return self.state != "released"

    @property
    def ends(self) -> float:
        """When it must be released: its deadline, or the moment its cost cap is spent."""
        return min(self.deadline, moment_of_cost(self.cents_per_hour, self.max_cost, self.born))


class Held:
    """An entry under its lock: the only way to change it."""

    def __init__(self, path: Path, entry: Entry | None) -> None:
        self._path = path
        self._entry = entry

    @property
    def key(self) -> str:
        """Of the entry, which may not be written yet."""
        return self._path.stem

    @property
    def written(self) -> bool:
        """Whether there is an entry yet."""
        return self._entry is not None

    @property
    def entry(self) -> Entry:
        """The entry as it stands on the disk."""
        if self._entry is None:
            raise LookupError(f"{self._path}: nothing was written yet")
        return self._entry

    def begin(self, entry: Entry) -> None:
        """Write the first state of an entry.

        Raises:
            ValueError: there is one, or it is another key's.
        """
        if self._entry is not None or entry.key != self._path.stem:
            raise ValueError(f"{self._path}: not the place of a new entry {entry.key}")
        self._write(entry)

    def change(self, **changes: Any) -> Entry:
        """Replace fields of the entry; it is on the disk when this returns.

        Raises:
            ValueError: no such step, say from ``ready`` back to ``intent``.
        """
        before = self.entry
        after = Entry.model_validate({**before.model_dump(), **changes})
        if after.state not in _NEXT[before.state]:
            raise ValueError(f"{self._path}: no step from {before.state} to {after.state}")
        self._write(after)
        return after

    def _write(self, entry: Entry) -> None:
        write_atomic(self._path, entry.model_dump_json(indent=2) + "\n")
        self._entry = entry


@dataclass(frozen=True)
class Entries:
    """All that a ledger holds."""

    readable: list[Entry]
    unreadable: dict[str, str]  # what is wrong, by key


class Ledger:
    """The entries under one folder.

    Args:
        folder: made by the first writer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def owner(self) -> str:
        """This ledger's own mark on machines, made once and kept beside the entries.

        It is random and not a user's name: two ledgers with one mark would each take the
        other's machines for forgotten ones.

        Raises:
            CftError: the file holds something else.
        """
        path = self.folder / "owner"
        with self._lock("owner"):
            if not path.exists():
                write_atomic(path, secrets.token_hex(6) + "\n")
            owner = path.read_text(encoding="utf-8").strip()
        if not re.fullmatch(OWNER_PATTERN, owner):
            raise CftError(
                f"{path}: not an owner's mark ({owner[:40]!r}); write there the one that the "
                "names of the running machines carry (cft-<owner>-...)"
            )
        return owner

    def read(self, key: str) -> Entry | None:
        """The entry of a key; None when there is none.

        Raises:
            CftError: its file is damaged or of another version.
        """
        path = self.folder / f"{key}.json"
        try:
            return Entry.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise CftError(
                f"{path}: not an entry of this version ({problems_of(error)}); mend it, or end "
                "its machine by hand and remove the file"
            ) from None

    def entries(self) -> Entries:
        """Every entry, oldest first, and what is wrong with those that cannot be read."""
        readable, unreadable = [], {}
        for path in self.folder.glob("*.json"):
            try:
                if (entry := self.read(path.stem)) is not None:
                    readable.append(entry)
            except CftError as error:
                unreadable[path.stem] = str(error)
        return Entries(sorted(readable, key=lambda one: (one.born, one.key)), unreadable)

    def of_job(self, job: str) -> list[Entry]:
        """Every entry of a job, oldest first.

        Raises:
            CftError: some entry cannot be read, and may be one of them.
        """
        found = self.entries()
        for problem in found.unreadable.values():
            raise CftError(problem)
        return [one for one in found.readable if one.job == job]

    @contextlib.contextmanager
    def hold(self, key: str | None = None) -> Iterator[Held]:
        """Keep everybody else off one entry while the block runs; without a key, off a new one.

        Raises:
            BusyError: somebody else has it.
            CftError: its file cannot be read.
        """
        key = key or secrets.token_hex(6)
        with self._lock(key):
            yield Held(self.folder / f"{key}.json", self.read(key))

    @contextlib.contextmanager
    def hold_job(self, job: str) -> Iterator[None]:
        """Keep everybody else from renting for the same job while the block runs.

        Raises:
            BusyError: somebody else does.
        """
        with self._lock(f"job-{digest_json(job)}"):
            yield

    @contextlib.contextmanager
    def hold_unread(self, key: str) -> Iterator[None]:
        """Keep everybody else off an entry that cannot be read while the block runs.

        Raises:
            BusyError: somebody else has it.
        """
        with self._lock(key):
            yield

    def held(self, key: str) -> bool:
        """Whether some process is at work on an entry right now."""
        try:
            with self._lock(key, tries=1):
                return False
        except BusyError:
            return True

    @contextlib.contextmanager
    def _lock(self, name: str, tries: int = LOCK_TRIES) -> Iterator[None]:
        # Lock files stay: whoever removed one would leave two processes with a lock each.
        path = self.folder / f"{name}.lock"
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            for attempt in range(tries):
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                if attempt + 1 == tries:
                    raise BusyError(
                        f"{path}: another process is at work on it; wait until it has ended"
                    )
                time.sleep(LOCK_PAUSE_SECONDS)
            yield
        finally:
            os.close(handle)


def ledger_of(home: Home) -> Ledger:
    """The ledger of a state folder."""
    return Ledger(home.path / "machines" / "ledger")
