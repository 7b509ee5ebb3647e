"""Images and scripts: linted, and every file that an image copies exists and is not ignored."""

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compose import DOCKER, ROOT, document

BIN = Path(sys.executable).parent
DOCKERFILES = ("Dockerfile", "Dockerfile.trainer")
SCRIPTS = sorted(path.name for path in DOCKER.glob("*.sh"))
SERVICES = document({"CFT_SECRETS_GID": "1"})["services"]

each = pytest.mark.parametrize("name", DOCKERFILES)


def instructions(name: str) -> list[tuple[str, str]]:
    """Instructions of a Dockerfile with their words, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / name).read_text("utf-8"), flags=re.M)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (one.partition(" ") for one in lines) if word]


def stages(name: str) -> dict[str, list[tuple[str, str]]]:
    """Named stages and their instructions; ``""`` is the unnamed one at the end."""
    found: dict[str, list[tuple[str, str]]] = {}
    current = None
    for word, rest in instructions(name):
        if word == "FROM":
            current = rest.partition(" AS ")[2]
            found[current] = []
        if current is not None:
            found[current].append((word, rest))
    return found


def copied(name: str) -> list[str]:
    """Paths that the images take from the project."""
    sources = []
    for word, rest in instructions(name):
        words = [one for one in rest.split() if not one.startswith("--chmod")]
        if word == "COPY" and not words[0].startswith("--from"):
            sources += words[:-1]
    return sources


@each
def test_hadolint_finds_nothing(name: str) -> None:
    done = subprocess.run(
        [BIN / "hadolint", "--no-color", DOCKER / name], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name: str) -> None:
    done = subprocess.run(["shellcheck", DOCKER / name], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert (DOCKER / name).stat().st_mode & 0o111, "started by its name"


@each
def test_what_is_copied_exists_and_is_not_ignored(name: str) -> None:
    sources = copied(name)
    assert {"cft", "tasks", "flows", "deployments", "constraints.txt"} <= set(sources)
    ignore = (DOCKER / f"{name}.dockerignore").read_text("utf-8").splitlines()
    rules = [one for one in ignore if one and not one.startswith("#")]
    assert rules[0] == "*", "nothing goes there unnamed"
    kept = [one[1:] for one in rules if one.startswith("!")]
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, one) for one in kept), source
    for secret in ("docker/secrets", "docker/.env", ".git", "tests", "docker/backups"):
        assert not any(fnmatch.fnmatch(secret, one) for one in kept), secret


def test_git_ignores_what_is_secret() -> None:
    for name in ("secrets/prefect_password", ".env", "backups/cft-1/prefect.dump"):
        done = subprocess.run(["git", "check-ignore", "-q", f"docker/{name}"], cwd=ROOT)
        assert done.returncode == 0, name


@each
def test_the_last_stage_is_no_root_and_has_no_compiler(name: str) -> None:
    ((_, last),) = stages(name)[""]  # it only names the stage that is built without --target
    words = stages(name)[last]
    users = [rest for word, rest in words if word == "USER"]
    user = {"server": "worker-cpu", "trainer": "worker-gpu"}[last]
    assert users == [SERVICES[user]["user"]]
    text = " ".join(rest for _, rest in words)
    assert not re.search(r"\b(gcc|g\+\+|build-essential|make|clang)\b", text)
    assert ("ENTRYPOINT", '["cft-entrypoint"]') in words
    assert {"LABEL", "HEALTHCHECK"} <= {word for word, _ in words}


@each
def test_a_checkout_that_only_its_owner_may_read_gives_an_image_that_all_may_read(
    name: str, tmp_path: Path
) -> None:
    """COPY keeps the modes of the checkout, which a umask of 077 leaves to its owner alone."""
    ((_, last),) = stages(name)[""]
    words = stages(name)[last]
    (command,) = [rest for word, rest in words if word == "RUN" and "compileall" in rest]
    after = words[words.index(("RUN", command)) :]
    for word, rest in after:
        assert word != "COPY" or "--chmod=0755" in rest, f"{rest}: comes too late"
    package = tmp_path / "cft"
    package.mkdir(mode=0o700)
    (package / "__init__.py").touch(mode=0o600)
    command = command.replace("/opt/cft", str(tmp_path)).replace("python ", f"{sys.executable} ")
    subprocess.run(["sh", "-c", f"umask 022; {command}"], check=True)
    found = list(package.rglob("*"))
    assert any(path.suffix == ".pyc" for path in found)
    for path in [package, *found]:
        wanted = 0o005 if path.is_dir() else 0o004
        assert path.stat().st_mode & wanted == wanted, path


def test_the_script_of_secrets_opens_what_is_mounted_as_it_lies_there(tmp_path: Path) -> None:
    configs = document({"CFT_SECRETS_GID": "1"})["configs"].values()
    mounted = [tmp_path / one["file"] for one in configs]
    for path in [tmp_path / "secrets.sh", *mounted]:
        shutil.copy(DOCKER / path.name, path)
        path.chmod(path.stat().st_mode & 0o700)
    subprocess.run([tmp_path / "secrets.sh"], check=True, stdout=subprocess.DEVNULL)
    for path in mounted:
        assert path.stat().st_mode & 0o044 == 0o044, path
        executable = (DOCKER / path.name).stat().st_mode & 0o100
        assert bool(path.stat().st_mode & 0o001) == bool(executable), path
    assert (tmp_path / ".env").is_file()


@each
def test_images_are_pinned_and_nothing_is_cached_in_them(name: str) -> None:
    (base,) = [rest for word, rest in instructions(name) if word == "ARG" and "BASE=" in rest]
    assert re.search(r"python:3\.11\.\d+-slim-\w+$", base)
    for word, rest in instructions(name):
        if word == "RUN" and "pip install" in rest:
            assert "--mount=type=cache,target=/root/.cache/pip" in rest
            assert "--constraint constraints.txt" in rest
        if word == "RUN" and "apt-get install" in rest:
            assert "--mount=type=cache,target=/var/lib/apt/lists" in rest
            assert "--no-install-recommends" in rest
    for stage, words in stages(name).items():
        if stage not in ("build", ""):
            assert [rest for word, rest in words if word == "USER"][-1] == "10001:10001", stage


def test_compose_builds_from_stages_that_exist() -> None:
    built = {name: one["build"] for name, one in SERVICES.items() if "build" in one}
    assert set(built) == {"prefect-server", "worker-gpu", "backup"}
    for build in built.values():
        dockerfile = Path(build["dockerfile"]).name
        assert (DOCKER / dockerfile).is_file()
        if "target" in build:
            assert build["target"] in stages(dockerfile)
    images = {SERVICES[name]["image"] for name in built}
    ours = {one["image"] for one in SERVICES.values() if one["image"].startswith("cft-")}
    assert images == ours, "each image of ours is built by one service"


def test_pg_dump_is_of_the_servers_major_version() -> None:
    server = re.match(r"postgres:(\d+)\.", SERVICES["postgres"]["image"])
    assert server
    tools = " ".join(rest for _, rest in stages("Dockerfile")["tools"])
    assert f"postgresql-client-{server[1]}=" in tools


def test_every_file_that_a_service_starts_is_in_its_image() -> None:
    there = {one for one in copied("Dockerfile") if one.startswith("docker/")}
    for name, service in SERVICES.items():
        for word in [*service.get("command", []), *service.get("entrypoint", [])]:
            if word.startswith("/opt/cft/"):
                assert word.removeprefix("/opt/cft/") in there, (name, word)
