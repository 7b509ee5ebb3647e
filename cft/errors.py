"""The one error that a user is meant to read."""


class CftError(Exception):
    """Bad input or an impossible request: one line that names the place and the mend.

    The command line prints it without a traceback and exits with code 2. Raise it with a
    message of the form ``<file, row or field>: <what is wrong>; <what to do>``.
    """
