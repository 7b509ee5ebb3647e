"""What happens between asking for a notebook and having one, on hosts that misbehave."""

import json
import os
import socket

import pytest

from cft.errors import CftError
from tasks.machine.notebook import Notebook, notebook_at, start_notebook, stop_notebook
from tasks.machine.notebook_host import listens
from tasks.machine.remote import Result

BASE = "~/it's ours"
NONE: dict = {}
READY = {"alive": True, "ready": True, "pid": 7, "port": 4321, "root": "/r", "token": "secret"}
STARTING = {"alive": True, "ready": False}
TAKEN = {"alive": False, "said": ["starting", "The port 4321 is already in use."]}
ORPHANS = {"alive": False, "left": True}


class Minutes:
    """A clock on which minutes of waiting take no time."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        self.time += 0.01
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Host:
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self, *states: dict | None, python: int = 0, stopped: dict | None = None) -> None:
        self.states, self.python = list(states), python
        self.stopped = {"was": True, "left": []} if stopped is None else stopped
        self.asked: list[str] = []
        self.programs: list[str] = []

    def run(self, command: str, *, timeout: float, stdin: bytes | None = None) -> Result:
        self.asked.append(command)
        if stdin is not None:
            self.programs.append(stdin.decode())
            return Result(0, json.dumps({"attached": False, "folder": "/x"}))
        if "find_spec" in command:
            return Result(self.python)
        if " stop " in command:
            return Result(0, json.dumps(self.stopped))
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return Result(None, "", "away") if state is None else Result(0, json.dumps(state))

    def stops(self) -> int:
        return sum(" stop " in command for command in self.asked)


def start(host: Host, **options) -> Notebook:
    return start_notebook(host, BASE, "/env/python", "~/n", clock=Minutes(), name="h", **options)


def test_a_port_that_was_taken_meanwhile_is_chosen_again() -> None:
    host = Host(NONE, TAKEN, STARTING, TAKEN, STARTING, READY)
    assert start(host).port == 4321
    assert len(host.programs) == 3
    host = Host(NONE, TAKEN)
    with pytest.raises(CftError, match=r"h: the notebook's server ended .*already in use"):
        start(host)
    assert len(host.programs) == 3, "it is not tried for ever"
    with pytest.raises(CftError, match="h: port 4321 is taken there"):
        start(host := Host(NONE, TAKEN), port=4321)
    assert len(host.programs) == 1


def test_tokens_are_new_and_go_by_standard_input_alone() -> None:
    first, second = Host(NONE, READY), Host(NONE, READY)
    start(first)
    start(second)
    assert first.programs != second.programs
    assert all(len(command) < 400 for command in first.asked), "files go by standard input"
    assert "'token': '" in first.programs[0]
    assert "secret" not in repr(start(Host(READY)))


def test_a_host_that_is_away_is_waited_for() -> None:
    assert start(Host(None, None, NONE, READY)).pid == 7
    with pytest.raises(CftError, match=r"h: no answer \(away\)"):
        start(Host(None))


def test_a_server_that_hangs_is_not_waited_for_for_ever() -> None:
    with pytest.raises(CftError, match=r"does not listen after 180 s; .*attach -t notebook-"):
        start(Host(STARTING))


def test_what_an_ended_server_left_is_ended_before_another_starts() -> None:
    host = Host(ORPHANS, READY)
    assert start(host).pid == 7
    assert host.stops() == 1
    host = Host(ORPHANS)
    assert notebook_at(host, BASE, clock=Minutes()) is None
    assert not host.stops(), "looking ends nothing"


def test_a_server_with_a_token_of_another_is_ended() -> None:
    host = Host(NONE, READY | {"problem": "another token"})
    with pytest.raises(CftError, match="h: another token"):
        start(host)
    assert host.stops() == 1


def test_stopping_says_what_is_left() -> None:
    host = Host(NONE, stopped={"was": True, "left": [11]})
    with pytest.raises(CftError, match=r"processes \[11\] do not end"):
        stop_notebook(host, BASE, clock=Minutes())
    assert not stop_notebook(Host(NONE, stopped={}), BASE, clock=Minutes())


def test_a_folder_is_quoted_below_the_home_of_the_host() -> None:
    host = Host(NONE)
    notebook_at(host, BASE, clock=Minutes())
    assert """"$HOME"'/it'"'"'s ours/notebook'/notebook_host.py""" in host.asked[0]


def test_only_the_process_that_was_named_counts_and_only_on_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as inner, socket.create_server(("", 0)) as outer:
        port = inner.getsockname()[1]
        assert listens(os.getpid(), port)
        assert not listens(os.getppid(), port), "somebody listens there, but not the server"
        assert not listens(os.getpid(), outer.getsockname()[1])
    assert not listens(os.getpid(), port)
