"""What a flow says on the console: progress and results, each error once."""

import logging
import signal
import sys
from copy import copy
from types import FrameType

from prefect.logging.handlers import PrefectConsoleHandler

from cft.errors import CftError


class OneLineConsole(PrefectConsoleHandler):
    """Shows a :class:`CftError` as its one line; every other exception keeps its traceback.

    The API log, and with it the UI, keeps the whole record.
    """

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, CftError):
            record = copy(record)
            record.exc_info = record.exc_text = None
            record.msg, record.args = str(error), ()
        return super().format(record)


class Terminal(logging.StreamHandler):
    """For a person who started the flow in this terminal.

    The engine's own words are left out: that a task began or ended shows by what it says, and an
    exception reaches the caller, who prints it, once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("prefect.") and (
            record.exc_info
            or record.getMessage().startswith(("Finished in state", "Beginning flow run"))
        ):
            return False
        return bool(super().filter(record))


def use_terminal() -> None:
    """Let this process's log records go to a :class:`Terminal` instead of plain or Prefect's."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if type(handler) in (logging.StreamHandler, OneLineConsole, PrefectConsoleHandler):
            root.removeHandler(handler)
    root.addHandler(Terminal())
    logging.getLogger("cft").setLevel(logging.INFO)


def end_on_signals() -> None:
    """Let SIGTERM and the loss of the terminal end this process as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    # The default action would skip every clean-up, also that of Prefect's temporary server.
    sys.exit(128 + number)
