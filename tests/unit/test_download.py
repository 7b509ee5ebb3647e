"""One file over HTTP: resumed at its byte, verified, pinned, whole or absent."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from cft import download as module
from cft.download import download
from cft.errors import CftError
from tests.web import Page, serve_web

CONTENT = bytes(hashlib.sha256(str(n).encode()).digest()[0] for n in range(40_000))
LOCK = "file.csv.lock.json"


@pytest.fixture
def web(monkeypatch, tmp_path):
    with serve_web() as running:
        running.pages["file.csv"] = Page(CONTENT)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
        monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
        yield running


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "file.csv"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_comes_whole_with_its_lock_and_then_needs_no_network(web, target):
    url = f"{web.url}/file.csv"
    assert download(url, target) == target
    assert target.read_bytes() == CONTENT
    lock = json.loads((target.parent / LOCK).read_text())
    assert (lock["url"], lock["size"]) == (url, len(CONTENT))
    assert lock["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert names(target.parent) == {"file.csv", LOCK}
    assert web.tokens == {None}  # a stranger is told no secret
    web.pages.clear()
    assert download(url, target) == target
    assert len(web.asked) == 1


def test_a_connection_that_breaks_goes_on_at_its_byte(web, target):
    web.pages["file.csv"].cuts = [5000, 7000]
    download(f"{web.url}/file.csv", target)
    assert target.read_bytes() == CONTENT
    # What came in whole chunks of 1024 bytes was kept.
    assert [first for _, first in web.asked] == [None, 4 * 1024, 10 * 1024]


def test_a_server_without_ranges_or_tags_costs_time_and_no_bytes(web, target):
    web.pages["file.csv"] = Page(CONTENT, cuts=[5000], ranges=False, tagged=False)
    download(f"{web.url}/file.csv", target)
    assert target.read_bytes() == CONTENT


def in_process(url: str, target: Path) -> subprocess.Popen:
    code = (
        "import sys; from pathlib import Path; from huggingface_hub import constants\n"
        "constants.DOWNLOAD_CHUNK_SIZE = 1024\n"
        "from cft.download import download; download(sys.argv[1], Path(sys.argv[2]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, url, str(target)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip


def test_a_killed_download_is_continued_by_another_process(web, target):
    web.pages["file.csv"].stall = 20_000
    url = f"{web.url}/file.csv"
    killed = in_process(url, target)

    def part() -> Path | None:
        return next(target.parent.glob(".file.csv.*.partial"), None)

    deadline = time.monotonic() + 60
    while not (part() and part().stat().st_size >= 8192):
        assert time.monotonic() < deadline
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.02)
    with pytest.raises(CftError, match="another download writes it; wait for its end"):
        download(url, target)
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    killed.communicate()
    assert not target.exists()
    assert not (target.parent / LOCK).exists()
    have = part().stat().st_size
    web.pages["file.csv"].stall = None
    again = in_process(url, target)
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert web.asked[-1] == ("file.csv", have)
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == {"file.csv", LOCK}


def test_a_part_of_another_version_is_never_continued(web, target):
    page = web.pages["file.csv"]
    page.cuts = [9000] + [0] * 6  # no byte more: the client gives up
    with pytest.raises(CftError, match=r"file\.csv: .* cannot be reached .* goes on where it"):
        download(f"{web.url}/file.csv", target)
    assert len(names(target.parent)) == 1
    changed = bytes(reversed(CONTENT))
    web.pages["file.csv"] = Page(changed)
    download(f"{web.url}/file.csv", target)
    assert target.read_bytes() == changed
    assert names(target.parent) == {"file.csv", LOCK}


@pytest.mark.parametrize(
    "page",
    [
        Page(CONTENT, declared=len(CONTENT) + 10),
        Page(CONTENT, headers={"X-Linked-Size": str(len(CONTENT) + 10)}),
        Page(CONTENT, headers={"X-Linked-Size": str(len(CONTENT) - 10)}),
    ],
)
def test_another_size_than_declared_is_refused(web, target, page):
    web.pages["file.csv"] = page
    with pytest.raises(CftError, match="run the same command again"):
        download(f"{web.url}/file.csv", target)
    assert not target.exists()
    assert not (target.parent / LOCK).exists()
    web.pages["file.csv"] = Page(CONTENT)
    download(f"{web.url}/file.csv", target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["sha256", "git"])
def test_bytes_that_are_not_those_declared_are_refused_and_come_anew(web, target, kind):
    git = hashlib.sha1(f"blob {len(CONTENT)}\0".encode() + CONTENT).hexdigest()
    digest = git if kind == "git" else hashlib.sha256(CONTENT).hexdigest()
    headers = {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(CONTENT))}
    web.pages["file.csv"] = Page(bytes(reversed(CONTENT)), headers=headers)
    with pytest.raises(CftError, match=r"the bytes that came \(40000\) are not those that the"):
        download(f"{web.url}/file.csv", target)
    assert names(target.parent) == set()
    web.pages["file.csv"] = Page(CONTENT, headers=headers)
    download(f"{web.url}/file.csv", target)
    assert target.read_bytes() == CONTENT


def test_a_lock_pins_the_bytes(web, target):
    url = f"{web.url}/file.csv"
    download(url, target)
    target.unlink()
    web.pages["file.csv"] = Page(CONTENT[::-1])
    with pytest.raises(CftError, match=r"the lock beside the target pins .* has changed"):
        download(url, target)
    assert not target.exists()
    web.pages["file.csv"] = Page(CONTENT)
    assert download(url, target).read_bytes() == CONTENT
    with pytest.raises(CftError, match=rf"was downloaded from {url}; remove it"):
        download(f"{web.url}/other.csv", target)
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(CftError, match="its bytes are not those of its lock"):
        download(url, target)
    (target.parent / LOCK).write_text("[]")
    with pytest.raises(CftError, match=r"lock\.json: not a lock of a download; remove it"):
        download(url, target)
    (target.parent / LOCK).unlink()
    with pytest.raises(CftError, match="exists, but was not downloaded; remove it"):
        download(url, target)


@pytest.mark.parametrize(
    ("status", "says"), [(404, r"is not there \(404\); check the address"), (503, "answered 503")]
)
def test_what_the_server_answers_is_told_and_leaves_nothing(web, target, status, says):
    web.pages["file.csv"].status = status
    with pytest.raises(CftError, match=rf"file\.csv: {web.url}/file\.csv {says}") as caught:
        download(f"{web.url}/file.csv", target)
    assert "\n" not in str(caught.value)
    assert not names(target.parent)


def test_no_network_no_address_and_no_room_are_said_so(web, target, monkeypatch):
    with pytest.raises(CftError, match=r"file\.csv: http://127.0.0.1:9/x cannot be reached"):
        download("http://127.0.0.1:9/x", target)
    for address in ("file.csv", "ftp://host/file", "https://", "https://host"):
        with pytest.raises(CftError, match="not an address; give one that begins with https://"):
            download(address, target)

    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "http_get", full)
    with pytest.raises(CftError, match="the disk is full; make room and run the same command"):
        download(f"{web.url}/file.csv", target)
