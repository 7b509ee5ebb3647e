"""The key of the API and the login secrets of machines stay where they belong."""

import logging
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from cft.errors import CftError
from tasks.machine.provider.clock import SystemRentalClock
from tasks.machine.provider.errors import (
    ProviderError,
)
from tasks.machine.provider.lambda_cloud import LambdaCloud, api_key
from tasks.machine.provider.protocol import Order
from tasks.machine.provider.settings import LambdaSettings
from tests.lambda_account import A10, JUPYTER_TOKEN, SSH_KEY, Fault
from tests.lambda_server import basic
from tests.renting import Account, running

ORDER = Order("cft-test", A10, "us-east-1", SSH_KEY, {"cft-owner": "abcd"})
LAUNCH = "POST /instance-operations/launch"
LIST = "GET /instances"
NO_ANSWER = ["429", "500", "timeout", "drop", "html", "garbage", "trickle"]


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    yield from running(tmp_path)


def test_secrets_reach_no_log_no_error_and_no_representation(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "cft.machine"):
        caplog.set_level(logging.DEBUG, logger=name)
    key = account.cloud.key
    account.cloud.add("one", born=-500.0)
    told: list[str] = [repr(account.provider), str(vars(account.provider))]
    told += [repr(one) for one in account.provider.instances()]
    echo = Fault("error", LAUNCH, times=1, status=400, code="global/invalid-api-key")
    echo.message = f"Key {key} was invalid"
    account.cloud.faults = [echo, *(Fault(what, LAUNCH) for what in NO_ANSWER)]
    account.short_of_time("timeout")
    for _ in account.cloud.faults:
        try:
            account.provider.launch(ORDER)
        except ProviderError as error:
            told.append("".join(traceback.format_exception(error)))
            seen: BaseException | None = error
            while seen is not None:  # all that a debugger or a crash reporter would walk through
                told += [repr(seen), str(vars(seen)), str(vars(getattr(seen, "request", seen)))]
                seen = seen.__context__
        else:
            raise AssertionError("it should have failed")
    everything = "\n".join([*told, caplog.text, *(str(r.__dict__) for r in caplog.records)])
    assert "GET /instances" in everything or "/api/v1/instances" in everything
    assert "Key *** was invalid" in everything
    for secret in (key, basic(key), JUPYTER_TOKEN):
        assert secret not in everything


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "schlüssel", "x" * 600])
def test_a_key_that_cannot_be_one_is_not_shown_in_the_error(account: Account, key: str) -> None:
    with pytest.raises(CftError, match="LAMBDA_API_KEY: not an API key") as caught:
        account.client(key=key)
    assert not key or key not in str(caught.value)


def test_a_wrong_key_is_told_without_being_tried_again(account: Account) -> None:
    with pytest.raises(ProviderError, match=r"401 global/invalid-api-key.*set LAMBDA_API_KEY"):
        account.client(key="wrong").instances()
    assert len(account.cloud.requests) == 1


def test_the_key_comes_from_the_environment() -> None:
    assert api_key({"LAMBDA_API_KEY": " abc\n"}).get_secret_value() == "abc"
    with pytest.raises(CftError, match="LAMBDA_API_KEY: not set"):
        api_key({})


@pytest.mark.parametrize(
    "url",
    [
        "http://cloud.lambda.ai/api/v1",
        "http://127.0.0.1.example.com/",
        "http://127.0.0.1@example.com/",
        "ftp://127.0.0.1/",
        "https://",
        "http://[::1",
        "",
        "https://user:secret@cloud.lambda.ai/",
    ],
)
def test_the_key_goes_nowhere_in_clear(url: str) -> None:
    with pytest.raises(CftError, match="base_url: ") as caught:
        LambdaCloud(LambdaSettings(base_url=url), SecretStr("key"), SystemRentalClock())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://cloud.lambda.ai/api/v1", "http://[::1]:8080/x", "http://localhost:1/"]
)
def test_the_key_goes_over_tls_or_to_this_host(url: str) -> None:
    LambdaCloud(LambdaSettings(base_url=url), SecretStr("key"), SystemRentalClock())


def test_no_proxy_sees_what_goes_to_this_host_in_clear(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert account.provider.instances() == []


def test_the_clocks_of_this_host_tell_the_time_of_day_and_go_forward() -> None:
    clock = SystemRentalClock()
    assert abs(clock.time() - time.time()) < 5
    before = clock.now()
    clock.sleep(0.01)
    assert 0.01 <= clock.now() - before < 5
