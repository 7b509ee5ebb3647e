"""The parts of the local stack that need no server."""

import fcntl
import io
import json
import os
import resource
import socket
import stat
import threading
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from unittest.mock import patch

import pytest
from rich.console import Console

from cft.errors import CftError
from cft.home import Home
from deployments.stack import ports, services
from deployments.stack.doctor import _servers, _tokens, packages
from deployments.stack.lock import opened, require_folder, require_space, taken
from deployments.stack.services import Ports, Service
from deployments.stack.table import lasting, table
from flows.environment import past_the_proxy, prepare_environment
from flows.living_stack import LOCK, RECORD, addresses, is_up
from tests.integration.server import free_port

CLIENTS = {"PREFECT_API_URL": "http://127.0.0.1:4207/api",
           "MLFLOW_TRACKING_URI": "http://127.0.0.1:5007"}  # fmt: skip

NO_PROXY = ("no_proxy", "NO_PROXY")


@pytest.fixture
def listener():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


def test_a_taken_port_moves_to_the_next_free_one(listener) -> None:
    assert not ports.is_free(listener)
    found = ports.chosen(listener)
    assert listener < found <= listener + ports.TRIES
    assert ports.is_free(found)
    assert ports.chosen(listener, taken=(found,)) != found


def test_no_free_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: False)
    with pytest.raises(CftError, match="are all taken"):
        ports.chosen(65530)


def hold(home: Home, state: str) -> int:
    """A stack's record, and the lock that its supervisor would hold."""
    home.stack.mkdir(parents=True)
    record = {"state": state, "clients": CLIENTS, "services": []}
    (home.stack / RECORD).write_text(json.dumps(record), encoding="utf-8")
    handle = os.open(home.stack / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def test_only_a_living_ready_stack_has_addresses(tmp_path: Path) -> None:
    home = Home(tmp_path / "never")
    assert not is_up(home)
    assert addresses(home) == {}
    for state, found in (("ready", CLIENTS), ("starting", {}), ("stopping", {})):
        home = Home(tmp_path / state)
        handle = hold(home, state)
        assert is_up(home)
        assert addresses(home) == found
        os.close(handle)  # as the kernel does when the supervisor is killed
        assert not is_up(home)
        assert addresses(home) == {}


def test_verbs_go_to_the_living_stack_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    home = Home(tmp_path)
    handle = hold(home, "ready")
    # A copy of the whole, which comes back as it was: what the call sets is nobody else's.
    with patch.dict(os.environ):
        for name in CLIENTS:
            os.environ.pop(name, None)
        prepare_environment(home)
        assert {name: os.environ[name] for name in CLIENTS} == CLIENTS
        os.environ["PREFECT_API_URL"] = "https://prefect.example.org/api"
        prepare_environment(home)
        assert os.environ["PREFECT_API_URL"] == "https://prefect.example.org/api"
    os.close(handle)


def every_service(home: Home, outer: dict[str, str]) -> list[Service]:
    where = Ports(4201, 5001, {"cpu": 6001, "gpu": 6002})
    return [
        *services.servers(home, where, outer),
        *services.workers(home, where, outer),
        services.deploying(home, where, outer),
    ]


def test_nothing_listens_for_other_hosts_and_no_secret_stands_in_a_command(tmp_path: Path) -> None:
    secrets = {"PREFECT_SERVER_API_AUTH_STRING": "me:canary-1", "LAMBDA_API_KEY": "canary-2",
               "CFT_NTFY_TOKEN": "canary-3"}  # fmt: skip
    for one in every_service(Home(tmp_path), secrets):
        words = list(one.command)
        assert "canary" not in " ".join(words) + repr(one)
        assert words.count("--host") == (one.name in ("prefect", "mlflow"))
        if "--host" in words:
            assert words[words.index("--host") + 1] == "127.0.0.1"
        assert one.environment["PREFECT_API_AUTH_STRING"] == "me:canary-1", "clients need it too"


def test_the_callers_own_servers_do_not_lead_the_stack_elsewhere(tmp_path: Path) -> None:
    outer = {"PREFECT_API_URL": "https://elsewhere/api", "MLFLOW_TRACKING_URI": "https://elsewhere",
             "PREFECT_PROFILE": "team", "MLFLOW_BACKEND_STORE_URI": "sqlite:///other.db",
             "PATH": os.environ["PATH"]}  # fmt: skip
    for one in every_service(Home(tmp_path), outer):
        assert "elsewhere" not in str(sorted(one.environment.items()))
        assert one.environment["PREFECT_API_URL"] == "http://127.0.0.1:4201/api"
        assert "PREFECT_PROFILE" not in one.environment
        assert "MLFLOW_BACKEND_STORE_URI" not in one.environment
        assert one.environment["PATH"] == os.environ["PATH"]
        assert one.environment.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:5001") == (
            "http://127.0.0.1:5001"
        )


def test_a_database_of_the_callers_is_not_the_stacks(tmp_path: Path) -> None:
    outer = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://elsewhere/prefect",
             "PREFECT_SERVER_DATABASE_PASSWORD": "elsewhere"}  # fmt: skip
    for one in every_service(Home(tmp_path), outer):
        assert "elsewhere" not in str(sorted(one.environment.items()))


@pytest.mark.parametrize(
    ("outer", "found"),
    [
        ({"no_proxy": "corp"}, {}),
        ({"http_proxy": "http://p:1"}, dict.fromkeys(NO_PROXY, "127.0.0.1,localhost")),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "corp, localhost"},
         dict.fromkeys(NO_PROXY, "corp,localhost,127.0.0.1")),
        ({"all_proxy": "http://p:1", "no_proxy": "*"}, {}),
    ],
)  # fmt: skip
def test_a_proxy_never_stands_before_this_machines_servers(
    tmp_path: Path, outer: dict[str, str], found: dict[str, str]
) -> None:
    assert past_the_proxy(outer) == found
    for one in every_service(Home(tmp_path), outer):
        assert {**outer, **found}.items() <= one.environment.items()
    with patch.dict(os.environ, outer, clear=True):
        prepare_environment(Home(tmp_path))
        assert {**outer, **found}.items() <= os.environ.items()
        assert past_the_proxy(os.environ) == found, "a second time the same"


def test_nobody_else_may_enter_where_keys_lie(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prefect.mkdir(parents=True)
    home.prefect.chmod(0o755)  # as an older one has left it
    with patch.dict(os.environ):
        prepare_environment(home)
    require_folder(home)
    for folder in (home.prefect, home.mlflow_database.parent, home.stack):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_a_lock_that_is_only_looked_at_is_not_another_stack(tmp_path: Path) -> None:
    home = Home(tmp_path)
    handle, other = opened(home), opened(home)
    fcntl.flock(other, fcntl.LOCK_SH)
    threading.Timer(0.03, os.close, [other]).start()
    assert taken(handle)
    late = opened(home)
    assert not taken(late)
    os.close(late)
    os.close(handle)


def test_what_keeps_it_from_writing_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (home.stack / LOCK).mkdir(parents=True)
    with pytest.raises(CftError, match=r"stack/lock: Is a directory; let CFT_HOME name"):
        opened(home)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # much as a full disk
    try:
        with pytest.raises(CftError, match="stack: File too large; let CFT_HOME name"):
            require_space(home)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [one.name for one in home.stack.iterdir() if "trial" in one.name] == []


def shown(record: dict) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(table(record, now=100.0))
    return console.file.getvalue()


def test_the_table_says_how_each_service_is() -> None:
    one = {"name": "prefect", "state": "unwell", "said": "HTTP 503 [busy]", "since": 36.0,
           "pid": 7, "url": "http://127.0.0.1:4200", "restarts": 2}  # fmt: skip
    (line,) = [one for one in shown({"state": "ready", "services": [one]}).splitlines()
               if "prefect" in one]  # fmt: skip
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["prefect", "unwell (HTTP 503 [busy])", "1 min 4 s", "2", "7",
                     "http://127.0.0.1:4200"]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3700, "1 h 1 min"), (180000, "2 d 2 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


def test_packages_that_are_missing_or_wrong_are_named() -> None:
    there = {"prefect": "3.8.8", "torch": "2.12.0"}

    def installed(name: str) -> str:
        if name not in there:
            raise PackageNotFoundError(name)
        return there[name]

    asked = ["torch==2.13.0", 'prefect<4,>=3.8.8; extra == "orchestrate"', "peft>=0.21",
             'ruff>=0.15; extra == "dev"']  # fmt: skip
    found = packages(asked, installed)
    assert found.state == "bad"
    assert found.text == "torch is 2.12.0, not ==2.13.0; peft is missing"
    there.update(torch="2.13.0", peft="0.21.2")
    assert packages(asked, installed).state == "well"


def test_a_server_that_does_not_answer_is_bad_and_its_password_is_not_shown() -> None:
    url = f"http://me:secret@127.0.0.1:{free_port()}"
    (found,) = _servers({"MLFLOW_TRACKING_URI": url, "PREFECT_API_URL": ""})
    assert found.state == "bad"
    assert "does not answer" in found.text
    assert "secret" not in str(found)
    assert list(_servers({"MLFLOW_TRACKING_URI": "sqlite:////x/mlflow.db"})) == []


def test_tokens_are_told_of_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    outer = {"CFT_NTFY_TOPIC": "canary", "LAMBDA_API_KEY": ""}
    states = {one.name: one.state for one in _tokens(outer)}
    assert states == {"hub token": "well", "pushes": "well", "rentals": "note"}
    assert "canary" not in str(list(_tokens(outer)))
