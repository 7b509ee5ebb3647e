"""What ``cft notebook`` refuses before it asks any host, and how the verb is found."""

import tomllib

import pytest
from click.testing import CliRunner

from cft.errors import CftError
from deployments.cli import notebook_command


def refused(*words: str) -> str:
    done = CliRunner().invoke(notebook_command, words)
    assert isinstance(done.exception, CftError), done.output
    return str(done.exception)


def test_a_machine_is_not_rented_for_a_notebook() -> None:
    assert "`cft machines up` and give the file that it prints" in refused("--machine", "lambda")


def test_a_machine_that_is_none_is_named() -> None:
    assert "'nobody' is neither local" in refused("--machine", "nobody")


@pytest.mark.parametrize("words", [(), ("--machine", "local", "--port", "0")])
def test_words_that_are_missing_or_wrong(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(notebook_command, words).exit_code == 2


def test_the_verb_is_registered(root) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    verbs = project["entry-points"]["cft.commands"]
    assert verbs["notebook"] == "deployments.cli:notebook_command"
