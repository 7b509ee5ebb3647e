"""What is asked of Lambda Cloud, and what is made of its answers."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cft.errors import CftError
from tasks.machine.provider.errors import (
    ProviderError,
    UnavailableError,
)
from tasks.machine.provider.protocol import Order
from tests.lambda_account import A10, H100, SSH_KEY, Fault
from tests.lambda_server import basic
from tests.renting import Account, running

ORDER = Order("cft-test", A10, "us-east-1", SSH_KEY, {"cft-owner": "abcd"})
LAUNCH = "POST /instance-operations/launch"
LIST = "GET /instances"
NO_ANSWER = ["429", "500", "timeout", "drop", "html", "garbage", "trickle"]


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    yield from running(tmp_path)


def test_every_page_of_a_list_is_read(account: Account) -> None:
    made = [account.cloud.add(f"m{i}").id for i in range(7)]
    account.cloud.page_size = 3
    assert [one.id for one in account.provider.instances()] == made
    assert len(account.cloud.requests) == 3


def test_pages_that_go_in_circles_are_an_error(account: Account) -> None:
    for i in range(3):
        account.cloud.add(f"m{i}")
    account.cloud.page_size = 2
    account.cloud.faults = [Fault("repeat-token", LIST, times=99)]
    with pytest.raises(UnavailableError, match="in circles"):
        account.provider.instances()
    assert len(account.cloud.requests) <= 3


def test_a_page_that_does_not_come_makes_no_short_list(account: Account) -> None:
    for i in range(3):
        account.cloud.add(f"m{i}")
    account.cloud.page_size = 2
    account.cloud.faults = [Fault("500", LIST, skip=1, times=99)]
    with pytest.raises(UnavailableError):
        account.client(read_tries=2).instances()


@pytest.mark.parametrize(
    "row", [None, "x", {}, {"id": "", "status": "active"}, {"id": "a"}, {"id": 5, "status": "x"}]
)
def test_a_row_that_cannot_be_read_makes_no_short_list(account: Account, row: object) -> None:
    answer = account.cloud.answer
    account.cloud.answer = lambda *_: (200, {"data": [row]})  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match="not described"):
        account.provider.instances()
    account.cloud.answer = answer  # type: ignore[method-assign]
    assert account.provider.instances() == []


def test_what_is_strange_about_a_machine_does_not_hide_it(account: Account) -> None:
    row = {
        "id": "feed",
        "status": "alert",
        "name": None,
        "ip": "pending",
        "region": None,
        "instance_type": None,
        "tags": [{"key": "only"}, 5, {"key": "cft-owner", "value": "abcd"}],
        "brand_new_field": {},
    }
    account.cloud.answer = lambda *_: (200, {"data": [row]})  # type: ignore[method-assign]
    (machine,) = account.provider.instances()
    assert (machine.id, machine.status, machine.name, machine.ip) == ("feed", "alert", "", None)
    assert machine.tags == {"cft-owner": "abcd"}


def test_offers_are_by_type_and_region_and_tell_what_is_sold_out(account: Account) -> None:
    shown = [str(one) for one in account.provider.offers()]
    assert shown == [
        "gpu_1x_a10 in us-east-1 at $0.75/h",
        "gpu_1x_a10 in us-west-1 at $0.75/h",
        "gpu_1x_h100_pcie in us-west-3 at $2.49/h",
        "gpu_1x_gh200 (sold out) at $1.49/h",
    ]


def test_an_order_of_everything_is_taken_by_the_schema(account: Account) -> None:
    order = Order("n" * 64, H100, "us-west-3", SSH_KEY, {"a-b": "c"}, "lambda-stack-24-04", "#!sh")
    instance_id = account.provider.launch(order)
    assert account.cloud.machines[instance_id].name == "n" * 64
    assert account.cloud.requests[0].body["image"] == {"family": "lambda-stack-24-04"}
    assert account.cloud.requests[0].body["user_data"] == "#!sh"


def test_an_order_that_the_schema_refuses_is_a_refusal(account: Account) -> None:
    with pytest.raises(ProviderError, match=r"global/invalid-parameters \(name: at most 64"):
        account.provider.launch(Order("n" * 65, A10, "us-east-1", SSH_KEY))
    with pytest.raises(ProviderError, match="ssh_key_names"):
        account.provider.launch(Order("n", A10, "us-east-1", "nobody's"))
    assert account.cloud.living == []


def test_the_server_takes_both_ways_of_authentication_and_no_other_key(account: Account) -> None:
    for given, status in (
        (f"Bearer {account.cloud.key}", 200),
        (f"Basic {basic(account.cloud.key)}", 200),
        ("Bearer other", 401),
        ("", 401),
    ):
        account.clock.sleep(2)
        headers = {"Authorization": given} if given else {}
        url = f"{account.cloud.url}/instances"
        assert httpx.get(url, headers=headers, trust_env=False).status_code == status


def test_a_key_is_registered_once_by_its_content(account: Account) -> None:
    assert account.provider.register_key("mine", "ssh-ed25519 AAAA me@here") == SSH_KEY
    assert account.provider.register_key("mine", "ssh-ed25519 BBBB me@here") == "mine"
    assert account.provider.register_key("other", "ssh-ed25519 BBBB") == "mine"
    with pytest.raises(ProviderError, match="global/duplicate"):
        account.provider.register_key("mine", "ssh-ed25519 CCCC")
    account.cloud.faults = [Fault("500", "POST /ssh-keys", after=True)]
    assert account.provider.register_key("late", "ssh-ed25519 DDDD") == "late"
    with pytest.raises(CftError, match="public_key"):
        account.provider.register_key("none", "AAAA")
