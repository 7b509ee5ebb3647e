"""Prefect's console, without the traceback of an error that is meant for the user."""

import logging
from copy import copy

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
