"""The code as one file: the same for the same content, without secrets, sent once."""

import io
import os
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from cft.errors import CftError
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.known_hosts import KnownHosts
from tasks.machine.transfer import code as bundle
from tasks.machine.transfer.client import push
from tasks.machine.transfer.code import project_code, ship_code
from tests.sshd import Sshd, Wire, keygen, needs_sshd, running

pytestmark = pytest.mark.integration


@pytest.fixture
def project(tmp_path):
    """A checkout with committed, new, ignored, deleted and secret files."""
    root = tmp_path / "project"
    files = {
        "cft/__init__.py": "x = 1\n", "cft/deep/रामः.py": "y = 2\n", "run.sh": "#!/bin/sh\n",
        "gone.py": "", ".gitignore": "*.log\n.venv/\n", "constraints.txt": "torch==2\n",
        ".env": "TOKEN=1\n", "deploy/credentials.json": "{}", "certs/host.pem": "x",
        "train.log": "long", ".venv/lib.py": "", "cft/tokens.py": "def token(): ...\n",
    }  # fmt: skip
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "run.sh").chmod(0o755)
    keygen(root / "notes" / "plain-name.txt")
    (root / "link").symlink_to("/etc/passwd")
    git(root, "init", "-q")
    git(root, "add", "-f", ".env", "deploy", "cft", "run.sh", "gone.py", ".gitignore", "notes")
    git(root, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x")
    (root / "gone.py").unlink()
    return root


def git(root, *words):
    subprocess.run(["git", "-C", str(root), *words], check=True, stdin=subprocess.DEVNULL)


def test_tracked_and_new_files_without_secrets_links_and_what_git_ignores(project) -> None:
    code = project_code(project)
    assert set(code.files) == {
        ".gitignore", "cft/__init__.py", "cft/deep/रामः.py", "cft/tokens.py", "constraints.txt",
        "run.sh", "notes/plain-name.txt.pub",
    }  # fmt: skip
    assert set(code.left_out) == {
        ".env", "certs/host.pem", "deploy/credentials.json", "notes/plain-name.txt",
    }  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(code.data)) as archive:
        members = {one.name: one for one in archive}
    assert set(members) == set(code.files)
    assert {one.mtime for one in members.values()} == {0}
    assert members["run.sh"].mode == 0o755
    assert members["cft/__init__.py"].mode == 0o644
    assert b"TOKEN" not in code.data
    assert b"PRIVATE KEY" not in code.data


def test_the_same_content_is_the_same_file(project, tmp_path) -> None:
    before = project_code(project)
    other = tmp_path / "elsewhere"
    git(tmp_path, "clone", "-q", str(project), str(other))
    for name in before.files:
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_bytes((project / name).read_bytes())
        os.utime(other / name, (1, 1))
    (other / "run.sh").chmod(0o700)
    (other / "gone.py").unlink()
    assert project_code(other).data == before.data
    (other / "cft" / "__init__.py").write_text("x = 2\n")
    assert project_code(other).digest != before.digest
    (other / "cft" / "__init__.py").write_text("x = 1\n")
    (other / "run.sh").chmod(0o600)
    assert project_code(other).digest != before.digest, "whether a file may be run counts"


def test_an_installed_project_is_its_packages(tmp_path) -> None:
    for name in ("cft/a.py", "cft/__pycache__/a.pyc", "torch/b.py", "tasks/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert project_code(tmp_path).files == ("cft/a.py", "tasks/c.py")


def test_what_is_too_large_for_code(project, monkeypatch) -> None:
    monkeypatch.setattr(bundle, "MOST_BYTES", 1000)
    (project / "model.bin").write_bytes(bytes(2000))
    with pytest.raises(CftError, match=r"model.bin; add what is no code to \.gitignore"):
        project_code(project)


def test_this_project_has_all_that_training_needs() -> None:
    code = project_code()
    assert {"cft/__init__.py", "constraints.txt", "pyproject.toml"} <= set(code.files)
    assert not code.left_out


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


@needs_sshd
def test_it_is_sent_once(server, project, tmp_path) -> None:
    code, wire, base = project_code(project), Wire(server.port), f"{tmp_path}/ba se"
    hosts = KnownHosts(tmp_path / "hosts")
    with Connection(server.settings(port=wire.port), hosts) as there:
        place = ship_code(there, code, base)
        assert place == f"{base}/code/{code.digest}"
        found = {
            path.relative_to(place).as_posix(): path.read_bytes()
            for path in (tmp_path / "ba se" / "code" / code.digest).rglob("*")
            if path.is_file()
        }
        assert found == {name: (project / name).read_bytes() for name in code.files}
        wire.carried = 0
        assert ship_code(there, code, base) == place
        assert wire.carried < 8000, "one short command"
        # Another state stands beside it, and the archives are gone.
        (project / "cft" / "__init__.py").write_text("x = 3\n")
        other = project_code(project)
        ship_code(there, other, base)
        assert sorted(path.name for path in (tmp_path / "ba se" / "code").iterdir()) == sorted(
            [code.digest, other.digest]
        )
    wire.close()


@needs_sshd
def test_half_of_it_is_never_taken_for_all(server, project, tmp_path) -> None:
    code, base = project_code(project), tmp_path / "base"
    with Connection(server.settings(), KnownHosts(tmp_path / "hosts")) as there:
        # Whoever sent it died before it was unpacked.
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / f"{code.digest}.tar").write_bytes(code.data)
        push(there, tmp_path / "out", f"{base}/code")
        with ThreadPoolExecutor(4) as pool:
            places = list(pool.map(lambda _: ship_code(there, code, str(base)), range(4)))
        assert set(places) == {f"{base}/code/{code.digest}"}
        assert [path.name for path in (base / "code").iterdir()] == [code.digest]
        # A disk that took only half of it.
        other = bundle.Code("0" * 16, code.data[:700], (), ())
        with pytest.raises(CftError, match="cannot be unpacked"):
            ship_code(there, other, str(base))
        assert not (base / "code" / ("0" * 16)).exists()


@needs_sshd
def test_below_the_home_of_the_user(server, project) -> None:
    code = project_code(project)
    with Connection(server.settings(), KnownHosts(project.parent / "hosts")) as there:
        place = ship_code(there, code, f"~/.cft-test-{code.digest}/x y")
        assert place.endswith(f".cft-test-{code.digest}/x y/code/{code.digest}")
        assert there.run(f"rm -r ~/.cft-test-{code.digest} && echo ok").stdout == "ok\n"
