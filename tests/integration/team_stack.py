"""The stack of docker/compose.yaml without Docker: the same services, as processes of this host.

Every command, variable, secret, configuration and health check is taken from compose.yaml, and
every container's entry from docker/entrypoint.sh. What a container brings is put in its place: host
names, ports and paths are this host's, PostgreSQL and Redis are Debian's, and the S3-compatible
server is moto's. A service sees the secrets that the file gives it, and no others.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.compose import DOCKER, ROOT, document, started_by_default
from tests.integration.server import free_port
from tests.postgres import program

BIN = Path(sys.executable).parent
PORTS = (5432, 6379, 9000, 4200, 5000, 8080)
HOSTS = ("postgres", "redis", "objects", "prefect-server", "mlflow")
SECRETS = "/run/secrets"
# Compared with what a client says, not connected to.
LEFT_ALONE = ("--allowed-hosts=",)
# A password as a person might choose it: all that means something in a URL, in SQL or to a shell.
AWKWARD = "it's 100% p@ss:w/ord?#&=+$HOME\"\\{x}é"


def missing_programs() -> list[str]:
    """Debian packages and Python packages that this machine lacks for the stack."""
    wanted = {
        "postgresql": program("initdb"),
        "postgresql-client": program("pg_dump"),
        "redis-server": shutil.which("redis-server"),
        "moto": shutil.which("moto_server", path=str(BIN)),
    }
    return [package for package, found in wanted.items() if not found]


@dataclass
class Service:
    """One service of the file, and its process where it runs."""

    name: str
    spec: dict[str, Any]
    log: Path
    env: dict[str, str] = field(repr=False)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def one_shot(self) -> bool:
        return "healthcheck" not in self.spec


class TeamStack:
    """All services, below one folder that other users may enter (PostgreSQL runs as one)."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cft-team-"))
        self.folder.chmod(0o755)
        for name in ("logs", "volumes", "tmp", "run"):
            (self.folder / name).mkdir()
        self.secrets = self.folder / "secrets"
        self.secrets.mkdir(mode=0o700)
        for name in ("prefect_database_password", "mlflow_database_password", "redis_password"):
            (self.secrets / name).write_text(f"{AWKWARD} {name}\n", encoding="utf-8")
        subprocess.run([DOCKER / "secrets.sh", self.secrets], check=True, stdout=subprocess.DEVNULL)
        (self.secrets / "lambda_api_key").write_text("planted-key-of-a-cloud", encoding="utf-8")
        self.ports = {port: free_port() for port in PORTS}
        variables = {"CFT_SECRETS": str(self.secrets), "CFT_SECRETS_GID": str(os.getgid())}
        self.file = document(variables)
        self.services: dict[str, Service] = {}
        for name in self.file["services"]:
            self._prepare(name)

    # -- what others ask ---------------------------------------------------------------------

    @property
    def prefect(self) -> str:
        """URL of Prefect, as a browser has it."""
        return f"http://127.0.0.1:{self.ports[4200]}"

    @property
    def mlflow(self) -> str:
        """URL of MLflow."""
        return f"http://127.0.0.1:{self.ports[5000]}"

    @property
    def home(self) -> Path:
        """The workers' volume."""
        return self.folder / "volumes" / "home"

    @property
    def backups(self) -> Path:
        return self.folder / "volumes" / "backups"

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text("utf-8").rstrip("\n")

    def log(self, name: str) -> str:
        """All that a service has printed."""
        path = self.services[name].log
        return path.read_text("utf-8", errors="replace") if path.exists() else ""

    def processes(self, name: str) -> list[psutil.Process]:
        """A service's process and all below it."""
        process = self.services[name].process
        if process is None or not psutil.pid_exists(process.pid):
            return []
        root = psutil.Process(process.pid)
        return [root, *root.children(recursive=True)]

    # -- up, down, run -----------------------------------------------------------------------

    def up(self, *names: str) -> None:
        """Start services (all without a profile) in the order of what they need, and wait."""
        wanted = [one for one in started_by_default(self._specs()) if not names or one in names]
        for name in wanted:
            for other, condition in self.services[name].spec.get("depends_on", {}).items():
                assert condition["condition"] in (
                    "service_healthy",
                    "service_completed_successfully",
                )
                if other in wanted:
                    self._wait(other)
            self._start(name)
        for name in wanted:
            self._wait(name)

    def down(self, *names: str) -> None:
        """Stop services (all) in the opposite order, as `docker compose stop` does."""
        for name in reversed(started_by_default(self._specs())):
            if not names or name in names:
                self._stop(name)

    def run(self, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """`docker compose run --rm NAME WORDS`: words take the place of the file's command."""
        service = self.services[name]
        command = self._command(name)
        if words:
            command = [*command[: len(self._entrypoint(name))], *words]
        return subprocess.run(
            command, cwd=self.folder, env=service.env, capture_output=True, text=True, timeout=300
        )

    def lose_everything(self) -> None:
        """Every volume but that of the backups; what is not running has no files of its own."""
        assert not any(self.processes(name) for name in self.services)
        for volume in (self.folder / "volumes").iterdir():
            if volume != self.backups:
                shutil.rmtree(volume)

    def close(self) -> None:
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- from the file to this host ----------------------------------------------------------

    def _specs(self) -> dict[str, Any]:
        return self.file["services"]

    def _prepare(self, name: str) -> None:
        spec = self._specs()[name]
        place = self.folder / "run" / name
        place.mkdir()
        (self.folder / "tmp" / name).mkdir()
        given = place / "secrets"
        given.mkdir()
        for secret in spec.get("secrets", []):
            path = Path(self.file["secrets"][secret]["file"])
            shutil.copy(path, given / secret)
        for config in spec.get("configs", []):
            path = DOCKER / self.file["configs"][config["source"]]["file"]
            (place / config["source"]).write_text(
                self._text(name, path.read_text("utf-8")), "utf-8"
            )
            (place / config["source"]).chmod(0o755)
        environment = {
            key: self._text(name, str(value)) for key, value in spec.get("environment", {}).items()
        }
        env = {
            "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(ROOT),  # the image has the package installed
            "CFT_SECRETS_DIR": str(given),
            **environment,
        }
        self.services[name] = Service(name, spec, self.folder / "logs" / f"{name}.log", env)

    def _text(self, name: str, text: str) -> str:
        """A word of the file, with this host's ports, hosts and paths."""
        if text.startswith(LEFT_ALONE):
            return text
        place = self.folder / "run" / name
        spec = self._specs()[name]
        paths = {SECRETS: place / "secrets", "/opt/cft/docker": DOCKER}
        paths |= {one["target"]: place / one["source"] for one in spec.get("configs", [])}
        for volume in spec.get("volumes", []):
            source, target = volume.split(":")[:2]
            paths[target] = self.folder / "volumes" / Path(source).name
        for mount in spec.get("tmpfs", []):
            paths.setdefault(mount.split(":")[0], self.folder / "tmp" / name)
        inside = "|".join(map(re.escape, sorted(paths, key=len, reverse=True)))
        text = re.sub(rf"(?<![\w/.])({inside})(?=/|$|\s)", lambda one: str(paths[one[0]]), text)
        ports = "|".join(map(str, self.ports))
        text = re.sub(rf"(?<!\w)({ports})(?!\w)", lambda one: str(self.ports[int(one[0])]), text)
        text = text.replace("0.0.0.0", "127.0.0.1")
        return re.sub(rf"(?<![\w-])({'|'.join(HOSTS)}):(?=\d)", "127.0.0.1:", text)

    def _words(self, name: str, words: list[str]) -> list[str]:
        ours = {"cft-entrypoint": str(DOCKER / "entrypoint.sh")}
        return [ours.get(word) or self._text(name, word) for word in words]

    def _entrypoint(self, name: str) -> list[str]:
        return self._words(name, self._specs()[name].get("entrypoint", []))

    def _command(self, name: str) -> list[str]:
        command = self._words(name, self._specs()[name].get("command", []))
        if name == "objects":  # the image is another one than the server here
            command = ["moto_server", "-H", "127.0.0.1", "-p", str(self.ports[9000])]
        return [*self._entrypoint(name), *command]

    def _start(self, name: str) -> None:
        service = self.services[name]
        if self.processes(name):
            return
        for volume in service.spec.get("volumes", []):
            (self.folder / "volumes" / Path(volume.split(":")[0]).name).mkdir(exist_ok=True)
        command, script = self._command(name), None
        if name == "postgres":
            command, script = self._postgres(command[1:])
        with service.log.open("ab") as log:
            service.process = subprocess.Popen(
                command, cwd=self.folder / "tmp" / name if name != "postgres" else "/",
                env=service.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        if script:
            self.accepts_connections()
            access = {"PGHOST": "127.0.0.1", "PGPORT": str(self.ports[5432])}
            access["PGPASSWORD"] = self.secret("postgres_password")
            subprocess.run([script], env=service.env | access, check=True)

    def _postgres(self, options: list[str]) -> tuple[list[str], Path | None]:
        """What PostgreSQL's image does: a cluster where there is none, then the script, once."""
        service = self.services["postgres"]
        owner = [] if os.getuid() else ["runuser", "-u", "postgres", "--"]
        data = self.folder / "volumes" / "postgres"
        server, initdb = program("postgres"), program("initdb")
        assert server is not None
        assert initdb is not None
        fresh = not (data / "PG_VERSION").exists()
        if fresh:
            password = self.folder / "tmp" / "postgres" / "password"
            shutil.copy(service.env["POSTGRES_PASSWORD_FILE"], password)
            if owner:
                for path in (data, password):
                    shutil.chown(path, "postgres", "postgres")
            how = service.env["POSTGRES_INITDB_ARGS"].split()
            subprocess.run(
                [*owner, initdb, "-D", data, "-U", "postgres", f"--pwfile={password}", *how],
                check=True, stdout=subprocess.DEVNULL, cwd="/",
            )  # fmt: skip
            password.unlink()
        here = ["-c", "listen_addresses=127.0.0.1", "-c", f"port={self.ports[5432]}"]
        here += ["-c", "unix_socket_directories="]
        script = self.folder / "run" / "postgres" / "postgres_init"
        return [*owner, server, "-D", str(data), *options, *here], script if fresh else None

    def accepts_connections(self) -> None:
        """Wait for a PostgreSQL that has no databases yet, and so is not healthy."""
        ask = ["pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(self.ports[5432])]
        deadline = time.monotonic() + 60
        while subprocess.run(ask).returncode:
            assert time.monotonic() < deadline, self.log("postgres")[-3000:]
            time.sleep(0.1)

    def _wait(self, name: str, seconds: float = 400) -> None:
        service = self.services[name]
        assert service.process is not None, f"{name}: needed, and not started"
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            code = service.process.poll()
            if service.one_shot and code == 0:
                return
            if code is not None:
                break
            if not service.one_shot and self.healthy(name):
                return
            time.sleep(0.3)
        raise AssertionError(f"{name}: not up after {seconds} s: {self.log(name)[-3000:]}")

    def healthy(self, name: str) -> bool:
        """Whether the health check of the file says so."""
        if name == "objects":  # moto has no page of health
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.ports[9000])) == 0
        way, *words = self._words(name, self.services[name].spec["healthcheck"]["test"])
        command = words if way == "CMD" else ["sh", "-c", *words]
        done = subprocess.run(command, env=self.services[name].env, capture_output=True, timeout=60)
        return done.returncode == 0

    def _stop(self, name: str) -> None:
        service = self.services[name]
        family = self.processes(name)
        if family:
            number = signal.SIGINT if name == "postgres" else signal.SIGTERM
            os.killpg(family[0].pid, number)
            psutil.wait_procs(family, timeout=30)
            for process in family:
                if process.is_running():
                    process.kill()
        if service.process is not None:
            service.process.wait()
            service.process = None
