"""Builds one Python environment on the host it runs on: ``python3 builder.py SPEC.json``.

Only the standard library is used and nothing newer than Python 3.10 is run, since this file is
sent to hosts that have nothing else.

An environment cannot be moved, for its scripts begin with the path of its interpreter. So it is
made where it stays, in ``builds/<key>.<random>``, and becomes ``<key>``, a link, when its imports
have been tried: whoever sees the name sees a whole environment. One lock per key makes two builds
into one; what a killed build left is removed by the next one.

The last line of output is ``RESULT`` and a JSON object, either with ``python`` or with ``problem``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULT = "cft-environment:"
RECORD = "cft-environment.json"
USED = "last_used"  # touched whenever somebody asks for the environment
UV = "uv>=0.5,<1"
UV_PLACES = ("~/.local/bin/uv", "~/.cargo/bin/uv")  # not in the PATH of every session


class BuildError(Exception):
    """What a person has to mend on the host or in the requirements."""


def build(spec: dict[str, Any]) -> dict[str, Any]:
    """The environment of a spec: the one that stands, or a new one.

    Raises:
        BuildError: it cannot be built; nothing stands under its name.
    """
    root = Path(spec["root"]).expanduser().resolve()
    root.mkdir(parents=True, exist_ok=True)
    name = root / spec["key"]
    with locked(root, spec["key"]):
        _clear(root, spec["key"])
        # An interpreter outside, to which the link inside leads, may have been removed.
        runs = os.access(name / "bin" / "python", os.X_OK)
        if cached := runs and (name / RECORD).is_file():
            (name / USED).touch()
        else:
            _build(root, name, spec)
    removed = prune(root, spec["key"], spec["keep"], spec["keep_days"])
    record = json.loads((name / RECORD).read_text(encoding="utf-8"))
    python = str(name / "bin" / "python")
    return record | {"python": python, "cached": cached, "removed": removed}


def _build(root: Path, name: Path, spec: dict[str, Any]) -> None:
    free = shutil.disk_usage(root).free
    if free < spec["min_free_bytes"]:
        raise BuildError(
            f"{root}: {free / 1e9:.1f} GB free and {spec['min_free_bytes'] / 1e9:.1f} GB needed; "
            "free some space on the host or name another root"
        )
    began = time.time()
    folder = root / "builds" / f"{spec['key']}.{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    try:
        constraints, requirements = folder / "constraints.txt", folder / "requirements.txt"
        constraints.write_text(spec["constraints"], encoding="utf-8")
        lines = [f"--extra-index-url {spec['index']}"] if spec["index"] else []
        requirements.write_text("\n".join([*lines, *spec["requirements"], ""]), encoding="utf-8")
        installer = _install(folder, requirements, constraints, spec)
        _try_imports(folder, spec["imports"])
        record = {
            "key": spec["key"],
            "installer": installer,
            "seconds": round(time.time() - began, 1),
            "made": time.time(),
        }
        (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
        (folder / USED).touch()
        os.sync()  # of tens of thousands of files; the name must not outlive a power cut alone
        link = folder.with_name(f"{folder.name}.link")
        link.symlink_to(folder.relative_to(root))
        link.replace(name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _install(folder: Path, requirements: Path, constraints: Path, spec: dict[str, Any]) -> str:
    """Make the environment and install into it; the name of what did it."""
    interpreter = folder / "bin" / "python"
    given = ["-r", str(requirements), "-c", str(constraints)]
    name = f"python{spec['python']}"
    uv, python = _uv(), shutil.which(name)
    if uv is None and python is None and spec["fetch_uv"]:
        uv = _fetched_uv(Path(spec["root"]).expanduser())
    if uv is not None:
        # uv fetches the interpreter itself where the host has not this one.
        _run([uv, "venv", "--allow-existing", "--python", spec["python"], str(folder)], "uv venv")
        # As pip does: the best version of all indexes, not of the first that knows the name.
        strategy = ["--index-strategy", "unsafe-best-match"]
        install = [uv, "pip", "install", "--python", str(interpreter), *strategy, *given]
        _run(install, "uv pip install")
        return "uv"
    if python is None:
        raise BuildError(
            f"{name}: neither it nor uv is on this host; install uv "
            f"(https://docs.astral.sh/uv/), which brings its own, or {name} with {name}-venv"
        )
    _run([python, "-m", "venv", str(folder)], f"{name} -m venv", f"install {name}-venv")
    pip = [str(interpreter), "-m", "pip", "install", "--disable-pip-version-check"]
    _run([*pip, "--no-input", *given], "pip install")
    return "pip"


def _uv() -> str | None:
    places = [shutil.which("uv"), *(os.path.expanduser(place) for place in UV_PLACES)]  # noqa: PTH111
    return next((place for place in places if place and os.access(place, os.X_OK)), None)


def _fetched_uv(root: Path) -> str:
    """A uv of our own, fetched once per host: few rented machines have the Python that is asked."""
    tools = root / "tools"
    with locked(root, "tools"):
        uv = tools / "uv" / "bin" / "uv"
        if not uv.exists():
            beside = tools / f"uv.{uuid.uuid4().hex[:8]}"
            pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
            mend = "install uv (https://docs.astral.sh/uv/) on the host"
            _run([*pip, "--no-input", "--target", str(beside), UV], f"pip install {UV}", mend)
            beside.replace(tools / "uv")
    return str(uv)


def _try_imports(folder: Path, modules: list[str]) -> None:
    if modules:
        code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
        command = [str(folder / "bin" / "python"), "-c", code, *modules]
        _run(command, "import " + ", ".join(modules), "add what is missing to the requirements")


def _run(command: list[str], what: str, mend: str = "mend that and run again") -> None:
    print(f"-- {what}", flush=True)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    tail: list[str] = []
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            tail = [*tail, line.strip()][-5:]
    if process.returncode:
        said = " | ".join(line for line in tail if line)
        raise BuildError(f"{what} failed with exit code {process.returncode} ({said}); {mend}")


def prune(root: Path, current: str, keep: int, days: float) -> list[str]:
    """Remove the environments that nobody has asked for in so many days, but for the newest.

    One that is being built, or from which a process runs, stays.

    Returns:
        The keys of those that were removed.
    """
    last = {}
    for path in [*root.joinpath("builds").iterdir(), *root.iterdir()]:
        with contextlib.suppress(OSError):
            if path.is_symlink() and path.parent == root:
                last[path.name] = (path / USED).stat().st_mtime
            elif path.parent != root:  # of a killed build it is all there is
                last.setdefault(path.name.partition(".")[0], path.stat().st_mtime)
    last.pop(current, None)
    removed = []
    for key in sorted(last, key=lambda key: last[key], reverse=True)[keep - 1 :]:
        if last[key] > time.time() - days * 86400:
            continue
        with contextlib.suppress(BlockingIOError), locked(root, key, wait=False):
            link = root / key
            if not _in_use(str(link), str(link.resolve())):
                link.unlink(missing_ok=True)  # first, so that it never names half an environment
                _clear(root, key)
                removed.append(key)
    return removed


def _in_use(*paths: str) -> bool:
    marks = [f"{path}/".encode() for path in paths]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):  # gone, or another user's
                    said = (entry / name).read_bytes()
                    if any(mark in said for mark in marks):
                        return True
    return False


def _clear(root: Path, key: str) -> None:
    """Remove what a key's killed builds have left; the caller holds its lock."""
    whole = root.joinpath(key).resolve()
    for left in root.joinpath("builds").glob(f"{key}.*"):
        if left.is_symlink():
            left.unlink()
        elif left != whole:
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def locked(root: Path, key: str, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of one key. Who waits is bounded by the time that its step has.

    Raises:
        BlockingIOError: another has it and this one does not wait.
    """
    # Beside the environments: the file stays when they go, or two could hold two locks.
    with root.joinpath(f".{key}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def main(path: str) -> int:
    """Build what the file says and print the result."""
    try:
        result = build(json.loads(Path(path).read_text(encoding="utf-8")))
    except BuildError as problem:
        result = {"problem": str(problem)}
    except OSError as error:
        result = {"problem": f"{error.filename or path}: {error.strerror}; mend that on the host"}
    print(RESULT, json.dumps(result), flush=True)
    return 1 if "problem" in result else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
