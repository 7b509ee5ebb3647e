"""Requests to the API of Lambda Cloud: paced, bounded, and read as an answer or as an error."""

import contextlib
import ipaddress
import json
import logging
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from cft.errors import CftError
from tasks.machine.provider.clock import RentalClock
from tasks.machine.provider.errors import (
    CapacityError,
    ProviderError,
    UnavailableError,
    UnknownMachineError,
)
from tasks.machine.provider.pacing import backoff, pacer_of
from tasks.machine.provider.settings import LambdaSettings

logger = logging.getLogger("cft.machine")

KEY_VARIABLE = "LAMBDA_API_KEY"
# The API allows 1 request a second and a launch every 12 s. A little more, since two requests do
# not travel equally long.
REQUEST_SECONDS = 1.1
LAUNCH_SECONDS = 12.5
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_RETRY_AFTER = 900.0  # a wish to wait longer is a mistake, and a release cannot
LARGEST_ANSWER = 16 * 1024 * 1024  # bytes

NO_CAPACITY = "instance-operations/launch/insufficient-capacity"
NO_SUCH_OBJECT = "global/object-does-not-exist"
# What a person can do about a refusal, by its code.
MENDS = {
    "global/invalid-api-key": f"set {KEY_VARIABLE} to a valid key of the account",
    "global/account-inactive": "look at the account in Lambda's console",
    "global/invalid-address": "complete the account's address in Lambda's console",
    "global/quota-exceeded": "end other machines or ask Lambda for a higher quota",
}


class LambdaHttp:
    """The API as calls that return its ``data`` or raise one of our errors.

    Every request has a connection of its own: one that is kept open may be closed by the other
    side at the moment of a launch, and then nobody knows whether the launch arrived.

    Args:
        settings: where and how.
        key: of the API; it goes into the header of a request and nowhere else.
        clock: by which all waiting is done.
        transport: of httpx, for tests.

    Raises:
        CftError: the address would send the key in clear, or the key cannot be one.
    """

    def __init__(
        self,
        settings: LambdaSettings,
        key: SecretStr,
        clock: RentalClock,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = settings.base_url.rstrip("/")
        self._in_clear = _checked(self.base_url)
        # httpx would show a key with a line break in its error.
        if not re.fullmatch(r"[\x21-\x7e]{1,512}", key.get_secret_value()):
            raise CftError(
                f"{KEY_VARIABLE}: not an API key (empty, or with blanks, line breaks or "
                "letters outside ASCII); copy it again from Lambda's console"
            )
        self._key = key
        self._settings = settings
        self._clock = clock
        self._transport = transport
        self._pacer = pacer_of(self.base_url, REQUEST_SECONDS, LAUNCH_SECONDS)
        self._tls = None if self._in_clear else ssl.create_default_context()

    def __repr__(self) -> str:
        return f"LambdaHttp({self.base_url!r})"

    def read(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Ask a question, again while there is no answer that can be relied on.

        Returns:
            The whole answer, with ``data`` in it.

        Raises:
            UnavailableError: no try was answered.
            ProviderError: the answer is a refusal.
        """
        for attempt in range(self._settings.read_tries):
            if attempt:
                self._clock.sleep(backoff(attempt - 1, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))
            try:
                return self._once("GET", path, query=query)
            except UnavailableError as error:
                logger.debug("%s", error)
                last = error
        raise last

    def send(self, path: str, body: Mapping[str, Any], launch: bool = False) -> dict[str, Any]:
        """Ask for something to be done, once. After UnavailableError it may have been done.

        Raises:
            UnavailableError: no answer that can be relied on.
            ProviderError: the answer is a refusal.
        """
        return self._once("POST", path, body=body, launch=launch)

    def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        launch: bool = False,
    ) -> dict[str, Any]:
        what = f"Lambda Cloud: {method} {path}"
        self._pacer.wait(self._clock, launch)
        try:
            response = _within(
                self._settings.request_seconds, lambda: self._exchange(method, path, query, body)
            )
            problem = ""
        except (httpx.HTTPError, httpx.StreamError, OSError, ValueError) as error:
            # The error itself knows the request and with it the key: only its kind goes on.
            problem = type(error).__name__
        if problem:
            raise UnavailableError(f"{what}: no answer ({problem}); it is down or out of reach")
        return self._read_answer(what, response)

    def _exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
    ) -> "_Response":
        seconds = self._settings.request_seconds
        with httpx.Client(
            verify=self._tls if self._tls is not None else False,
            # A proxy may see an encrypted request only; none is between here and here.
            trust_env=not self._in_clear,
            follow_redirects=False,  # the key is for this address
            timeout=seconds,
            transport=self._transport,
            headers={"Authorization": f"Bearer {self._key.get_secret_value()}"},
        ) as client:
            request = client.build_request(
                method, self.base_url + path, params=dict(query) if query else None, json=body
            )
            with contextlib.closing(client.send(request, stream=True)) as response:
                content = b""
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > LARGEST_ANSWER:
                        raise ValueError("the answer has no end")
            return _Response(
                response.status_code,
                content,
                response.headers.get("retry-after", ""),
                response.headers.get("location", ""),
            )

    def _read_answer(self, what: str, response: "_Response") -> dict[str, Any]:
        status = response.status
        content = response.json()
        if 200 <= status < 300:
            if isinstance(content, dict) and "data" in content:
                return content
            raise UnavailableError(f"{what}: {status} without data; it is not the API that answers")
        if 300 <= status < 400:
            host = urlsplit(response.location).hostname or "nowhere"
            raise ProviderError(
                f"{what}: it sends to {host}; set base_url to the present address of the API"
            )
        code, said = _error_of(content)
        told = f"{what}: {status} {code}".rstrip() + (f" ({self._redacted(said)})" if said else "")
        if status == 429:
            wait = _retry_after(response.retry_after, self._clock.time())
            self._pacer.hold(self._clock, wait)
            raise UnavailableError(f"{told}: too many requests; ask less often", code, wait)
        if status >= 500 or code.startswith("provider/") or code == "global/internal-error":
            raise UnavailableError(f"{told}: it fails at the moment; try again later", code)
        if not code:  # of a proxy, or of something else at this address
            raise UnavailableError(f"{told}: not in the API's form; check base_url")
        if code == NO_CAPACITY:
            raise CapacityError(f"{told}; try another region or type, or later", code)
        if code == NO_SUCH_OBJECT:
            raise UnknownMachineError(f"{told}; it is gone, or was never there", code)
        raise ProviderError(f"{told}; {MENDS.get(code, 'mend the request')}", code)

    def _redacted(self, text: str) -> str:
        return text.replace(self._key.get_secret_value(), "***")[:300]


class _Response:
    """What came back, without the request that knows the key."""

    def __init__(self, status: int, content: bytes, retry_after: str, location: str) -> None:
        self.status = status
        self.content = content
        self.retry_after = retry_after
        self.location = location

    def json(self) -> Any:
        """The content; None when it is no JSON."""
        try:
            return json.loads(self.content)
        except ValueError:
            return None


def _checked(base_url: str) -> bool:
    """Whether the way to an address is not encrypted, which it may be on this host alone.

    Raises:
        CftError: it is no address, or the key would be read on the way.
    """
    try:
        parts = urlsplit(base_url)
        httpx.URL(base_url)
        host = parts.hostname or ""
    except (ValueError, httpx.InvalidURL):
        raise CftError(f"base_url: {base_url!r} is no address; write https://...") from None
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if parts.username or parts.password:
        raise CftError("base_url: it holds a user or password; leave them out")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
        raise CftError(f"base_url: {base_url}: the API key would go there in clear; use https")
    return parts.scheme == "http"


def _error_of(content: Any) -> tuple[str, str]:
    """The code of an error and what is said about it; empty where there is none."""
    error = content.get("error") if isinstance(content, dict) else None
    if not isinstance(error, dict):
        return "", ""
    code = error.get("code")
    if not isinstance(code, str) or not re.fullmatch(r"[\w./-]{1,120}", code):
        return "", ""
    said = (error.get("message"), error.get("suggestion"))
    return code, " ".join(" ".join(one.split()) for one in said if isinstance(one, str))


def _retry_after(header: str, time: float) -> float:
    """Seconds that a Retry-After header asks to wait, given as such or as a date."""
    text = header.strip()
    if re.fullmatch(r"\d{1,9}", text):
        return min(float(text), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except ValueError:
        return 0.0
    return min(max(0.0, moment - time), LONGEST_RETRY_AFTER)


def _within(seconds: float, work: Callable[[], _Response]) -> _Response:
    """Do something in bounded time: httpx bounds every read, and a server may trickle for ever.

    Raises:
        TimeoutError: it is not done. It goes on in its thread, which ends with its sockets or
            with the process.
    """
    ended: list[_Response | BaseException] = []

    def run() -> None:
        try:
            ended.append(work())
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run, name="cft-lambda", daemon=True)
    thread.start()
    thread.join(seconds)
    if not ended:
        raise TimeoutError
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]
