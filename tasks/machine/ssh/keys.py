"""The keys that we show a host: one from a file, or those of the running agent."""

import os
from pathlib import Path
from typing import Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm

from cft.errors import one_line
from tasks.machine.ssh.errors import AuthenticationError
from tasks.machine.ssh.settings import HostSettings

MAX_OFFERS = 5  # sshd hangs up after six keys that it does not know


def keys_of(settings: HostSettings) -> list[paramiko.PKey]:
    """The keys to show, in order: that of the file alone, or some of the agent's.

    A key file that is configured is the only key shown: strangers would use up the host's patience
    before it is its turn.

    Raises:
        AuthenticationError: there is none, or it cannot be read.
    """
    if settings.identity is not None:
        return [_from_file(settings, settings.identity.expanduser())]
    if not settings.agent:
        raise AuthenticationError(
            f"{settings.address}: no identity file and no agent; set identity, or agent: true"
        )
    keys = _from_agent()
    if not keys:
        raise AuthenticationError(
            f"{settings.address}: no identity file is set and no agent with a key is running; "
            "set identity, or add a key with ssh-add"
        )
    return keys[:MAX_OFFERS]


def _from_file(settings: HostSettings, path: Path) -> paramiko.PKey:
    passphrase = None
    if settings.passphrase_variable is not None:
        passphrase = os.environ.get(settings.passphrase_variable)
        if not passphrase:
            raise AuthenticationError(
                f"{path}: its passphrase is expected in the environment variable "
                f"{settings.passphrase_variable}, which is not set"
            )
    try:
        # As bytes, whatever its signature says: a str is a TypeError, like a missing passphrase.
        secret: Any = None if passphrase is None else passphrase.encode()
        return paramiko.PKey.from_path(path, secret)
    except FileNotFoundError:
        raise AuthenticationError(f"{path}: no such key file; set identity") from None
    except OSError as error:
        raise AuthenticationError(
            f"{path}: the key file cannot be read ({error.strerror}); set identity"
        ) from None
    except TypeError:
        # Both ways round: an encrypted key without a passphrase, and a passphrase for a plain one.
        if passphrase is not None:
            return _from_file(settings.model_copy(update={"passphrase_variable": None}), path)
        if settings.agent and (held := _held_by_agent(path)) is not None:
            return held
        raise AuthenticationError(
            f"{path}: the key is encrypted; set passphrase_variable to the name of an environment "
            "variable that holds its passphrase, or add the key to an agent with ssh-add"
        ) from None
    except (ValueError, UnsupportedAlgorithm, paramiko.SSHException) as error:
        # Nothing of the text is shown where a passphrase is at stake.
        if passphrase is not None:
            raise AuthenticationError(
                f"{path}: the passphrase in {settings.passphrase_variable} does not open this "
                "key, or it is no private key"
            ) from None
        raise AuthenticationError(
            f"{path}: not a private key that can be used ({one_line(error)}); "
            "make one with ssh-keygen -t ed25519"
        ) from None


def _held_by_agent(path: Path) -> paramiko.PKey | None:
    """The agent's key whose public half lies beside an encrypted file."""
    try:
        words = path.with_name(path.name + ".pub").read_text("utf-8", "replace").split()
    except OSError:
        return None
    for key in _from_agent():
        if len(words) >= 2 and key.get_base64() == words[1]:
            return key
    return None


def _from_agent() -> list[paramiko.PKey]:
    try:
        return list(paramiko.Agent().get_keys())
    except (OSError, paramiko.SSHException):
        return []
