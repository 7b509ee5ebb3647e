"""What the tests of renting share: an account, a ledger and a client of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from tasks.machine.provider.alarm import Alarm
from tasks.machine.provider.lambda_cloud import LambdaCloud
from tasks.machine.provider.launch import Wish
from tasks.machine.provider.ledger import Entry, Ledger
from tasks.machine.provider.rent import Healthy, rent
from tasks.machine.provider.settings import LambdaSettings, RentSettings
from tests.lambda_account import A10, SSH_KEY, LambdaAccount
from tests.lambda_server import serve_lambda

# Of real time, before a request is given up: on a busy host an answer may take a while, and one
# that arrives after it was given up is one too many on the server's clock.
REQUEST_SECONDS = 60.0
SHORT_SECONDS = 1.0  # where there is no answer to be waited for


class Account:
    """One account of the provider, as one user of it works with it."""

    def __init__(self, cloud: LambdaAccount, folder: Path) -> None:
        self.cloud = cloud
        self.clock = cloud.clock
        self.ledger = Ledger(folder / "ledger")
        self.provider = self.client()
        self.alarms: list[Alarm] = []

    def client(
        self, key: str | None = None, transport: httpx.BaseTransport | None = None, **changes: Any
    ) -> LambdaCloud:
        settings = {
            "base_url": self.cloud.url,
            "request_seconds": REQUEST_SECONDS,
            "ssh_port": 2222,
            **changes,
        }
        return LambdaCloud(
            LambdaSettings(**settings),
            SecretStr(self.cloud.key if key is None else key),
            self.clock,
            transport,
        )

    def short_of_time(self, what: str) -> None:
        """Do not wait long for the answers that a fault of this kind keeps back."""
        if what in ("timeout", "trickle"):
            self.provider = self.client(request_seconds=SHORT_SECONDS)

    @property
    def entries(self) -> list[Entry]:
        found = self.ledger.entries()
        assert not found.unreadable
        return found.readable

    @property
    def states(self) -> list[str]:
        return [one.state for one in self.entries]

    def raw(self, key: str) -> dict[str, Any]:
        return json.loads((self.ledger.folder / f"{key}.json").read_text(encoding="utf-8"))


class Killed(BaseException):
    """The process ends here, as far as its own code can tell."""


class KillingTransport(httpx.BaseTransport):
    """Ends the process at a request.

    Args:
        at: the number of the request, from 0.
        after: whether the server carries it out first.
        path: of the requests that count; all by default.
        end: how the process ends.
    """

    def __init__(
        self, at: int, after: bool, path: str = "", end: Callable[[], None] | None = None
    ) -> None:
        self.at = at
        self.after = after
        self.path = path
        self.end = end
        self.count = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        hit = request.url.path.endswith(self.path)
        self.count += hit
        fatal = hit and self.count == self.at + 1
        if fatal and not self.after:
            self._end()
        with httpx.HTTPTransport(verify=False) as real:
            response = real.handle_request(request)
            content = response.read()
        if fatal:
            self._end()
        return httpx.Response(response.status_code, headers=response.headers, content=content)

    def _end(self) -> None:
        if self.end is not None:
            self.end()
        raise Killed


def wish(job: str = "run-1", ssh_key: str = SSH_KEY, **settings: Any) -> Wish:
    """One machine of the cheapest type."""
    return Wish(ssh_key, job, RentSettings(**{"instance_types": (A10,), **settings}))


def yes(entry: Entry) -> bool:
    """A machine that is ready as soon as it can be looked into."""
    return True


def running(folder: Path) -> Iterator[Account]:
    """An account for one test, which ends with a look at how fast it was asked."""
    with serve_lambda() as cloud:
        yield Account(cloud, folder)
        assert not cloud.crashes, cloud.crashes
        assert not (fast := cloud.too_fast()), fast


def entry_of(key: str = "0123456789ab", **changes: object) -> Entry:
    """An intent of run-1, with changes."""
    fields: dict[str, object] = {
        "key": key,
        "owner": "owner1",
        "state": "intent",
        "job": "run-1",
        "instance_type": "gpu_1x_a10",
        "region": "us-east-1",
        "cents_per_hour": 75,
        "max_cost": 25.0,
        "born": 1000,
        "deadline": 30_000,
    }
    return Entry.model_validate(fields | changes)


def rented(account: Account, healthy: Healthy = yes, **wished: Any) -> Entry:
    """What renting by this account gives."""
    return rent(
        account.provider,
        account.ledger,
        wish(**wished),
        account.clock,
        healthy,
        alarm=account.alarms.append,
    )
