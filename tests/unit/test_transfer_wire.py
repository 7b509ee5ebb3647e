"""Both ends of a transfer, over a socket: what arrives is whole, checked and below its folder."""

import contextlib
import hashlib
import os
import random
import socket
import threading
import zlib

import pytest

from tasks.machine.transfer import receiving
from tasks.machine.transfer.names import PARTS, BadNameError, listing
from tasks.machine.transfer.receiving import only_one, receive
from tasks.machine.transfer.sending import send
from tasks.machine.transfer.wire import BrokenError, Reader, line


class Ends:
    """A sender's and a receiver's end that speak to each other."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.sent = 0

    def end(self, which):
        def write(data):
            self.sent += len(data)
            which.sendall(data)

        return write, Reader(which.recv)

    def transfer(self, source, target, files=None):
        """Send a folder to another; returns what each end knows to be in place."""
        found = {}

        def sending():
            write, reader = self.end(self.near)
            listed = listing(source) if files is None else files
            found["there"] = send(write, reader, source, listed, lambda count: None)

        thread = threading.Thread(target=sending, daemon=True)
        thread.start()
        found["here"] = receive(*self.end(self.far), target, lambda count: None)
        thread.join(30)
        assert found["there"] == found["here"]
        return found["here"]


def tree(folder, sizes=(0, 1, 70_000, 600_000), seed=0):
    """Files of several sizes and unusual names; returns their contents by path."""
    source = random.Random(seed)
    names = ["empty", "a file", "deep/er/रामः.txt", "deep/ünïcode\nname"]
    found = {}
    for name, size in zip(names, sizes, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(size))
        found[name] = path.read_bytes()
    (folder / "a file").chmod(0o700)
    return found


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_tree_arrives_as_it_is(tmp_path) -> None:
    expected = tree(tmp_path / "from")
    (tmp_path / "from" / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "from" / "pipe")
    assert Ends().transfer(tmp_path / "from", tmp_path / "to") == set(range(4))
    assert contents(tmp_path / "to") == expected, "and neither links nor pipes are sent"
    assert (tmp_path / "to" / "a file").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "to" / "empty").stat().st_mode & 0o777 == 0o644


def test_what_is_there_is_not_sent_again(tmp_path) -> None:
    expected = tree(tmp_path / "from")
    Ends().transfer(tmp_path / "from", tmp_path / "to")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "to").rglob("*")}
    again = Ends()
    again.transfer(tmp_path / "from", tmp_path / "to")
    assert again.sent < 2000
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # Another content of the same size is told by its hash, and only that file is sent.
    (tmp_path / "from" / "a file").write_bytes(b"!")
    assert expected["a file"] != b"!"
    once_more = Ends()
    once_more.transfer(tmp_path / "from", tmp_path / "to")
    assert (tmp_path / "to" / "a file").read_bytes() == b"!"
    assert once_more.sent < 2000


@pytest.mark.parametrize("cut", [100, 3_000, 65_000, 140_000, 400_000, 670_000])
def test_cut_anywhere_and_continued(tmp_path, cut) -> None:
    expected = tree(tmp_path / "from")
    ends = Ends()
    recv = ends.far.recv
    left = cut

    def cut_off(count):
        nonlocal left
        data = recv(min(count, left)) if left else b""
        left -= len(data)
        return data

    threading.Thread(target=sending, args=(ends, tmp_path / "from"), daemon=True).start()
    with pytest.raises(BrokenError):
        receive(ends.end(ends.far)[0], Reader(cut_off), tmp_path / "to", lambda count: None)
    placed = contents(tmp_path / "to")
    assert not [name for name in placed if not name.startswith(PARTS)], "nothing is half there"
    kept = sum(len(data) for data in placed.values())
    ends.near.close()
    again = Ends()
    again.transfer(tmp_path / "from", tmp_path / "to")
    assert contents(tmp_path / "to") == expected
    assert again.sent < 671_000 - kept + 3_000, "what was kept is not sent again"


def sending(ends, source):
    with contextlib.suppress(OSError, BrokenError):  # the other end is cut off
        send(*ends.end(ends.near), source, listing(source), lambda count: None)


def test_a_part_that_was_damaged_is_not_continued(tmp_path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a").write_bytes(bytes(1000) + b"x" * 1000)
    parts = tmp_path / "to" / PARTS
    parts.mkdir(parents=True)
    (parts / hashlib.sha256(b"a").hexdigest()).write_bytes(b"?" * 700)
    assert Ends().transfer(tmp_path / "from", tmp_path / "to") == {0}
    assert (tmp_path / "to" / "a").read_bytes() == bytes(1000) + b"x" * 1000
    assert not parts.exists()


BAD = ["../x", "/x", "a/../../x", "", ".", "a//b", "a/./b", "a\0b", f"{PARTS}/x", 7, None]


@pytest.mark.parametrize("name", [*BAD, "link/x"])
def test_no_name_leads_out_of_the_folder(tmp_path, name) -> None:
    target = tmp_path / "to"
    target.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (target / "link").symlink_to(tmp_path / "elsewhere")
    ends = Ends()
    write, _ = ends.end(ends.near)
    good = {"path": "good", "size": 0, "run": False}
    write(line([good, {"path": name, "size": 1, "run": False}]))
    with pytest.raises(BadNameError):
        receive(*ends.end(ends.far), target, lambda count: None)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["elsewhere", "link", "to"]


def test_nothing_is_read_outside_of_the_folder_either(tmp_path) -> None:
    for name in BAD:
        with pytest.raises(BadNameError):
            listing(tmp_path, [name])


def test_what_was_cut_short_or_changed_on_the_way_is_not_put_in_place(tmp_path) -> None:
    source = tmp_path / "from"
    source.mkdir()
    (source / "short").write_bytes(b"x" * 10)
    (source / "good").write_bytes(b"good")
    listed = listing(source)
    (source / "short").write_bytes(b"x" * 5)
    assert Ends().transfer(source, tmp_path / "to", listed) == {0}
    assert list(contents(tmp_path / "to")) == ["good"]

    ends = Ends()
    write, reader = ends.end(ends.near)
    write(line([{"path": "a", "size": 3, "run": False}]))
    write(line({"file": 0, "start": 0}) + b"abc")
    write(line({"checksum": zlib.crc32(b"abd")}))
    write(line({"file": None, "same": []}))
    assert receive(*ends.end(ends.far), tmp_path / "other", lambda count: None) == set()
    assert reader.line() == [None]
    assert contents(tmp_path / "other") == {}


def test_a_file_that_vanishes_or_grows_meanwhile(tmp_path) -> None:
    source = tmp_path / "from"
    source.mkdir()
    for name in ("gone", "log"):
        (source / name).write_bytes(b"one line\n")
    listed = listing(source)
    (source / "gone").unlink()
    with (source / "log").open("ab") as file:
        file.write(b"another\n")
    assert Ends().transfer(source, tmp_path / "to", listed) == {1}
    assert (tmp_path / "to" / "log").read_bytes() == b"one line\n"


def test_a_vanished_file_is_not_taken_for_the_one_of_its_size_that_is_there(tmp_path) -> None:
    source, target = tmp_path / "from", tmp_path / "to"
    for folder, text in ((source, b"new"), (target, b"old")):
        folder.mkdir()
        (folder / "a").write_bytes(text)
    listed = listing(source)
    (source / "a").unlink()
    assert Ends().transfer(source, target, listed) == set()


def test_words_that_are_not_of_the_protocol(tmp_path) -> None:
    for said in (b"bash: no such thing\n", line([]) + b"{\n"):
        ends = Ends()
        ends.near.sendall(said)
        with pytest.raises(BrokenError, match="not a line of this protocol"):
            receive(*ends.end(ends.far), tmp_path / "to", lambda count: None)
    ends = Ends()
    write, _ = ends.end(ends.near)
    write(line([{"path": "a", "size": 9, "run": False}]) + line({"file": 0, "start": 4}))
    with pytest.raises(BrokenError, match="goes on where nothing is"):
        receive(*ends.end(ends.far), tmp_path / "to", lambda count: None)


def test_one_receiver_at_a_time(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(receiving, "PATIENCE", 0.3)
    second = only_one(tmp_path)
    with only_one(tmp_path), pytest.raises(BrokenError, match="goes on"):
        second.__enter__()


@pytest.mark.parametrize("count", [1, receiving.MANY + 1])
def test_content_comes_to_the_disk_before_its_name(tmp_path, monkeypatch, count) -> None:
    source = tmp_path / "from"
    source.mkdir()
    for number in range(count):
        (source / str(number)).write_bytes(b"x")
    done, flush = [], receiving.flush

    def flushing(folder, paths):
        assert not [path for path in (tmp_path / "to").iterdir() if path.name != PARTS]
        assert len(paths) == count
        flush(folder, paths)
        done.append(True)

    monkeypatch.setattr(receiving, "flush", flushing)
    Ends().transfer(source, tmp_path / "to")
    assert done == [True]
    assert len(contents(tmp_path / "to")) == count
