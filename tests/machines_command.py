"""What the tests of ``cft machines`` share: the verbs in this process, and programs beside it."""

import subprocess

from click.testing import CliRunner

from cft.errors import CftError
from deployments.cli import machines_command


def machines(*words, code=0):
    done = CliRunner().invoke(machines_command, words)
    assert done.exit_code == code, (done.output, done.exception)
    return done


def refused(*words) -> str:
    done = CliRunner().invoke(machines_command, words)
    assert isinstance(done.exception, CftError), (done.output, done.exception)
    return str(done.exception)


def ran(words: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
