"""The entry of every container: secrets from files into the environment, and into nothing else."""

import os
import stat
import string
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compose import DOCKER

ENTRY = DOCKER / "entrypoint.sh"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def entered(
    folder: Path, command: list[str] | None = None, **variables: str
) -> "subprocess.CompletedProcess[bytes]":
    env = {"PATH": os.environ["PATH"], "CFT_SECRETS_DIR": str(folder), **variables}
    words = ["env", "-0"] if command is None else command
    return subprocess.run([ENTRY, *words], env=env, capture_output=True)


def environment(done: "subprocess.CompletedProcess[bytes]") -> dict[str, str]:
    assert done.returncode == 0, done.stderr.decode()
    pairs = done.stdout.decode().rstrip("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)


def test_templates_become_variables_and_vanish(folder: Path) -> None:
    (folder / "one").write_text("a b\n", "utf-8")
    (folder / "two").write_text("c", "utf-8")
    found = environment(
        entered(
            folder, A_FROM_SECRETS="x://u:{one:url}@h/{two}", B_FROM_SECRETS="{two}{two}", C="1"
        )
    )
    assert (found["A"], found["B"], found["C"]) == ("x://u:a%20b@h/c", "cc", "1")
    assert not [name for name in found if name.endswith("_FROM_SECRETS")]
    assert "LC_ALL" not in found


# What a text file can hold: no NUL, and the line breaks at its end do not belong to the secret.
SECRET = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30
).filter(lambda one: not one.endswith("\n"))


@settings(max_examples=40)
@given(secret=SECRET | st.text(string.punctuation + " ", min_size=1))
def test_any_secret_arrives_as_it_is_and_encoded_as_urls_want_it(
    tmp_path_factory: pytest.TempPathFactory, secret: str
) -> None:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "it").write_bytes(secret.encode())
    found = environment(entered(folder, A_FROM_SECRETS="{it}", B_FROM_SECRETS="<{it:url}>"))
    assert found["A"] == secret
    assert found["B"] == f"<{quote(secret, safe='')}>"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{nothere}", "A: the secret nothere is missing: "),
        ("{empty}", "A: the secret empty is empty: put its value into "),
        ("{empty:url}", "A: the secret empty is empty: put its value into "),
        ("{../../etc/passwd}", "A_FROM_SECRETS: {../../etc/passwd} is no name of a secret"),
        ("{}", "A_FROM_SECRETS: {} is no name of a secret"),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_started(
    folder: Path, template: str, said: str
) -> None:
    (folder / "empty").touch()
    done = entered(folder, ["touch", str(folder / "started")], A_FROM_SECRETS=template)
    assert done.returncode == 64
    assert f"entrypoint: {said}" in done.stderr.decode()
    assert not (folder / "started").exists()


def test_an_optional_secret_that_is_empty_sets_nothing(folder: Path) -> None:
    (folder / "topic").touch()
    assert "A" not in environment(entered(folder, A_FROM_SECRETS="{topic?}"))
    (folder / "topic").write_text("mine\n", "utf-8")
    assert environment(entered(folder, A_FROM_SECRETS="{topic?}"))["A"] == "mine"


def test_the_command_takes_its_place(folder: Path) -> None:
    (folder / "one").write_text("s", "utf-8")
    with subprocess.Popen(
        [ENTRY, "sh", "-c", 'echo "$$ $#"; exit 3', "sh", "a b", ""],
        env={"PATH": os.environ["PATH"], "CFT_SECRETS_DIR": str(folder), "A_FROM_SECRETS": "{one}"},
        stdout=subprocess.PIPE,
    ) as process:
        said, _ = process.communicate()
    assert said.split() == [str(process.pid).encode(), b"2"], "signals reach it, words stay whole"
    assert process.returncode == 3


def test_secrets_are_made_once_and_never_changed(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "redis_password").write_text("mine\n", "utf-8")
    first = subprocess.run([DOCKER / "secrets.sh", folder], capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    made = {one.name: one.read_bytes() for one in folder.iterdir()}
    again = subprocess.run([DOCKER / "secrets.sh", folder], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == made
    assert made["redis_password"] == b"mine\n"
    told = first.stdout + again.stdout
    values = [one.decode() for one in made.values() if len(one) > 8]
    assert len(set(values)) == len(values) >= 10
    assert not [one for one in values if one in told]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        if path.name != "redis_password":
            assert stat.S_IMODE(path.stat().st_mode) in (0o440, 0o640), path


def test_redis_gets_the_digest_of_its_password_alone(tmp_path: Path) -> None:
    from hashlib import sha256

    (tmp_path / "redis_password").write_text("a b\n", "utf-8")
    subprocess.run([DOCKER / "secrets.sh", tmp_path], check=True, capture_output=True)
    users = (tmp_path / "redis_users").read_text("utf-8").splitlines()
    assert users == [
        f"user default on #{sha256(b'a b').hexdigest()} ~* &* +@all",
        "user health on nopass -@all +ping",
    ]


def test_the_key_of_blocks_is_one_of_fernet(tmp_path: Path) -> None:
    from cryptography.fernet import Fernet

    subprocess.run([DOCKER / "secrets.sh", tmp_path], check=True, capture_output=True)
    Fernet((tmp_path / "prefect_encryption_key").read_bytes())
