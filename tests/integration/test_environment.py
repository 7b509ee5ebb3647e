"""Environments built for real on this host: once, whole or absent, and again after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from cft.errors import CftError
from tasks.machine import process_table, supervisor
from tasks.machine.environment import builder
from tasks.machine.environment.ensure import Contents, Environment, ensure_environment
from tasks.machine.environment.settings import EnvironmentSettings
from tasks.machine.remote import LocalRemote, Result
from tests.processes import until
from tests.wheels import make_wheel

pytestmark = pytest.mark.integration

TINY = "VALUE = 7\ndef main():\n    print(VALUE)\n"

# Its first import says that it has begun and goes on when it may.
WAITING = """
import pathlib, time
place = pathlib.Path({place!r})
with (place / "imports").open("a") as file:
    file.write("x")
while not (place / "go").exists():
    time.sleep(0.05)
"""


class Flaky(LocalRemote):
    """Every second answer is lost, after the command was run."""

    calls = lost = 0

    def run(self, command: str, *, timeout: float, stdin: bytes | None = None) -> Result:
        result = super().run(command, timeout=timeout, stdin=stdin)
        if "poll" in command or stdin is not None:
            self.calls += 1
            if self.calls % 2:
                self.lost += 1
                return Result(None)
        return result


@pytest.fixture
def settings(tmp_path: Path) -> EnvironmentSettings:
    return EnvironmentSettings(root=str(tmp_path / "environments"), min_free_gb=0.1, timeout=300)


@dataclass(frozen=True)
class Standing:
    """An environment that is only looked at, and how it came about."""

    root: Path
    contents: Contents
    made: Environment
    lost: int
    lines: list[str]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Standing:
    root = tmp_path_factory.mktemp("standing")
    contents = Contents(
        constraints="six==1.17.0\n",
        requirements=(
            "six>=1.16",
            make_wheel(root / "wheels", "tiny", TINY),
        ),
        imports=("six", "tiny"),
    )
    settings = EnvironmentSettings(root=str(root / "environments"), min_free_gb=0.1)
    remote, lines = Flaky(), list[str]()
    made = ensure_environment(remote, contents, settings, on_line=lines.append)
    return Standing(root, contents, made, remote.lost, lines)


@dataclass(frozen=True)
class UvHost:
    """A host whose Python has another name, as most rented ones, and what its first build made."""

    remote: LocalRemote
    made: Environment
    lines: list[str]


@pytest.fixture(scope="module")
def uv_host(tmp_path_factory: pytest.TempPathFactory) -> UvHost:
    place = tmp_path_factory.mktemp("other")
    tools = place / "bin"
    tools.mkdir()
    for tool in ("sh", "uname", "cat", "touch"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    # Scripts and no links: an interpreter finds its library by where it lies. The first has pip,
    # the second is no virtual environment, of which uv would make none.
    for name, python in (("python3", sys.executable), ("python", os.path.realpath(sys.executable))):
        (tools / name).write_text(f'#!/bin/sh\nexec {python} "$@"\n')
        (tools / name).chmod(0o755)
    own = os.environ | {"PATH": str(tools), "HOME": str(place), "UV_PYTHON_DOWNLOADS": "never"}
    remote, lines = LocalRemote(own), list[str]()
    settings = EnvironmentSettings(root=str(place / "environments"), min_free_gb=0.1)
    wheel = make_wheel(place, "tiny", TINY)
    contents = Contents("", (wheel,), ("tiny",))
    made = ensure_environment(remote, contents, settings, on_line=lines.append)
    (tools / "uv").symlink_to(place / "environments" / "tools" / "uv" / "bin" / "uv")
    return UvHost(remote, made, lines)


def waiting(tmp_path: Path) -> Contents:
    wheel = make_wheel(tmp_path / "wheels", "waiting", WAITING.format(place=str(tmp_path)))
    return Contents(constraints="", requirements=(wheel,), imports=("waiting",))


def builds_of(settings: EnvironmentSettings) -> list[str]:
    folder = Path(settings.root, "builds")
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def names_of(settings: EnvironmentSettings) -> list[str]:
    return [path.name for path in Path(settings.root).iterdir() if path.is_symlink()]


def test_it_holds_what_was_asked_for_in_the_constrained_version(standing: Standing) -> None:
    made = standing.made
    assert not made.cached
    code = "import six, tiny; print(six.__version__, tiny.VALUE)"
    said = subprocess.run([made.python, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["1.17.0", "7"]
    script = Path(made.python).with_name("tiny")
    said = subprocess.run([script], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["7"], "its scripts find their interpreter"


def test_answers_that_were_lost_cost_no_second_build(standing: Standing) -> None:
    assert standing.lost >= 2
    installs = [line for line in standing.lines if line in ("-- pip install", "-- uv pip install")]
    assert len(installs) == 1
    assert len(list(standing.root.glob("environments/steps/*/train-*.log"))) == 1


def test_a_second_call_finds_it_and_builds_nothing(standing: Standing) -> None:
    settings = EnvironmentSettings(root=str(standing.root / "environments"), min_free_gb=1000)
    used = standing.root / "environments" / standing.made.key / builder.USED
    before = used.stat().st_mtime_ns
    again = ensure_environment(LocalRemote(), standing.contents, settings)
    assert again.cached
    assert (again.python, again.key, again.installer) == (
        standing.made.python,
        standing.made.key,
        standing.made.installer,
    )
    assert len(builds_of(settings)) == 1
    assert used.stat().st_mtime_ns > before


def test_a_home_folder_is_found_by_its_tilde(standing: Standing) -> None:
    remote = LocalRemote(os.environ | {"HOME": str(standing.root)})
    settings = EnvironmentSettings(root="~/environments", min_free_gb=1000)
    found = ensure_environment(remote, standing.contents, settings)
    assert found.python == standing.made.python


def test_a_killed_build_leaves_no_name_and_two_that_take_it_up_make_one(
    uv_host: UvHost, tmp_path: Path, settings: EnvironmentSettings
) -> None:
    contents, imports = waiting(tmp_path), tmp_path / "imports"

    def ask() -> Environment:
        return ensure_environment(uv_host.remote, contents, settings)

    with ThreadPoolExecutor(2) as pool:
        killed = pool.submit(ask)
        until(imports.exists, 120)
        (record,) = Path(settings.root).glob("steps/*/supervisor.json")
        found = supervisor.read_json(record)
        pids = [found["pid"], *process_table.members(found["token"])]
        assert len(pids) >= 3, "the supervisor, the builder and the import"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(CftError, match="was killed"):
            killed.result(120)
        assert not names_of(settings)
        left = builds_of(settings)
        assert len(left) == 1

        imports.unlink()
        calls = [pool.submit(ask) for _ in range(2)]
        until(imports.exists, 120)
        time.sleep(1)  # long enough for a second build to be seen, if there is one
        now = builds_of(settings)
        assert len(now) == 1, "neither is a second one made, nor is the killed one left"
        assert now != left
        assert not names_of(settings), "it has no name before its imports were tried"
        (tmp_path / "go").touch()
        first, second = [call.result(120) for call in calls]
    assert first.python == second.python
    assert imports.read_text() == "x", "it was imported, and so built, once"
    assert subprocess.run([first.python, "-c", "import waiting"], check=False).returncode == 0


def test_a_host_without_the_python_gets_uv_and_builds_with_it(uv_host: UvHost) -> None:
    assert uv_host.made.installer == "uv"
    assert any(line.startswith("-- pip install uv") for line in uv_host.lines)
    script = Path(uv_host.made.python).with_name("tiny")
    said = subprocess.run([script], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["7"]


def test_a_broken_requirement_is_named_and_leaves_nothing(
    uv_host: UvHost, tmp_path: Path, settings: EnvironmentSettings
) -> None:
    missing = f"nowhere @ {(tmp_path / 'nowhere-1.0-py3-none-any.whl').as_uri()}"
    with pytest.raises(CftError, match=r"pip install failed with exit code \d .*nowhere-1\.0"):
        ensure_environment(uv_host.remote, Contents("", (missing,)), settings)
    assert (builds_of(settings), names_of(settings)) == ([], [])


def test_a_module_that_cannot_be_imported_is_named_and_leaves_nothing(
    uv_host: UvHost, tmp_path: Path, settings: EnvironmentSettings
) -> None:
    wheel = make_wheel(tmp_path, "broken", "raise RuntimeError('no such GPU')\n")
    with pytest.raises(CftError, match=r"import broken failed .*no such GPU"):
        ensure_environment(uv_host.remote, Contents("", (wheel,), ("broken",)), settings)
    assert (builds_of(settings), names_of(settings)) == ([], [])


def build(spec: dict, tmp_path: Path) -> dict:
    """The builder by itself, as a host runs it."""
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))
    command = [sys.executable, builder.__file__, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    last = said.stdout.splitlines()[-1]
    assert last.startswith(builder.RESULT)
    return json.loads(last.removeprefix(builder.RESULT))


def spec_of(tmp_path: Path, **changes) -> dict:
    spec = {
        "key": "key",
        "root": str(tmp_path / "environments"),
        "python": "3.11",
        "index": None,
        "fetch_uv": False,
        "constraints": "",
        "requirements": [],
        "imports": [],
        "min_free_bytes": 0,
        "keep": 1,
        "keep_days": 1,
    }
    return spec | changes


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = build(spec_of(tmp_path, python="3.99"), tmp_path)
    assert "neither it nor uv is on this host" in result["problem"]
    assert "python3.99-venv" in result["problem"]


def test_an_environment_whose_interpreter_was_removed_is_not_taken_for_whole(
    tmp_path: Path,
) -> None:
    root = tmp_path / "environments"
    folder = old_environment(root, "key", 0)
    record = {"key": "key", "installer": "uv", "seconds": 1.0}
    (folder / builder.RECORD).write_text(json.dumps(record))
    spec = spec_of(tmp_path, python="3.99")  # so that nothing new is built
    assert build(spec, tmp_path)["cached"] is True
    (folder / "bin" / "python").unlink()
    (folder / "bin" / "python").symlink_to(tmp_path / "removed")
    assert "python3.99" in build(spec, tmp_path)["problem"]


def test_a_full_disk_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    result = build(spec_of(tmp_path, min_free_bytes=10**18), tmp_path)
    assert "needed; free some space" in result["problem"]
    assert not (tmp_path / "environments" / "builds").exists()


def old_environment(root: Path, key: str, days: float) -> Path:
    """What prune looks at: the folder, its name, and when somebody asked for it."""
    folder = root / "builds" / f"{key}.1"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / builder.USED).touch()
    when = time.time() - days * 86400
    os.utime(folder / builder.USED, (when, when))
    (root / key).symlink_to(folder.relative_to(root))
    return folder


def test_old_environments_go_but_not_the_newest_nor_one_in_use(tmp_path: Path) -> None:
    for key, days in (("now", 0), ("second", 20), ("third", 30), ("used", 40), ("busy", 50)):
        old_environment(tmp_path, key, days)
    old_environment(tmp_path, "fresh", 3)
    code = "import time; print('up', flush=True); time.sleep(600)"
    command = [str(tmp_path / "used" / "bin" / "python"), "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            with builder.locked(tmp_path, "busy"):
                removed = builder.prune(tmp_path, "now", keep=3, days=14)
        finally:
            process.kill()
    assert removed == ["third"], "kept: now, fresh and second; used and busy are old but needed"
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_symlink()) == sorted(
        ["now", "second", "used", "busy", "fresh"]
    )
    assert not (tmp_path / "builds" / "third.1").exists()


def test_what_a_killed_build_left_for_good_goes_as_well(tmp_path: Path) -> None:
    old_environment(tmp_path, "now", 0)
    left = tmp_path / "builds" / "never.1"
    left.mkdir()
    os.utime(left, (1, 1))
    assert builder.prune(tmp_path, "now", keep=1, days=14) == ["never"]
    assert not left.exists()
