"""A local port that leads through a real SSH server, and outlives its connection."""

import http.client
import http.server
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cft.errors import CftError
from tasks.machine.ssh.connection import Connection
from tasks.machine.ssh.known_hosts import KnownHosts
from tasks.machine.ssh.tunnel import Tunnel
from tests.integration.server import free_port
from tests.processes import until
from tests.sshd import Sshd, Wire, needs_sshd, running

pytestmark = [pytest.mark.integration, needs_sshd]


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


@pytest.fixture
def wire(server):
    wire = Wire(server.port)
    yield wire
    wire.close()


@pytest.fixture
def there(server, wire, tmp_path):
    settings = server.settings(port=wire.port, heartbeat_seconds=1, dead_seconds=4)
    with Connection(settings, KnownHosts(tmp_path / "hosts")) as connection:
        yield connection


def ask(port, body=b"hello"):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("POST", "/", body)
    answer = client.getresponse().read()
    client.close()
    return answer


def answered(port):
    try:
        return ask(port) == b"olleh"
    except (OSError, http.client.HTTPException):
        return False


def test_many_streams_both_ways(there, web) -> None:
    with Tunnel(there, web) as tunnel, ThreadPoolExecutor(12) as pool:
        bodies = [bytes([number]) * number * 20_000 + b"end" for number in range(1, 13)]
        answers = list(pool.map(lambda body: ask(tunnel.local_port, body), bodies))
        assert answers == [body[::-1] for body in bodies]
        assert tunnel._listener.getsockname()[0] == "127.0.0.1", "nobody else may come in"
        assert there.run("echo beside").stdout == "beside\n"


@pytest.mark.parametrize("how", ["killed", "cut", "silent"])
def test_it_heals(there, web, server, wire, how) -> None:
    with Tunnel(there, web) as tunnel:
        kept = http.client.HTTPConnection("127.0.0.1", tunnel.local_port, timeout=60)
        kept.request("POST", "/", b"hello")
        assert kept.getresponse().read() == b"olleh"
        if how == "killed":
            server.kill_sessions()
        elif how == "cut":
            wire.cut()
        else:
            wire.silence()
        assert kept.sock.recv(10) == b"", "a stream over a dead connection ends"
        wire.resume()
        until(lambda: answered(tunnel.local_port), 90)


def test_nothing_listens_there_yet(there) -> None:
    port = free_port()
    with Tunnel(there, port) as tunnel:
        assert not answered(tunnel.local_port)
        late = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answers)
        threading.Thread(target=late.serve_forever, daemon=True).start()
        assert answered(tunnel.local_port)
        late.shutdown()
        late.server_close()


def test_closing_frees_the_port_and_every_stream(there, web) -> None:
    tunnel = Tunnel(there, web)
    idle = socket.create_connection(("127.0.0.1", tunnel.local_port))
    until(lambda: tunnel._streams, 30)
    with pytest.raises(CftError, match=f"port {tunnel.local_port}: cannot listen there"):
        Tunnel(there, web, tunnel.local_port)
    tunnel.close()
    idle.settimeout(30)
    assert idle.recv(10) == b""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", tunnel.local_port), timeout=10)
    assert there.run("echo on").stdout == "on\n", "the connection is not the tunnel's"
