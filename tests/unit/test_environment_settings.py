"""What an environment is made from, and what of it gives it another name."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from cft.errors import CftError
from tasks.machine.environment.ensure import Contents, environment_key
from tasks.machine.environment.settings import EnvironmentSettings, project_requirements
from tasks.machine.site import contents_for

CONTENTS = Contents("six==1.17.0\n", ("six>=1.16", "idna"), ("six",))
SETTINGS = EnvironmentSettings()


def test_without_extras_it_is_what_a_bare_machine_needs(root: Path) -> None:
    found = project_requirements(root / "pyproject.toml")
    names = {requirement.split("=")[0].split(">")[0] for requirement in found}
    assert {"torch", "transformers", "accelerate"} <= names
    assert not names & {"prefect", "mlflow", "pytest"}


def test_an_extra_brings_those_that_it_names(root: Path) -> None:
    found = project_requirements(root / "pyproject.toml", "orchestrate")
    assert any(requirement.startswith("prefect") for requirement in found)
    assert any(requirement.startswith("mteb") for requirement in found), "of the extra eval"
    assert not any(requirement.startswith("cft") for requirement in found)
    assert len(set(found)) == len(found)


def test_an_environment_for_notebooks_has_besides_what_serves_them() -> None:
    plain, more = contents_for(), contents_for(("notebook",))
    assert set(plain.requirements) < set(more.requirements)
    new = set(more.requirements) - set(plain.requirements)
    assert [one.partition(">")[0] for one in new] == ["jupyterlab"]
    assert {"jupyterlab", "ipykernel"} == set(more.imports) - set(plain.imports)
    assert "\njupyterlab==" in more.constraints


def test_extras_that_name_each_other_end(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\n[project.optional-dependencies]\na = ["x[b, c]"]\n'
    (tmp_path / "pyproject.toml").write_text(text + 'b = ["x[a]", "one"]\nc = ["two"]\n')
    assert project_requirements(tmp_path / "pyproject.toml", "a") == ("one", "two")


def test_an_extra_that_is_not_there_is_named(root: Path) -> None:
    known = "dev, eval, notebook, orchestrate"
    with pytest.raises(CftError, match=f"no extra 'train'; it has {known}"):
        project_requirements(root / "pyproject.toml", "train")


@pytest.mark.parametrize("text", [None, "no toml", "[tool]\n"])
def test_a_file_that_is_no_project_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "pyproject.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CftError, match=r"pyproject\.toml: no project's requirements"):
        project_requirements(path)


def test_the_order_of_requirements_gives_no_other_environment() -> None:
    turned = replace(CONTENTS, requirements=CONTENTS.requirements[::-1])
    key = environment_key(CONTENTS, SETTINGS, "Linux x86_64")
    assert environment_key(turned, SETTINGS, "Linux x86_64") == key
    others = EnvironmentSettings(root="/elsewhere", timeout=7, keep=9, min_free_gb=0)
    assert environment_key(CONTENTS, others, "Linux x86_64") == key


def test_whatever_changes_what_is_installed_gives_another_environment() -> None:
    keys = {
        environment_key(contents, settings, machine)
        for contents, settings, machine in [
            (CONTENTS, SETTINGS, "Linux x86_64"),
            (CONTENTS, SETTINGS, "Linux aarch64"),
            (CONTENTS, EnvironmentSettings(python="3.12"), "Linux x86_64"),
            (CONTENTS, EnvironmentSettings(index="https://example.org/cpu"), "Linux x86_64"),
            (replace(CONTENTS, constraints=""), SETTINGS, "Linux x86_64"),
            (replace(CONTENTS, requirements=("six",)), SETTINGS, "Linux x86_64"),
            (replace(CONTENTS, imports=()), SETTINGS, "Linux x86_64"),
        ]
    }
    assert len(keys) == 7


@pytest.mark.parametrize(
    "bad",
    [
        {"root": "relative"},
        {"root": "~"},
        {"python": "3.11; reboot"},
        {"index": "ftp://example.org"},
        {"index": "https://example.org/x\n--trusted-host y"},
        {"keep": 0},
        {"colour": "red"},
    ],
)
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        EnvironmentSettings(**bad)


@pytest.mark.parametrize("scheme", ["https", "ftp"])
def test_a_password_in_the_index_is_refused_and_not_repeated(scheme: str) -> None:
    with pytest.raises(CftError, match=r"~/\.netrc on the host") as caught:
        EnvironmentSettings(index=f"{scheme}://user:hidden-word@example.org/simple")
    assert "hidden-word" not in str(caught.value)
    assert EnvironmentSettings(index="https://example.org/a@b").index == "https://example.org/a@b"
