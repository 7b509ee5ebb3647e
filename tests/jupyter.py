"""What a browser asks of a Jupyter server, and who of its processes is left."""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from websockets.sync.client import connect

from tasks.machine import process_table, supervisor
from tasks.machine.notebook import _session

TMUX = ["tmux", "-L", "cft", "-f", "/dev/null"]


class Page:
    """A notebook's address, as it was printed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url.strip())
        assert (parts.hostname, parts.path) == ("127.0.0.1", "/lab"), url
        self.origin, self.port = f"{parts.scheme}://{parts.netloc}", parts.port
        (self.token,) = parse_qs(parts.query)["token"]

    def ask(self, path: str, token: str | None = None, data: bytes | None = None) -> tuple:
        """Status and body of an answer; without a token, nobody's."""
        headers = {"Authorization": f"token {token}"} if token else {}
        request = urllib.request.Request(self.origin + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def answers(self) -> bool:
        """Whether whoever has the token is let in."""
        with contextlib.suppress(OSError):
            return self.ask("/api/status", self.token)[0] == 200
        return False

    def start_kernel(self) -> str:
        """As a page does that shows a notebook in the served folder."""
        status, body = self.ask("/api/kernels", self.token, b'{"path": "first.ipynb"}')
        assert status == 201, body
        return json.loads(body)["id"]

    def run(self, kernel: str, code: str) -> str:
        """What a kernel says that an expression is."""
        header = {
            "msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "",
            "session": uuid.uuid4().hex, "version": "5.3", "date": "2020-01-01T00:00:00Z",
        }  # fmt: skip
        asked = {
            "header": header, "parent_header": {}, "metadata": {}, "channel": "shell",
            "buffers": [], "content": {"code": code, "silent": False},
        }  # fmt: skip
        address = f"{self.origin.replace('http', 'ws')}/api/kernels/{kernel}/channels"
        # A browser says where the page came from; the server takes no other page's word.
        with connect(f"{address}?token={self.token}", origin=self.origin, open_timeout=60) as link:
            link.send(json.dumps(asked))
            deadline = time.monotonic() + 90
            while time.monotonic() < deadline:
                told = json.loads(link.recv(timeout=90))
                if told["parent_header"].get("msg_id") != header["msg_id"]:
                    continue
                if told["msg_type"] == "execute_result":
                    return told["content"]["data"]["text/plain"]
                assert told["msg_type"] != "error", told["content"]
        raise AssertionError("the kernel did not answer in time")


def job(base: Path) -> dict:
    """The supervisor's record of the notebook in a folder."""
    return supervisor.read_json(base / "notebook" / "supervisor.json")


def members(base: Path) -> set[int]:
    """Living processes of it: the server, kernels, terminals."""
    record = job(base)
    return process_table.members(record["token"]) if record else set()


def end(base: Path) -> None:
    """Leave nothing of it, whatever the test has done."""
    record = job(base)
    if record and process_table.start_time(record["pid"]) == record["start"]:
        os.kill(record["pid"], signal.SIGKILL)
    process_table.end_all(lambda: members(base), 0, 10)
    # The window of its log would end by itself, a second later.
    words = [*TMUX, "kill-session", "-t", f"={_session(str(base))}"]
    subprocess.run(words, capture_output=True, timeout=30)


def panes(session: str) -> str:
    """All that the windows of a tmux session show."""
    shown = ""
    for window in ("job", "log"):
        words = [*TMUX, "capture-pane", "-p", "-S", "-", "-t", f"={session}:{window}"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        shown += done.stdout
    return shown


def has_session(session: str) -> bool:
    words = [*TMUX, "has-session", "-t", f"={session}"]
    return subprocess.run(words, capture_output=True, timeout=30).returncode == 0
