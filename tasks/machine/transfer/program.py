"""The program that a host runs for a transfer.

It is sent ahead of the files over the same channel, so nothing has to be installed there: its
modules use each other and the standard library alone.
"""

import functools
from pathlib import Path

from tasks.machine.transfer import far_end, names, receiving, sending, wire

MODULES = (wire, names, sending, receiving, far_end)  # each uses only those before it
# A module that is known by its name is not looked for, whatever stands in front of the name.
_HEAD = """
import sys, types
def known(name, source):
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), vars(module))
"""


@functools.cache
def source() -> bytes:
    """The program's text, for an interpreter that knows nothing of ours."""
    texts = {module.__name__: Path(str(module.__file__)).read_text("utf-8") for module in MODULES}
    known = [f"known({name!r}, {text!r})" for name, text in texts.items()]
    call = f"sys.modules[{far_end.__name__!r}].main()"
    return "\n".join([_HEAD, *known, call, ""]).encode()
