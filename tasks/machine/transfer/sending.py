"""The sender's end of a transfer."""

from pathlib import Path
from typing import Any

from tasks.machine.transfer.wire import BLOCK, Checksum, Reader, Told, Write, Writer, digest


def send(
    write: Write, reader: Reader, root: Path, files: list[dict[str, Any]], told: Told
) -> set[int]:
    """Send what the receiver has not got; returns the indices of the files in place there.

    Args:
        write: takes bytes to the other end.
        reader: of what comes from there.
        root: folder of the files.
        files: as :func:`listing` gives them.
        told: is told the bytes that were dealt with.
    """
    out, same = Writer(write), []
    out.line(files)
    out.flush()
    for index, (one, known) in enumerate(zip(files, reader.line(), strict=True)):
        path, start, content = root / one["path"], 0, Checksum()
        try:
            if known is not None and digest(path, known[0]) == known[1]:
                start = known[0]
                told(start)
                if known[2]:
                    same.append(index)
                    continue
            file = path.open("rb", buffering=0)
        except OSError:
            continue  # it went away since it was listed: the receiver will miss it
        with file:
            file.seek(start)
            out.line({"file": index, "start": start})
            left, whole = one["size"] - start, True
            while left > 0:  # a log that grows is sent as far as it was listed
                data = file.read(min(left, BLOCK))
                if not data:  # it became shorter: as many bytes all the same, they are awaited
                    data, whole = bytes(min(left, BLOCK)), False
                content.update(data)
                out.write(data)
                told(len(data))
                left -= len(data)
            out.line({"checksum": content.value if whole else "cut short"})
    out.line({"file": None, "same": same})
    out.flush()
    return set(reader.line())
