"""The one error that a user is meant to read."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class CftError(Exception):
    """Bad input or an impossible request: one line that names the place and the mend.

    The command line prints it without a traceback and exits with code 2. Raise it with a
    message of the form ``<file, row or field>: <what is wrong>; <what to do>``.
    """


def problems_of(error: "ValidationError") -> str:
    """Every field that pydantic refuses and what is wrong with it, on one line.

    A value is shown where it is short: a file or a whole tree would bury the sentence.
    """
    shown = []
    for one in error.errors():
        place = ".".join(str(part) for part in one["loc"]) or "the file"
        value = repr(one["input"])
        shown.append(f"{place}: {one['msg']}" + (f" (got {value})" if len(value) <= 80 else ""))
    more = f"; and {len(shown) - 5} more" if len(shown) > 5 else ""
    return "; ".join(shown[:5]) + more


def one_line(error: BaseException, limit: int = 200) -> str:
    """The first line of an error's message, for logs."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:limit]
