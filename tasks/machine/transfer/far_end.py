"""The host's end of a transfer: what is asked for stands in the first line."""

import os
import select
import sys
from pathlib import Path

from tasks.machine.transfer.names import BadNameError, listing
from tasks.machine.transfer.receiving import receive
from tasks.machine.transfer.sending import send
from tasks.machine.transfer.wire import BEGIN, BrokenError, Reader

IDLE = 60.0  # seconds without a byte, after which this end gives up
PIPE = 64 * 1024


def main() -> None:
    """Speak over standard input and output; exit code 1 and a line of stderr when it broke."""
    idle = IDLE

    def take(count: int) -> bytes:
        # A sender may be gone without a word, and nobody else would ever end this process.
        if not select.select([0], [], [], idle)[0]:
            raise BrokenError(f"nothing came for {idle:g} s")
        return os.read(0, min(count, PIPE))  # a larger buffer would be mapped anew for each read

    def write(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(1, rest) :]

    def told(count: int) -> None:
        del count

    reader = Reader(take)
    write(BEGIN)
    try:
        asked = reader.line()
        idle = asked["idle"]
        root = Path(asked["root"]).expanduser()
        if asked["do"] == "receive":
            receive(write, reader, root, told)
        else:
            send(write, reader, root, listing(root, asked["names"]), told)
    except (BadNameError, BrokenError, OSError) as error:
        print(f"cft-transfer: {error}", file=sys.stderr)
        sys.exit(1)
