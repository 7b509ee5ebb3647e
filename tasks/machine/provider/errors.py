"""What can go wrong between a wish for a machine and the machine."""

from cft.errors import CftError


class ProviderError(CftError):
    """The provider refused, and asking again the same way is of no use.

    Attributes:
        code: the provider's own word for it; empty where it gave none.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class CapacityError(ProviderError):
    """The machine is sold out where it was asked for: elsewhere or later there may be one."""


class UnavailableError(ProviderError):
    """No answer that can be relied on: the request may have been carried out or not.

    Attributes:
        retry_after: seconds that the provider asks to wait; 0 where it did not say.
    """

    def __init__(self, message: str, code: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message, code)
        self.retry_after = retry_after


class UnknownMachineError(ProviderError):
    """The provider says, in its own words, that there is no such machine."""


class PriceError(CftError):
    """Everything that would do costs more than may be spent."""


class NoMachineError(CftError):
    """No machine came up in the time, or within the number of tries, that was given."""


class BadMachineError(Exception):
    """Raised by a readiness probe: this host will never do (CUDA error 802), take another."""


class ReleaseError(CftError):
    """A machine is still there, and still paid for, after all attempts to give it back."""


class BusyError(CftError):
    """Another process is at work on the same machine or for the same job."""
