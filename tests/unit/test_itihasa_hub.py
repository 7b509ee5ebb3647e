"""The Itihasa from a hub on 127.0.0.1: plain files or parquet, resumed, whole or absent."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from cft.corpora.itihasa import load_itihasa
from cft.corpora.itihasa_hub import PARQUET, REPOSITORY, fetch_itihasa
from cft.corpora.sources import local_sources
from cft.errors import CftError
from cft.home import Home
from cft.recipe import DataRecipe
from tests.hub import Repository, serve

SPLITS = {"train": 300, "validation": 20, "test": 20}
SHARD = "Itihasa/train/0000.parquet"


def texts(split: str, count: int) -> tuple[list[str], list[str]]:
    rows = range(count)
    return [f"रामः {split} वनं {n} गच्छति ॥" for n in rows], [f"Rama goes {split} {n}." for n in rows]


def parquet(sanskrit: list[str | None], english: list[str | None], nested: bool = True) -> bytes:
    columns = {"sn": sanskrit, "en": english}
    rows = [{"sn": a, "en": b} for a, b in zip(sanskrit, english, strict=True)]
    table = pa.table({"translation": rows} if nested else columns)
    raw = io.BytesIO()
    pq.write_table(table, raw, compression="none")
    return raw.getvalue()


def plain_files(prefix: str = "data/") -> dict[str, bytes]:
    files = {"README.md": b"#", "itihasa.py": b"raise SystemExit"}
    for split, count in SPLITS.items():
        name = "dev" if split == "validation" else split
        for side, lines in zip(("sn", "en"), texts(split, count), strict=True):
            files[f"{prefix}{name}.{side}"] = "".join(f"{one}\n" for one in lines).encode()
    return files


def script_repository() -> Repository:
    """What a script dataset is: code on main, and the hub's own conversion beside it."""
    repository = Repository({"README.md": b"#", "itihasa.py": b"raise SystemExit"})
    sanskrit, english = texts("train", 300)
    converted = {
        SHARD: parquet(sanskrit[:200], english[:200]),
        "Itihasa/train/0001.parquet": parquet(sanskrit[200:], english[200:]),
        "Itihasa/validation/0000.parquet": parquet(*texts("validation", 20)),
        "Itihasa/test/0000.parquet": parquet(*texts("test", 20)),
    }
    return add_revision(repository, converted)


def add_revision(repository: Repository, files: dict[str, bytes]) -> Repository:
    other = Repository(files)
    repository.revisions |= {PARQUET: other.sha, other.sha: other.sha}
    repository.files_at[other.sha] = files
    return repository


@pytest.fixture
def server(monkeypatch, tmp_path):
    with serve() as running:
        running.repositories[REPOSITORY] = script_repository()
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("CFT_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
        monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
        yield running


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_parquet_export_becomes_line_aligned_files(server, tmp_path):
    folder = fetch_itihasa(tmp_path / "in" / "itihasa")
    sides = {f"{split}.{side}" for split in ("train", "dev", "test") for side in ("sn", "en")}
    assert names(folder) == sides | {"source.json"}
    assert names(folder.parent) == {"itihasa"}
    corpus = load_itihasa(folder)
    sanskrit, english = texts("train", 300)
    assert [one.english for one in corpus.splits["train"]] == english
    assert [one.row for one in corpus.splits["train"]] == list(range(300))
    assert len(corpus.splits["dev"]) == len(corpus.splits["test"]) == 20
    assert (folder / "train.sn").read_text(encoding="utf-8").splitlines() == sanskrit
    source = json.loads((folder / "source.json").read_text())
    assert source["repo"] == REPOSITORY
    assert source["revision"] == server.repositories[REPOSITORY].revisions[PARQUET]
    assert source["files"][SHARD]["size"] > 1000
    asked = len(server.requests)
    assert fetch_itihasa(folder) == folder
    assert len(server.requests) == asked


def test_plain_files_are_preferred_with_their_chapters(server, tmp_path):
    chapters = "".join(f"page {n // 50}\t{n}\tTitle\n" for n in range(300)).encode()
    repository = Repository(plain_files() | {"data/train.chapters.tsv": chapters})
    server.repositories[REPOSITORY] = repository
    folder = fetch_itihasa(tmp_path / "itihasa")
    assert {"train.chapters.tsv", "dev.en", "source.json"} <= names(folder)
    assert not names(folder) & {"data", "README.md", "itihasa.py"}
    corpus = load_itihasa(folder)
    assert len({one.chapter for one in corpus.splits["train"]}) == 6
    assert [one.english for one in corpus.splits["train"]] == texts("train", 300)[1]


def test_breaks_and_empty_sides_leave_every_row_in_its_line(server, tmp_path):
    sanskrit, english = texts("train", 30)
    sanskrit[3], english[5], english[7] = "रामः\nवनं गच्छति", None, "He went\r\nto the wood."
    files = {"default/train-00000-of-00001.parquet": parquet(sanskrit, english, nested=False)}
    server.repositories[REPOSITORY] = add_revision(Repository({"itihasa.py": b""}), files)
    corpus = load_itihasa(fetch_itihasa(tmp_path / "itihasa"))
    rows = {one.row: one for one in corpus.splits["train"]}
    assert corpus.dropped["empty"] == 1
    assert set(rows) == set(range(30)) - {5}
    assert (rows[3].sanskrit, rows[7].english) == ("रामः वनं गच्छति", "He went to the wood.")


def test_a_recipe_names_the_hub(server, tmp_path):
    recipe = local_sources(DataRecipe(itihasa="hub"))
    assert recipe.itihasa == str(tmp_path / "home" / "sources" / "itihasa")
    assert local_sources(DataRecipe(itihasa="elsewhere")).itihasa == "elsewhere"
    other = local_sources(DataRecipe(itihasa="hub"), Home(tmp_path / "other"))
    assert Path(str(other.itihasa)).parent == tmp_path / "other" / "sources"


def test_a_killed_fetch_is_continued_by_another_process(server, tmp_path):
    server.stall_after[SHARD] = 12_000

    def fetching() -> subprocess.Popen:
        code = (
            "import sys; from pathlib import Path; from huggingface_hub import constants\n"
            "constants.DOWNLOAD_CHUNK_SIZE = 1024\n"
            "from cft.corpora.itihasa_hub import fetch_itihasa; fetch_itihasa(Path(sys.argv[1]))"
        )
        return subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "itihasa")],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
        )  # fmt: skip

    killed = fetching()
    parts = tmp_path / "itihasa.partial" / ".parts"
    deadline = time.monotonic() + 60
    # The buffer of the file reaches the disk in pieces of its own.
    while not any(
        "train--0000" in one.name and one.stat().st_size >= 4096 for one in parts.glob("*")
    ):
        assert time.monotonic() < deadline
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.02)
    with pytest.raises(CftError, match="another fetch writes it"):
        fetch_itihasa(tmp_path / "itihasa")
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    killed.communicate()
    assert not (tmp_path / "itihasa").exists()
    server.stall_after.clear()
    server.requests.clear()
    again = fetching()
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert len(load_itihasa(tmp_path / "itihasa").splits["train"]) == 300
    assert server.of(SHARD)[0].first >= 4096
    assert "itihasa.partial" not in names(tmp_path)


def test_broken_connections_and_wrong_bytes(server, tmp_path):
    server.cut_after[SHARD] = [2000, 3500]
    server.flip.add("Itihasa/validation/0000.parquet")
    with pytest.raises(
        CftError, match=r"validation/0000\.parquet: the bytes that came are not those"
    ):
        fetch_itihasa(tmp_path / "itihasa")
    assert not (tmp_path / "itihasa").exists()
    server.flip.clear()
    server.requests.clear()
    fetch_itihasa(tmp_path / "itihasa")
    assert len(load_itihasa(tmp_path / "itihasa").splits["train"]) == 300
    assert not [one for one in server.requests if one.path.endswith(SHARD)]  # it came already


@pytest.mark.parametrize(
    ("files", "converted", "says"),
    [
        ({"README.md": b"#"}, {"README.md": b"#"}, "neither train.sn and train.en nor a parquet"),
        ({"README.md": b"#"}, None, "no revision 'refs/convert/parquet'"),
        ({"x.py": b""}, {"a/train/0.parquet": b"no"}, r"0\.parquet: not a parquet file of"),
        ({"x.py": b""}, {"a/train/0.parquet": parquet(["a"], ["b"])[:-9]}, "not a parquet file"),
    ],
)
def test_a_repository_without_the_corpus_is_told(server, tmp_path, files, converted, says):
    repository = Repository(files)
    server.repositories[REPOSITORY] = (
        repository if converted is None else add_revision(repository, converted)
    )
    with pytest.raises(CftError, match=says) as caught:
        fetch_itihasa(tmp_path / "itihasa")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "itihasa").exists()


def test_what_stands_there_and_no_network_are_told(server, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    with pytest.raises(CftError, match="exists, but was not fetched; remove it"):
        fetch_itihasa(tmp_path / "mine")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CftError, match=r"rahular/itihasa: http://127\.0\.0\.1:9 cannot be reached"):
        fetch_itihasa(tmp_path / "itihasa")
