"""Requests to Lambda Cloud: how often, how long, how often again, and what an answer means."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from tasks.machine.provider.clock import SystemRentalClock
from tasks.machine.provider.errors import (
    CapacityError,
    ProviderError,
    UnavailableError,
    UnknownMachineError,
)
from tasks.machine.provider.pacing import Pacer, backoff, pacer_of
from tasks.machine.provider.protocol import Order
from tests.lambda_account import A10, EPOCH, SSH_KEY, Fault
from tests.renting import SHORT_SECONDS, Account, running

ORDER = Order("cft-test", A10, "us-east-1", SSH_KEY, {"cft-owner": "abcd"})
LAUNCH = "POST /instance-operations/launch"
LIST = "GET /instances"
NO_ANSWER = ["429", "500", "timeout", "drop", "html", "garbage", "trickle"]


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    yield from running(tmp_path)


@pytest.mark.parametrize("what", NO_ANSWER)
def test_a_question_is_asked_again_until_it_is_answered(account: Account, what: str) -> None:
    machine = account.cloud.add("somebody's")
    account.short_of_time(what)
    account.cloud.faults = [Fault(what, LIST, times=2)]
    assert [one.id for one in account.provider.instances()] == [machine.id]
    assert len(account.cloud.requests) == 3


@pytest.mark.parametrize("what", NO_ANSWER)
def test_a_question_without_an_answer_is_an_error_and_never_an_empty_list(
    account: Account, what: str
) -> None:
    account.cloud.faults = [Fault(what, LIST, times=99)]
    provider = account.client(read_tries=2, request_seconds=SHORT_SECONDS)
    with pytest.raises(UnavailableError, match=r"Lambda Cloud: GET /instances: "):
        provider.instances()
    assert len(account.cloud.requests) == 2


@pytest.mark.parametrize("what", NO_ANSWER)
@pytest.mark.parametrize("after", [False, True])
def test_a_launch_is_sent_once_whatever_the_answer(
    account: Account, what: str, after: bool
) -> None:
    account.short_of_time(what)
    account.cloud.faults = [Fault(what, LAUNCH, after=after)]
    with pytest.raises(UnavailableError):
        account.provider.launch(ORDER)
    assert len(account.cloud.launches()) == 1
    assert len(account.cloud.living) == after


def test_no_answer_takes_longer_than_it_may_even_one_that_trickles(account: Account) -> None:
    account.cloud.faults = [Fault("trickle", LIST)]
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="no answer"):
        account.client(read_tries=1, request_seconds=SHORT_SECONDS).instances()
    assert time.monotonic() - began < SHORT_SECONDS + 5


def test_a_provider_that_is_not_there_is_unavailable(account: Account) -> None:
    # Port 1 of this host answers nobody.
    with pytest.raises(UnavailableError, match=r"no answer \(ConnectError\)"):
        account.client(base_url="http://127.0.0.1:1/api/v1", read_tries=2).offers()


@pytest.mark.parametrize(
    ("status", "code", "kind", "says"),
    [
        (401, "global/invalid-api-key", ProviderError, "set LAMBDA_API_KEY"),
        (403, "global/account-inactive", ProviderError, "look at the account"),
        (400, "global/quota-exceeded", ProviderError, "higher quota"),
        (400, "global/invalid-parameters", ProviderError, "mend the request"),
        (400, "instance-operations/launch/insufficient-capacity", CapacityError, "another region"),
        # Not its status decides, but its code: this one comes from upstream.
        (400, "provider/internal-unavailable", UnavailableError, "try again later"),
        (400, "global/internal-error", UnavailableError, "try again later"),
        (404, "global/object-does-not-exist", UnknownMachineError, "it is gone"),
    ],
)
def test_the_code_of_an_error_decides(
    account: Account, status: int, code: str, kind: type[ProviderError], says: str
) -> None:
    account.cloud.faults = [Fault("error", LAUNCH, status=status, code=code, message="not  now")]
    with pytest.raises(ProviderError, match=says) as caught:
        account.provider.launch(ORDER)
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert f"{status} {code} (not now)" in str(caught.value)


def test_a_text_that_speaks_of_capacity_decides_nothing(account: Account) -> None:
    account.cloud.faults = [
        Fault("error", LAUNCH, status=400, code="global/invalid-parameters", message=what)
        for what in ["insufficient-capacity", "object-does-not-exist"]
    ]
    for _ in range(2):
        with pytest.raises(ProviderError) as caught:
            account.provider.launch(ORDER)
        assert type(caught.value) is ProviderError


@pytest.mark.parametrize("status", [400, 404, 502])
def test_a_page_for_people_says_nothing_of_a_machine(account: Account, status: int) -> None:
    machine = account.cloud.add()
    account.cloud.faults = [Fault("html", times=99, status=status)]
    provider = account.client(read_tries=2)
    with pytest.raises(UnavailableError):
        provider.describe(machine.id)
    with pytest.raises(UnavailableError):
        provider.terminate(machine.id)


def test_a_machine_is_unknown_by_its_code_alone(account: Account) -> None:
    assert account.provider.describe("feed") is None
    account.provider.terminate("feed")  # no error
    account.cloud.faults = [Fault("error", status=404, code="global/no-such-path")]
    with pytest.raises(ProviderError, match="global/no-such-path"):
        account.provider.describe("feed")


def test_an_id_stays_one_part_of_the_path(account: Account) -> None:
    account.provider.describe("a/../../instance-types?x=1")
    assert account.cloud.requests[0].path == "/instances/a%2F..%2F..%2Finstance-types%3Fx%3D1"


def test_a_redirect_is_not_followed_with_the_key(account: Account) -> None:
    account.cloud.faults = [Fault("redirect", message="https://elsewhere.example/api?x=1")]
    with pytest.raises(ProviderError, match=r"sends to elsewhere.example; set base_url"):
        account.provider.offers()
    assert len(account.cloud.requests) == 1


def test_requests_and_launches_keep_their_distance_on_the_clock(account: Account) -> None:
    for _ in range(3):
        account.provider.launch(ORDER)
        account.client().instances()  # another client of the same process
    times = [one.time for one in account.cloud.launches()]
    assert all(12 <= b - a < 14 for a, b in itertools.pairwise(times))
    assert account.cloud.too_fast() == []


def test_threads_keep_the_distance_together() -> None:
    pacer, clock = Pacer(0.1, 12), SystemRentalClock()
    began = time.monotonic()
    threads = [threading.Thread(target=pacer.wait, args=(clock,)) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert 0.5 <= time.monotonic() - began < 20


def test_there_is_one_pacer_for_all_clients_of_an_address() -> None:
    assert pacer_of("one", 1, 12) is pacer_of("one", 1, 12)
    assert pacer_of("one", 1, 12) is not pacer_of("two", 1, 12)


def test_a_launch_that_waits_for_its_turn_keeps_no_other_request_waiting() -> None:
    class Clock:
        def __init__(self) -> None:
            self.at = 50.0
            self.hook: Callable[[], None] = lambda: None

        def now(self) -> float:
            return self.at

        def sleep(self, seconds: float) -> None:
            hook, self.hook = self.hook, lambda: None
            hook()
            self.at += seconds

    clock, pacer, sent = Clock(), Pacer(1, 12), []
    pacer.wait(clock, launch=True)
    clock.at += 1
    clock.hook = lambda: (pacer.wait(clock), sent.append(clock.at))
    pacer.wait(clock, launch=True)
    assert sent == [51.0]
    assert clock.at == 62.0


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("40", 40, 60),
        (formatdate(EPOCH + 100, usegmt=True), 95, 140),
        (formatdate(EPOCH - 1000, usegmt=True), 1, 40),
        ("soon", 1, 40),
        ("-5", 1, 40),
        ("1e9", 1, 40),
        (None, 1, 40),
        # Longer than anybody can wait who has a machine to release.
        ("86400", 900, 940),
    ],
)
def test_the_wish_to_wait_is_heeded(
    account: Account, header: str | None, least: float, most: float
) -> None:
    account.cloud.faults = [Fault("429", LIST, retry_after=header)]
    account.provider.instances()
    first, second = account.cloud.requests
    assert least <= second.time - first.time <= most


def test_the_wish_to_wait_holds_for_every_client_and_for_launches(account: Account) -> None:
    account.cloud.faults = [Fault("429", LIST, retry_after="300")]
    with pytest.raises(UnavailableError) as caught:
        account.client(read_tries=1).instances()
    assert caught.value.retry_after == 300
    account.client().launch(ORDER)
    assert account.cloud.requests[1].time - account.cloud.requests[0].time >= 300


def test_pauses_grow_up_to_a_bound_and_are_random_down_to_nothing() -> None:
    for attempt, bound in ((0, 2), (1, 4), (3, 16), (4, 30), (5000, 30)):
        drawn = [backoff(attempt, 2, 30) for _ in range(400)]
        assert min(drawn) < bound / 4
        assert bound * 3 / 4 < max(drawn) <= bound
