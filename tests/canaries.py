"""Secrets that nobody else has, and a search for them in whatever may have kept one."""

import base64
import json
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.processes import until


def encodings(secret: str) -> Iterator[bytes]:
    """A secret as it is, in a URL, in JSON, and the part of its base64 that its neighbours leave.

    What stands before it in the encoded text (such as ``user:``) shifts it by 0 to 2 bytes.
    """
    raw = secret.encode()
    yield raw
    yield urllib.parse.quote(secret, safe="").encode()
    yield json.dumps(secret)[1:-1].encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            own = encode(bytes(shift) + raw)
            first, last = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
            yield own[first:last]


@dataclass(frozen=True)
class Canaries:
    """Secrets by the variable that holds them; of ``user:password`` only the password is one."""

    variables: Mapping[str, str]

    def found_in(self, data: bytes) -> set[str]:
        """Names of the secrets that stand in ``data``, in any encoding."""
        return {
            name
            for name, value in self.variables.items()
            if any(one in data for one in encodings(value.rpartition(":")[2]))
        }

    def found_under(self, folder: Path) -> dict[str, set[str]]:
        """Files below a folder that hold any, each with the names of what it holds."""
        found = {
            str(path.relative_to(folder)): self.found_in(path.read_bytes())
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        return {path: names for path, names in found.items() if names}


@dataclass
class Commands:
    """Watches the command lines of all processes of this machine while a block runs."""

    canaries: Canaries
    seen: set[bytes] = field(default_factory=set, repr=False)
    found: set[str] = field(default_factory=set)

    def __enter__(self) -> "Commands":
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def wait_for(self, word: bytes, seconds: float = 60) -> None:
        """Until a command line with this word was seen."""
        until(lambda: any(word in one for one in list(self.seen)), seconds)

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            for pid in psutil.pids():
                try:
                    line = Path(f"/proc/{pid}/cmdline").read_bytes()
                except OSError:
                    continue
                if line not in self.seen:
                    self.seen.add(line)
                    self.found |= self.canaries.found_in(line)
