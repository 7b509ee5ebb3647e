"""What is well with a machine and what not, before a training finds out. It changes nothing."""

import importlib.util
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cft.errors import CftError, one_line
from cft.home import Home
from tasks.machine import doctor_host
from tasks.machine.diagnosis import Diagnosis, Finding
from tasks.machine.driver.decide import CHANGES, Act, Done, State, decide
from tasks.machine.driver.parse import parse
from tasks.machine.driver.probe import probe
from tasks.machine.environment.builder import RECORD as ENVIRONMENT
from tasks.machine.environment.ensure import environment_key
from tasks.machine.host import Host
from tasks.machine.jobs import living_jobs
from tasks.machine.remote import LocalRemote, Remote
from tasks.machine.settings import MachineSettings
from tasks.machine.site import IMPORTS, contents_for
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.errors import SshError
from tasks.machine.ssh.known_hosts import KnownHosts
from tasks.machine.step import answer_of, source_of
from tasks.machine.step_host import OLDEST
from tasks.machine.transfer.code import project_code

LOOK_SECONDS = 60.0
REACH_SECONDS = 25.0  # for a host to let us in
CLOCK_SECONDS = 10.0  # that two clocks may differ before it is worth a word
LEAST_GB = 2.0  # for inputs, checkpoints and an adapter

# In plain shell: a host without python3 is told what it lacks as well.
BASICS = "date +%s.%N; id -un; uname -srm; hostname; command -v tmux; command -v python3; true"


def diagnose(
    home: Home, machine: MachineSettings, host: Host | None, *, gpu: bool | None = None
) -> Diagnosis:
    """Look at a machine.

    Args:
        home: the state folder.
        machine: settings.
        host: how it is reached; None for this machine.
        gpu: whether a training needs GPUs; None: it takes those that there are.
    """
    if host is None:
        return Diagnosis("this machine", tuple(_here(home, machine, gpu)))
    with tempfile.TemporaryDirectory(prefix="cft-doctor-") as scratch:
        # A look is no word of trust: a new host's key is kept by whoever works there first.
        copy = Path(scratch, "known_hosts")
        if host.known_hosts.exists():
            shutil.copy(host.known_hosts, copy)
        with Host(host.name, host.ssh, copy).connect() as connection:
            findings = tuple(_there(home, machine, host, connection, KnownHosts(copy), gpu))
    return Diagnosis(host.ssh.address, findings)


def _here(home: Home, machine: MachineSettings, gpu: bool | None) -> Iterator[Finding]:
    # What is asked of python3 is asked of the one that trains.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    remote = LocalRemote(os.environ | {"PATH": path})
    version = ".".join(map(str, sys.version_info[:3]))
    missing = [name for name in IMPORTS if importlib.util.find_spec(name) is None]
    yield _imports(f"{sys.executable}, {version}", missing)
    yield _space("disk", doctor_host.room(home.path), LEAST_GB)
    if gpu is not False:
        yield driver_finding(remote, machine, gpu)
    jobs = [[job.flow_run_id, job.stage, job.state.state] for job in living_jobs(home)]
    yield _jobs(home, jobs)


def _there(
    home: Home,
    machine: MachineSettings,
    host: Host,
    connection: Connection,
    keys: KnownHosts,
    gpu: bool | None,
) -> Iterator[Finding]:
    before = time.time()
    try:
        basics = connection.run("true", timeout=REACH_SECONDS)  # so that the clock is asked alone
        before = time.time()
        if basics.ok:
            basics = connection.run(BASICS, timeout=LOOK_SECONDS)
        after = time.time()
    except SshError as error:
        yield Finding("connection", "bad", one_line(error, 400), "mend that and look again")
        return
    lines = basics.stdout.splitlines()
    if not basics.ok or len(lines) < 4:
        mend = "start the host, or check the address, the network and its SSH server"
        yield Finding("connection", "bad", basics.last_words, mend)
        return
    yield _key(host, keys)
    moment, user, system, name, *programs = lines
    yield Finding("host", "well", f"{user} on {name}, {system}")
    yield clock_finding(moment, before, after)
    yield _tmux(programs)
    seen = _look(connection, machine) if any(one.endswith("python3") for one in programs) else None
    if seen is None:
        oldest = ".".join(map(str, OLDEST))
        mend = f"install python3, {oldest} or newer: our side of a job there is written in it"
        yield Finding("python3", "bad", "not there, or it does not run", mend)
    else:
        yield from _folders(home, machine, connection, seen, system)
    if gpu is not False:
        yield driver_finding(connection, machine, gpu)
    if seen is not None:
        yield _jobs(home, seen["jobs"])


def _look(connection: Connection, machine: MachineSettings) -> dict[str, Any] | None:
    call = f"look({machine.base!r}, {machine.environment.root!r}, {ENVIRONMENT!r})"
    program = f"{source_of(doctor_host)}\nprint(json.dumps({call}))\n"
    return answer_of(connection.run("exec python3 -", timeout=LOOK_SECONDS, stdin=program.encode()))


def _key(host: Host, keys: KnownHosts) -> Finding:
    ssh = host.ssh
    if ssh.host_key is not None:
        return Finding("host key", "well", f"it is the pinned one, {ssh.host_key[:80]}")
    shown = keys.keys(ssh.host, ssh.port)[0]
    if KnownHosts(host.known_hosts).keys(ssh.host, ssh.port):
        return Finding("host key", "well", f"{shown.fingerprint} ({shown.kind}), as it was before")
    return Finding(
        "host key",
        "note",
        f"{shown.fingerprint} ({shown.kind}), seen for the first time",
        "compare it with the host's own; the first training keeps it",
    )


def clock_finding(moment: str, before: float, after: float) -> Finding:
    """How far the host's clock is from ours.

    Args:
        moment: its seconds since the epoch, as its ``date`` prints them.
        before: ours, when it was asked.
        after: ours, when it had answered.
    """
    whole, _, part = moment.partition(".")
    try:
        there = float(f"{whole}.{part}" if part.isdigit() else whole)  # not every date knows %N
    except ValueError:
        return Finding("clock", "note", f"its date says {moment[:40]!r}", "look at it there")
    ahead, doubt = there - (before + after) / 2, (after - before) / 2
    text = (
        f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} ours, give or take {doubt:.1f}"
    )
    if abs(ahead) - doubt < CLOCK_SECONDS:
        return Finding("clock", "well", text)
    return Finding("clock", "note", text, "have it set by NTP: events bear its time")


def _tmux(programs: list[str]) -> Finding:
    found = [one for one in programs if one.endswith("tmux")]
    if found:
        return Finding("tmux", "well", found[0])
    mend = "install tmux to look at jobs there with `cft machines attach`"
    return Finding("tmux", "note", "not there; jobs run as well, but nobody can attach", mend)


def _folders(
    home: Home, machine: MachineSettings, remote: Remote, seen: dict[str, Any], system: str
) -> Iterator[Finding]:
    version = ".".join(map(str, seen["python"]))
    if tuple(seen["python"]) < OLDEST:
        mend = f"install python3 {'.'.join(map(str, OLDEST))} or newer"
        yield Finding("python3", "bad", version, mend)
    else:
        yield Finding("python3", "well", version)
    yield _space("our folder", seen["base"], LEAST_GB)
    yield _environment(machine, remote, seen, system)
    here, there = project_code().digest, seen["code"]
    yield Finding(
        "code",
        "well",
        f"{len(there)} version(s), {'with' if here in there else 'without'} this one, {here}",
    )


def _environment(
    machine: MachineSettings, remote: Remote, seen: dict[str, Any], system: str
) -> Finding:
    if machine.python is not None:
        code = (
            "import importlib.util as u, json; "
            f"print(json.dumps({{'missing': [n for n in {IMPORTS!r} if u.find_spec(n) is None]}}))"
        )
        asked = remote.run(
            f"{shlex.quote(machine.python)} -c {shlex.quote(code)}", timeout=LOOK_SECONDS
        )
        if (answer := answer_of(asked)) is None:
            mend = "python: name an interpreter that is there"
            return Finding("environment", "bad", f"{machine.python}: {asked.last_words}", mend)
        return _imports(machine.python, answer["missing"])
    standing = seen["environments"]
    kernel, _, rest = system.partition(" ")
    uname = f"{kernel} {rest.rpartition(' ')[2]}"  # `uname -sm` of `uname -srm`
    try:
        ours = environment_key(contents_for(), machine.environment, uname)
    except CftError as error:
        return Finding("environment", "bad", one_line(error), "mend that here")
    if ours in standing:
        return Finding("environment", "well", f"{ours} stands ({len(standing)} in all)")
    built = _space("environment", seen["built"], machine.environment.min_free_gb)
    text = f"{ours} is not there ({len(standing)} others); the first training builds it"
    if built.state == "bad":
        return Finding("environment", "bad", f"{text}; {built.text}", built.mend)
    return Finding("environment", "well", text)


def _imports(python: str, missing: list[str]) -> Finding:
    if not missing:
        return Finding("environment", "well", f"{python}, with all that training imports")
    mend = "install them there, or leave python empty to have an environment built"
    return Finding("environment", "bad", f"{python} lacks {', '.join(missing)}", mend)


def _space(name: str, found: dict[str, Any], least: float) -> Finding:
    text = f"{found['path']}{'' if found['exists'] else ' (not yet there)'}"
    if not found["writable"]:
        mend = "let the user write there, or set base and environment.root to other folders"
        return Finding(name, "bad", f"{text}: may not be written", mend)
    text = f"{text}, {found['free'] / 1e9:.1f} GB free"
    if found["free"] < least * 1e9:
        return Finding(name, "bad", text, f"free some space: {least:g} GB are needed")
    return Finding(name, "well", text)


def driver_finding(remote: Remote, machine: MachineSettings, gpu: bool | None) -> Finding:
    """What a training would find of the driver, and do about it.

    Args:
        remote: the host.
        machine: settings, with the driver's policy.
        gpu: as of :func:`diagnose`.
    """
    try:
        facts = parse(probe(remote))
    except CftError as error:
        return Finding("driver", "bad", one_line(error), "look again")
    decision = decide(facts, machine.driver, Done())
    text = f"{decision.state}: {decision.reason}"
    if decision.act is Act.DONE:
        names = ", ".join(one.name or "?" for one in facts.smi.gpus)
        version = facts.loaded or facts.smi.gpus[0].driver or "?"
        return Finding("driver", "well", f"{version}, {text.removeprefix('ok: ')}: {names}")
    if decision.state is State.NO_GPU and gpu is None:
        return Finding("driver", "note", "no GPU of NVIDIA; it trains on the CPU")
    if decision.act in CHANGES:
        return Finding("driver", "note", f"{text}; a training would first {decision.act}")
    if decision.act is Act.WAIT:
        return Finding("driver", "bad", text, "look again in some minutes, else take another host")
    mend = "take another host" if decision.act is Act.REROLL else "mend that, or train on the CPU"
    return Finding("driver", "bad", text, mend)


def _jobs(home: Home, jobs: list[list[str]]) -> Finding:
    shown = [
        f"{run} {stage} ({state}{'' if (home.runs / run / stage).is_dir() else ', not from here'})"
        for run, stage, state in jobs
    ]
    return Finding("jobs", "well", "; ".join(shown) or "none of ours lives there")
