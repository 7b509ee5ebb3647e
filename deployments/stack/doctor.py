"""Whether the system can run here: versions, ports, servers, tokens. It changes nothing."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version

import httpx
import psutil
from huggingface_hub import get_token
from packaging.requirements import Requirement

from cft.home import TRACKING_VARIABLE, Home
from deployments.stack.ports import is_free
from deployments.stack.services import API_VARIABLE, MLFLOW_PORT, PREFECT_PORT
from flows.living_stack import is_up, read_record
from tasks.machine.diagnosis import Diagnosis, Finding
from tasks.machine.doctor import diagnose
from tasks.machine.settings import MachineSettings

EXTRAS = ("eval", "orchestrate")  # what the flows need beside the library
STACK_GB = 2.0  # two servers, two workers and a run
PYTHON = (3, 11)


def examine(home: Home, outer: Mapping[str, str] = os.environ) -> Diagnosis:
    """Look at this machine as a place for the stack and for training.

    Args:
        home: the state folder.
        outer: the environment.
    """
    here = diagnose(home, MachineSettings(), None)
    return Diagnosis(
        "this machine",
        (
            _python(),
            packages(requires("cft") or []),
            _memory(),
            *here.findings,
            *_programs(),
            *_ports(home),
            *_servers(outer),
            *_tokens(outer),
        ),
    )


def _python() -> Finding:
    text = f"{'.'.join(map(str, sys.version_info[:3]))}, {sys.executable}"
    if sys.version_info[:2] == PYTHON:
        return Finding("python", "well", text)
    return Finding(
        "python", "bad", text, f"make the environment with Python {PYTHON[0]}.{PYTHON[1]}"
    )


def packages(requirements: list[str], installed: Callable[[str], str] = version) -> Finding:
    """Whether what the project asks for is installed, in the versions that it asks for.

    Args:
        requirements: as a distribution's metadata has them.
        installed: version of a distribution; raises ``PackageNotFoundError``.
    """
    wrong, right = [], 0
    for one in map(Requirement, requirements):
        if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in ("", *EXTRAS)):
            continue
        try:
            found = installed(one.name)
        except PackageNotFoundError:
            wrong.append(f"{one.name} is missing")
            continue
        if one.specifier.contains(found, prereleases=True):
            right += 1
        else:
            wrong.append(f"{one.name} is {found}, not {one.specifier}")
    if wrong:
        mend = "pip install --constraint constraints.txt --editable '.[orchestrate]'"
        return Finding("packages", "bad", "; ".join(wrong), mend)
    return Finding("packages", "well", f"{right} as they are asked for")


def _memory() -> Finding:
    free = psutil.virtual_memory().available / 1e9
    text = f"{free:.1f} GB available"
    if free < STACK_GB:
        return Finding("memory", "bad", text, f"end other programs: {STACK_GB:g} GB are needed")
    return Finding("memory", "well", text)


def _programs() -> Iterator[Finding]:
    wants = {"tmux": "jobs on hosts and notebooks run in it", "git": "runs record their commit"}
    for name, why in wants.items():
        if (path := shutil.which(name)) is None:
            yield Finding(name, "note", f"not there; {why}", f"apt-get install {name}")
        else:
            yield Finding(name, "well", path)


def _ports(home: Home) -> Iterator[Finding]:
    record = read_record(home)
    if is_up(home):
        where = ", ".join(one["url"] for one in record.get("services", []) if one["url"])
        yield Finding("stack", "well", f"{record.get('state', 'starting')}: {where}")
        return
    yield Finding("stack", "note", "not up", "cft up")
    for name, port in (("prefect", PREFECT_PORT), ("mlflow", MLFLOW_PORT)):
        if is_free(port):
            yield Finding(f"port of {name}", "well", f"{port} is free")
        else:
            yield Finding(
                f"port of {name}", "note", f"{port} is taken; `cft up` takes the next one"
            )


def _servers(outer: Mapping[str, str]) -> Iterator[Finding]:
    """Servers that the person's own environment names."""
    for name, page in ((API_VARIABLE, "health"), (TRACKING_VARIABLE, "health")):
        url = outer.get(name, "")
        if not url.startswith(("http://", "https://")):
            continue
        shown = str(httpx.URL(url).copy_with(username=None, password=None))
        try:
            code = httpx.get(f"{url.rstrip('/')}/{page}", timeout=5).status_code
            trouble = "" if code == httpx.codes.OK else f"answers with HTTP {code}"
        except httpx.HTTPError as error:
            trouble = f"does not answer ({type(error).__name__})"
        if trouble:
            mend = f"start it, or unset {name} to use this machine's own"
            yield Finding(name, "bad", f"{shown} {trouble}", mend)
        else:
            yield Finding(name, "well", f"{shown} answers")


def _tokens(outer: Mapping[str, str]) -> Iterator[Finding]:
    """Whether they are there; never what they are."""
    yield _token("hub token", bool(get_token()), "gated models cannot be fetched", "set HF_TOKEN")
    yield _token(
        "pushes", bool(outer.get("CFT_NTFY_TOPIC")), "no run tells the phone how it ended",
        "set CFT_NTFY_TOPIC before `cft up`",
    )  # fmt: skip
    yield _token(
        "rentals", bool(outer.get("LAMBDA_API_KEY")), "no machine can be rented",
        "set LAMBDA_API_KEY before `cft up`",
    )  # fmt: skip


def _token(name: str, there: bool, without: str, mend: str) -> Finding:
    if there:
        return Finding(name, "well", "set")
    return Finding(name, "note", f"not set; {without}", mend)
