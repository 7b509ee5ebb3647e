"""Where pushes go, and that nobody is told the topic or the token."""

import pytest

from cft.errors import CftError
from tasks.notify import settings
from tasks.notify.settings import NtfySettings, checked, find_settings, from_environment


@pytest.fixture(autouse=True)
def no_block(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A server without the block."""
    asked: list[float] = []

    def nothing(seconds: float) -> None:
        asked.append(seconds)

    monkeypatch.setattr(settings, "from_block", nothing)
    return asked


def test_nothing_is_configured(no_block) -> None:
    assert from_environment() is None
    assert find_settings() is None
    assert no_block == [4.0]


def test_the_environment_wins_over_the_block(no_block, monkeypatch) -> None:
    monkeypatch.setenv("CFT_NTFY_TOPIC", "my-long-topic")
    assert find_settings() == NtfySettings("https://ntfy.sh", "my-long-topic")
    monkeypatch.setenv("CFT_NTFY_URL", "http://[::1]:2586/")
    monkeypatch.setenv("CFT_NTFY_TOKEN", "tk_secret")
    monkeypatch.setenv("CFT_NTFY_STARTED", "1")
    found = find_settings()
    assert found == NtfySettings("http://[::1]:2586", "my-long-topic", "tk_secret", started=True)
    assert no_block == []
    assert "topic" not in repr(found)
    assert "secret" not in repr(found)
    assert found.redacted("at my-long-topic by tk_secret") == "at [hidden] by [hidden]"


@pytest.mark.parametrize(
    ("server", "topic", "token", "what"),
    [
        ("ntfy.sh", "t", None, "the server is no plain http"),
        ("https://u:pass-hidden@h", "t", None, "the server is no plain http"),
        ("https://h/hidden-topic", "t", None, "the server is no plain http"),
        ("https://h:hidden", "t", None, "the server is no plain http"),
        ("https://h", "hidden topic", None, "a topic is 1 to 64 letters"),
        ("https://h", "", None, "set CFT_NTFY_TOPIC, or save a block cft-ntfy"),
        ("https://h", "t", "hidden\ntoken", "the token holds characters"),
        ("https://h", "t", "hidden-ध", "the token holds characters"),
    ],
)
def test_unusable_settings_are_named_and_not_shown(server, topic, token, what) -> None:
    with pytest.raises(CftError) as error:
        checked("the tests", server, topic, token)
    assert str(error.value).startswith("the tests: ")
    assert what in str(error.value)
    assert "hidden" not in str(error.value)


def test_a_server_without_a_topic_is_an_error(monkeypatch) -> None:
    monkeypatch.setenv("CFT_NTFY_URL", "https://h")
    with pytest.raises(CftError, match="set CFT_NTFY_TOPIC"):
        find_settings()
