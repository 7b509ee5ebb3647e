"""JupyterLab on a host, in a tmux session of its own: started once, found again by anybody.

It listens on the host's loopback alone and is reached through a
:class:`~tasks.machine.ssh.tunnel.Tunnel`; it lives on when the connection and whoever started it
are gone. Its token is made here, goes there on standard input and lies there in a file of the
user's. Nothing here needs a flow, so a flow's task can call it as it is::

    with host.connect() as connection:
        notebook = start_notebook(connection, site.base, site.python, "~/notebooks")
        with Tunnel(connection, notebook.port) as tunnel:
            print(notebook.url(tunnel.local_port))
"""

import hashlib
import json
import secrets
import shlex
from dataclasses import dataclass, field
from typing import Any

from cft.errors import CftError
from tasks.machine import job_host, notebook_host
from tasks.machine.remote import Clock, Remote, Result, SystemClock
from tasks.machine.step import answer_of, source_of, start_program

ANSWER_SECONDS = 60.0
START_SECONDS = 180.0  # the first start on a busy host reads thousands of files
POLL_SECONDS = 0.5
GRACE = 5.0  # seconds that kernels have between TERM and KILL
STARTS = 3  # a port that was free may be taken before the server listens on it
TAKEN = "already in use"  # what Jupyter then says
MISSING = 3
_LOOK = (
    "import importlib.util as u, sys; "
    f"sys.exit(0 if u.find_spec('jupyterlab') and u.find_spec('ipykernel') else {MISSING})"
)


@dataclass(frozen=True)
class Notebook:
    """A server that listens.

    Attributes:
        port: on the host's 127.0.0.1.
        pid: of the server there.
        root: folder that it serves, absolute.
        session: of tmux, for people to look at: ``tmux -L cft attach -t SESSION``.
        token: whoever has it can do there what the user can.
        attached: whether it was there already.
    """

    port: int
    pid: int
    root: str
    session: str
    token: str = field(repr=False)
    attached: bool = True

    def url(self, port: int | None = None) -> str:
        """Its address, token included, through a port of this machine.

        Args:
            port: of the tunnel; without one, the server's own.
        """
        return f"http://127.0.0.1:{port or self.port}/lab?token={self.token}"


def start_notebook(
    remote: Remote,
    base: str,
    python: str,
    root: str,
    *,
    port: int = 0,
    code: str | None = None,
    name: str = "the host",
    clock: Clock | None = None,
) -> Notebook:
    """Start the notebook of a folder, or attach to the one that runs, with whatever it serves.

    Args:
        remote: the host.
        base: our folder there: absolute, or with ``~/``, the user's home.
        python: interpreter there that has jupyterlab; kernels run in it.
        root: folder to serve, made where it is missing: absolute or with ``~/``.
        port: on the host's loopback; 0 takes a free one.
        code: folder there that kernels import from.
        name: of the host, in messages.
        clock: by which the waiting is bounded.

    Raises:
        CftError: jupyterlab is missing there, the port is taken, the server does not come up
            within 180 s, or the host does not answer.
    """
    clock = clock or SystemClock()
    living, seen = _settled(remote, base, name, clock, attached=True)
    if living is not None:
        return living
    _require_jupyterlab(remote, python, name, clock)
    if seen.get("left"):  # kernels whose server and supervisor were killed
        stop_notebook(remote, base, name=name, clock=clock)
    session = _session(base)
    asked = {"python": python, "root": root, "port": port, "code": code, "session": session}
    said: list[str] = []
    for _ in range(STARTS):
        files = {
            "job_host.py": source_of(job_host),
            "notebook_host.py": source_of(notebook_host),
            notebook_host.SETTINGS: json.dumps(asked),
            notebook_host.TOKEN_FILE: secrets.token_urlsafe(32),
        }
        command = ["{python}", "{folder}/notebook_host.py", "serve"]
        options = ["--grace", str(GRACE)]
        program = start_program(_folder(base), files, command, options, session)
        result = _heard(remote, "exec python3 -", name, clock, program)
        begun = answer_of(result) or {"problem": result.last_words}
        if "problem" in begun:
            raise CftError(f"{name}: {begun['problem']}; mend that there and run again")
        started, seen = _settled(remote, base, name, clock, attached=bool(begun["attached"]))
        if started is not None:
            return started
        said = [str(line) for line in seen.get("said", [])]
        if not any(TAKEN in line for line in said):
            break
        if port:
            raise CftError(f"{name}: port {port} is taken there; take another, or a free one")
    raise CftError(
        f"{name}: the notebook's server ended at its start "
        f"({' | '.join(said)[-500:] or 'no output'}); mend that there, its log lies in "
        f"{_folder(base)}"
    )


def notebook_at(
    remote: Remote, base: str, *, name: str = "the host", clock: Clock | None = None
) -> Notebook | None:
    """The notebook that runs in our folder on a host, or None; one that is starting is waited for.

    The arguments are those of :func:`start_notebook`.

    Raises:
        CftError: the host does not answer, or the server hangs at its start.
    """
    return _settled(remote, base, name, clock or SystemClock(), attached=True)[0]


def stop_notebook(
    remote: Remote, base: str, *, name: str = "the host", clock: Clock | None = None
) -> bool:
    """End the server with its kernels and terminals: TERM, and KILL after 5 s.

    The arguments are those of :func:`start_notebook`.

    Returns:
        Whether there was one.

    Raises:
        CftError: the host does not answer, or processes are left that the kernel holds.
    """
    result = _ask(remote, base, f"stop {GRACE}", name, clock or SystemClock())
    answer = answer_of(result)
    if answer is None:
        raise CftError(f"{name}: the notebook was not stopped ({result.last_words}); run again")
    if answer.get("left"):
        raise CftError(f"{name}: processes {answer['left']} do not end; end them there")
    return bool(answer.get("was"))


def _settled(
    remote: Remote, base: str, name: str, clock: Clock, *, attached: bool
) -> tuple[Notebook | None, dict[str, Any]]:
    """The server once it listens, or None once it has ended; and the host's last answer."""
    deadline = clock.now() + START_SECONDS
    while True:
        result = _ask(remote, base, "state", name, clock)
        seen = answer_of(result)
        if seen is None:
            raise CftError(
                f"{name}: the notebook's state cannot be read ({result.last_words}); "
                "install Python 3.10 or newer there"
            )
        if "problem" in seen:  # whoever wants that server finds it open, or cannot come in
            stop_notebook(remote, base, name=name, clock=clock)
            raise CftError(f"{name}: {seen['problem']}")
        if seen.get("ready"):
            return _notebook(seen, base, attached), seen
        if not seen.get("alive"):
            return None, seen
        if clock.now() >= deadline:
            raise CftError(
                f"{name}: the notebook's server does not listen after {START_SECONDS:.0f} s; look "
                f"at it with `tmux -L cft attach -t {_session(base)}`, or stop it and start again"
            )
        clock.sleep(POLL_SECONDS)


def _notebook(seen: dict[str, Any], base: str, attached: bool) -> Notebook:
    return Notebook(
        port=int(seen["port"]),
        pid=int(seen["pid"]),
        root=str(seen["root"]),
        session=_session(base),
        token=str(seen["token"]),
        attached=attached,
    )


def _require_jupyterlab(remote: Remote, python: str, name: str, clock: Clock) -> None:
    result = _heard(remote, f"exec {shlex.quote(python)} -c {shlex.quote(_LOOK)}", name, clock)
    if result.exit_code == MISSING:
        raise CftError(
            f"{name}: {python} has no jupyterlab; install it there "
            f"({python} -m pip install jupyterlab), or name another python"
        )
    if not result.ok:
        raise CftError(
            f"{name}: {python} does not run there ({result.last_words}); name an interpreter that "
            "has jupyterlab"
        )


def _ask(remote: Remote, base: str, words: str, name: str, clock: Clock) -> Result:
    """Ask the host's side; where there never was a notebook, the answer is an empty object."""
    place = _folder(base)
    quoted = f'"$HOME"{shlex.quote(place[1:])}' if place.startswith("~/") else shlex.quote(place)
    script = f"{quoted}/notebook_host.py"
    asked = f"if [ -f {script} ]; then exec python3 {script} {words}; fi; echo {{}}"
    return _heard(remote, asked, name, clock)


def _heard(
    remote: Remote, command: str, name: str, clock: Clock, stdin: bytes | None = None
) -> Result:
    """Ask until there is an answer; what is asked here may be done twice."""
    deadline = clock.now() + START_SECONDS
    while True:
        result = remote.run(command, timeout=ANSWER_SECONDS, stdin=stdin)
        if result.exit_code is not None:
            return result
        if clock.now() >= deadline:
            raise CftError(f"{name}: no answer ({result.last_words}); check the host and run again")
        clock.sleep(POLL_SECONDS)


def _folder(base: str) -> str:
    return f"{base.rstrip('/')}/notebook"


def _session(base: str) -> str:
    """Name of the tmux session; notebooks of two folders on one host never share one."""
    return f"notebook-{hashlib.sha256(_folder(base).encode()).hexdigest()[:6]}"
