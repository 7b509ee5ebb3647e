"""From settings to a link: reach the host, check its key, be let in; errors say what to do."""

import logging
import socket
import threading
import time
from typing import Any

import paramiko

from cft.errors import one_line
from tasks.machine.ssh.errors import (
    AuthenticationError,
    HostKeyError,
    SshError,
    TransientSshError,
)
from tasks.machine.ssh.keys import keys_of
from tasks.machine.ssh.known_hosts import HostKey, KnownHosts, Pin, mismatch
from tasks.machine.ssh.link import Link, WatchedSocket
from tasks.machine.ssh.settings import HostSettings, SshSettings

# Whatever it logs as an error is raised here as one; its tracebacks help only who debugs it.
_TRANSPORT_LOG = "cft.ssh.transport"
logging.getLogger(_TRANSPORT_LOG).setLevel(logging.CRITICAL)

_FAST = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_RSA = ("rsa-sha2-512", "rsa-sha2-256")


def connect(
    settings: SshSettings, known_hosts: KnownHosts, jump_known_hosts: KnownHosts | None = None
) -> Link:
    """Connect to a host, through the one before it where there is one.

    Args:
        settings: of the host.
        known_hosts: where its key is kept, or will be.
        jump_known_hosts: the same for the host before it; by default one file serves both.

    Raises:
        TransientSshError: the host or the network is away; try again.
        HostKeyError: the host is not the one that is known.
        AuthenticationError: no key of ours opens it.
        SshError: anything else that a person has to mend.
    """
    if settings.jump is None:
        return _link(settings, settings, known_hosts, _dial(settings, settings.connect_seconds))
    jump = settings.jump
    before = _link(
        jump, settings, jump_known_hosts or known_hosts, _dial(jump, settings.connect_seconds)
    )
    try:
        wire = before.transport.open_channel(
            "direct-tcpip",
            (settings.host, settings.port),
            ("127.0.0.1", 0),
            timeout=settings.connect_seconds,
        )
        return _link(settings, settings, known_hosts, wire, before)
    except paramiko.ChannelException as error:
        before.close()
        # 1: it forbids forwarding. Anything else may be a host that is not up yet.
        kind = SshError if error.code == 1 else TransientSshError
        raise kind(
            f"{jump.address}: does not lead to {settings.host}:{settings.port} ({error.text}); "
            "check the address, and AllowTcpForwarding of the host in between"
        ) from None
    except paramiko.SSHException as error:
        before.close()
        raise TransientSshError(
            f"{settings.address}: not reached through {jump.address} ({one_line(error)})"
        ) from None
    except BaseException:
        before.close()
        raise


def _dial(host: HostSettings, seconds: float) -> socket.socket:
    try:
        wire = socket.create_connection((host.host, host.port), timeout=seconds)
    except socket.gaierror as error:
        kind = TransientSshError if error.errno == socket.EAI_AGAIN else SshError
        raise kind(f"{host.address}: no such host ({error.strerror}); check host") from None
    except TimeoutError:
        raise TransientSshError(f"{host.address}: no answer within {seconds:.3g} s") from None
    except OSError as error:
        raise TransientSshError(f"{host.address}: {error.strerror or error}") from None
    # Paramiko never sets it, and every short command would wait for the answer to the one before.
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    return wire


def _link(
    host: HostSettings,
    settings: SshSettings,
    known_hosts: KnownHosts,
    inner: Any,
    before: Link | None = None,
) -> Link:
    wire = WatchedSocket(inner)
    try:
        # Before anything is said: a key that cannot be read needs no connection to be told.
        keys = keys_of(host)
        transport = _greet(host, settings.connect_seconds, known_hosts, wire)
        try:
            _check_key(host, known_hosts, transport)
            transport.auth_timeout = settings.authentication_seconds
            _let_in(host, transport, keys)
        except BaseException:
            wire.close()
            transport.close()
            raise
    except BaseException:
        wire.close()
        raise
    return Link(transport, wire, settings, before)


def _greet(
    host: HostSettings, seconds: float, known_hosts: KnownHosts, wire: WatchedSocket
) -> paramiko.Transport:
    """A transport after the exchange of keys, which proves that the host has its private one."""
    transport = paramiko.Transport(wire)
    transport.set_log_channel(_TRANSPORT_LOG)
    transport.daemon = True
    transport.banner_timeout = seconds + 5  # the deadline below comes first
    options = transport.get_security_options()
    fast = [one for one in _FAST if one in options.ciphers]
    options.ciphers = (*fast, *(one for one in options.ciphers if one not in fast))
    # The kinds of key that are known of the host are asked for first: it may have others as well.
    known = _known_kinds(host, known_hosts)
    wanted = [one for one in options.key_types if one in known]
    options.key_types = (*wanted, *(one for one in options.key_types if one not in wanted))

    done, deadline = threading.Event(), time.monotonic() + seconds
    transport.start_client(done)
    # By itself it neither ends in time nor says that it did not.
    while not done.wait(0.05) and transport.is_active() and time.monotonic() < deadline:
        pass
    if transport.is_active() and done.is_set():
        return transport
    error = transport.get_exception()
    late = transport.is_active()
    wire.close()
    transport.close()
    if late or error is None or isinstance(error, (EOFError, OSError)):
        why = f"no SSH handshake within {seconds:.3g} s" if late else "closed during the handshake"
        raise TransientSshError(f"{host.address}: {why}")
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        raise SshError(
            f"{host.address}: no common algorithms ({one_line(error)}); its SSH server is too old"
        )
    text = one_line(error)
    if "Error reading SSH protocol banner" in text or "Invalid packet" in text:
        # Also what a host that is just booting shows, or one that has too many at its door.
        raise TransientSshError(f"{host.address}: no SSH server answers there ({text})")
    raise TransientSshError(f"{host.address}: {text}")


def _known_kinds(host: HostSettings, known_hosts: KnownHosts) -> set[str]:
    if host.host_key is not None:
        kind = Pin.parse(host.host_key).kind
        kinds = {kind} if kind else set()
    else:
        kinds = {key.kind for key in known_hosts.keys(host.host, host.port)}
    return kinds | set(_RSA) if "ssh-rsa" in kinds else kinds


def _check_key(host: HostSettings, known_hosts: KnownHosts, transport: paramiko.Transport) -> None:
    shown = transport.get_remote_server_key()
    key = HostKey(shown.get_name(), shown.asbytes())
    if host.host_key is None:
        known_hosts.remember(host.host, host.port, key)
        return
    expected = Pin.parse(host.host_key).fingerprint
    if key.blob in known_hosts.revoked():
        raise HostKeyError(f"{host.address}: its key {key.fingerprint} is revoked")
    if key.fingerprint != expected:
        raise mismatch(host.address, expected, key, "change host_key")


def _let_in(host: HostSettings, transport: paramiko.Transport, keys: list[paramiko.PKey]) -> None:
    shown = ", ".join(f"{key.get_name()} {key.fingerprint}" for key in keys)
    for key in keys:
        try:
            more = transport.auth_publickey(host.user, key)
        except paramiko.BadAuthenticationType as error:
            raise AuthenticationError(
                f"{host.address}: the host takes no keys, only {', '.join(error.allowed_types)}; "
                "allow PubkeyAuthentication there"
            ) from None
        except paramiko.AuthenticationException as error:
            if "timeout" in one_line(error).lower():
                raise TransientSshError(
                    f"{host.address}: no answer to the key within {transport.auth_timeout:g} s"
                ) from None
            if not transport.is_active():
                break  # it hung up: after too many strangers, or on this user
            continue
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise TransientSshError(f"{host.address}: {one_line(error)}") from None
        if not more:
            return
        raise AuthenticationError(
            f"{host.address}: after the key the host wants {', '.join(more)} as well, which cannot "
            "be given here; allow the key alone for this user"
        )
    raise AuthenticationError(
        f"{host.address}: the host refused {shown}; put the public key into "
        f"~{host.user}/.ssh/authorized_keys there, or check user and identity"
    )
