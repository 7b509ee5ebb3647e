"""What can go wrong between here and a host, told apart by what mends it."""

from cft.errors import CftError


class SshError(CftError):
    """Trying again does not help: settings, keys or the host itself must change first."""


class TransientSshError(SshError):
    """Trying again may help: the host is not up yet, or the network is away."""


class HostKeyError(SshError):
    """The host does not show the key that is known of it."""


class AuthenticationError(SshError):
    """The host does not let us in, or there is no key to show it."""
