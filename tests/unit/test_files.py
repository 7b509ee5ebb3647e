"""Whole or absent: atomic files and folders, and digests that follow content."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cft.files import (
    PARTIAL,
    digest_code,
    digest_folder,
    digest_json,
    whole_file,
    whole_folder,
    write_atomic,
    write_json,
)


def test_write_replaces_and_leaves_nothing_beside(tmp_path: Path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"verse": "धर्मः"})
    write_json(path, {"verse": "सत्यम्"})
    assert json.loads(path.read_text()) == {"verse": "सत्यम्"}
    assert "सत्यम्" in path.read_text()
    assert os.listdir(path.parent) == ["a.json"]


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch):
    path = tmp_path / "a.txt"
    write_atomic(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_folder_appears_whole_or_not_at_all(tmp_path: Path):
    target = tmp_path / "out"
    with pytest.raises(RuntimeError), whole_folder(target) as beside:
        (beside / "half").write_text("x")
        raise RuntimeError
    assert os.listdir(tmp_path) == []
    with whole_folder(target) as beside:
        (beside / "file").write_text("x")
        assert not target.exists()
    assert os.listdir(tmp_path) == ["out"]


def test_first_writer_of_a_folder_wins(tmp_path: Path):
    target = tmp_path / "out"
    with whole_folder(target) as beside:
        (beside / "file").write_text("second")
        target.mkdir()
        (target / "file").write_text("first")
    assert (target / "file").read_text() == "first"
    assert os.listdir(tmp_path) == ["out"]


def test_killed_writer_leaves_no_result_and_is_cleaned_up(tmp_path: Path):
    target = tmp_path / "out"
    script = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from cft.files import whole_folder
        with whole_folder(Path({str(target)!r})) as beside:
            (beside / "half").write_text("x")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not target.exists()
    assert [name for name in os.listdir(tmp_path) if name.endswith(PARTIAL)]
    with whole_folder(target) as beside:
        (beside / "file").write_text("x")
    assert os.listdir(tmp_path) == ["out"]


def test_a_file_in_pieces_is_whole_or_the_old_one(tmp_path: Path):
    path = tmp_path / "deep" / "rows.csv"
    with whole_file(path) as file:
        file.write("धर्मः\n")
        assert not path.exists()
    with pytest.raises(RuntimeError), whole_file(path) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == "धर्मः\n"
    script = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from cft.files import whole_file
        with whole_file(Path({str(path)!r})) as file:
            file.write("half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text(encoding="utf-8") == "धर्मः\n"
    assert len(os.listdir(path.parent)) == 2
    with whole_file(path) as file:
        file.write("again")
    assert os.listdir(path.parent) == ["rows.csv"]


def test_digests_follow_content_and_names(tmp_path: Path):
    (tmp_path / "a").write_text("1")
    first = digest_folder(tmp_path)
    assert digest_folder(tmp_path) == first
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest_folder(tmp_path) != first
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1}) != digest_json({"a": 1})
    assert digest_code("cft.text") != digest_code("cft.files")
    assert digest_code("cft.model") == digest_code("cft.model")


def test_a_writer_whose_process_is_not_seen_is_known_by_its_lock(tmp_path: Path):
    """In another container on the same disk its number means another process, or none."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    target = tmp_path / "made"
    with whole_folder(target) as mine:
        (mine / "row").write_text("mine")
        foreign = mine.rename(tmp_path / f".made.{gone.pid}{PARTIAL}")
        with whole_folder(target) as other:
            assert foreign.is_dir()
            (other / "row").write_text("other")
        foreign.rename(mine)
    assert (target / "row").read_text() == "other"
    foreign.mkdir()
    target.rename(tmp_path / "kept")
    with whole_folder(target):
        assert not foreign.exists(), "abandoned"


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_atomic(path, "1")
    assert path.stat().st_mode & 0o044, "as the mask says"
    write_atomic(path, "2", private=True)
    assert path.stat().st_mode & 0o777 == 0o600
