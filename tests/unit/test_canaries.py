"""The search for secrets finds them in every encoding, and nothing else."""

import base64
import urllib.parse

import pytest

from tests.canaries import Canaries

CANARIES = Canaries({"A": "k+3/=sécret value", "B": "user:pass/word"})


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "somebody:"])
@pytest.mark.parametrize("after", ["", "!", "!!", "!!!"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_found_in_base64_whatever_stands_around_it(before, after, encode) -> None:
    data = b"Authorization: Basic " + encode(f"{before}{CANARIES.variables['A']}{after}".encode())
    assert CANARIES.found_in(data) == {"A"}


def test_found_plain_in_a_url_and_in_a_file(tmp_path) -> None:
    assert CANARIES.found_in(b"x pass/word x") == {"B"}
    assert CANARIES.found_in(urllib.parse.quote("x?k=pass/word", safe="").encode()) == {"B"}
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log").write_text("k+3/=sécret value", "utf-8")
    (tmp_path / "clean").write_text("user:word/pass", "utf-8")
    assert CANARIES.found_under(tmp_path) == {"deep/log": {"A"}}
