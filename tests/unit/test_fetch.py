"""Fetching a backbone, against a hub on 127.0.0.1 and the real client."""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from huggingface_hub import constants
from safetensors.numpy import save
from safetensors.torch import load, load_file

from cft import download, hub
from cft.cli import app
from cft.errors import CftError
from cft.model.backbone import load_backbone
from cft.model.fetch import fetch_model
from cft.model.identity import backbone_digest
from cft.model.tokenizer import load_tokenizer
from tests.hub import Repository, serve
from tests.tiny import EOS_ID, save_backbone

WEIGHTS, PICKLED = "model.safetensors", "pytorch_model.bin"


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return save_backbone(tmp_path_factory.mktemp("original"))


@pytest.fixture
def server(original, monkeypatch, tmp_path):
    with serve() as running:
        running.repositories["owner/tiny"] = Repository.of(original)
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))  # no token of whoever runs the tests
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
        monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
        monkeypatch.chdir(tmp_path)
        yield running


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_whole_model_is_fetched_pinned_and_usable(server, original, tmp_path):
    repository = server.repositories["owner/tiny"]
    repository.files |= {"README.md": b"#", "pytorch_model.bin": b"\x80\x04", "run.py": b"x = 1"}
    folder = fetch_model("owner/tiny")
    assert folder == Path("pretrained/tiny")
    assert names(folder.parent) == {"tiny"}
    assert not names(folder) & {"README.md", "pytorch_model.bin", "run.py", ".parts"}
    assert (folder / WEIGHTS).read_bytes() == (original / WEIGHTS).read_bytes()
    source = json.loads((folder / "source.json").read_text())
    assert source["repo"] == "owner/tiny"
    assert (source["revision"], source["requested"]) == (repository.sha, "main")
    assert source["date"].endswith("+00:00")
    assert source["files"][WEIGHTS]["size"] == (original / WEIGHTS).stat().st_size
    assert json.loads((folder / "tokenizer_config.json").read_text())["add_eos_token"] is True
    load_backbone(folder)
    assert load_tokenizer(folder).eos_token_id == EOS_ID
    # The bytes come from another host; small files from the hub itself, all at the one commit.
    (large,) = server.of(WEIGHTS)
    assert large.storage
    assert all(f"/resolve/{repository.sha}/" in one.path for one in server.requests[1:])


def test_the_same_commit_is_the_same_backbone_whenever_it_was_fetched(server, tmp_path):
    one = fetch_model("owner/tiny", tmp_path / "one")
    other = fetch_model("owner/tiny", tmp_path / "other")
    changed = json.loads((other / "source.json").read_text()) | {"date": "1999"}
    (other / "source.json").write_text(json.dumps(changed))
    assert backbone_digest(one) == backbone_digest(other)


def test_a_fetched_folder_stands_without_any_network(server, tmp_path):
    folder = fetch_model("owner/tiny", tmp_path / "m")
    sha = server.repositories["owner/tiny"].sha
    asked = len(server.requests)
    for revision in (None, "main", sha):
        assert fetch_model("owner/tiny", folder, revision=revision) == folder
    assert len(server.requests) == asked
    with pytest.raises(CftError, match=f"holds owner/tiny at {sha[:12]}; remove it"):
        fetch_model("owner/tiny", folder, revision="v2")
    with pytest.raises(CftError, match="holds owner/tiny"):
        fetch_model("other/tiny", folder)
    (tmp_path / "mine").mkdir()
    with pytest.raises(CftError, match="was not fetched; remove it"):
        fetch_model("owner/tiny", tmp_path / "mine")


def test_a_connection_that_breaks_goes_on_at_its_byte(server, original, tmp_path):
    server.cut_after[WEIGHTS] = [5000, 5000 + 7000]
    folder = fetch_model("owner/tiny", tmp_path / "m")
    assert (folder / WEIGHTS).read_bytes() == (original / WEIGHTS).read_bytes()
    first, second, third = server.of(WEIGHTS)
    assert first.first is None
    # What came in whole chunks of 1024 bytes was kept.
    assert second.first == 4 * 1024
    assert second.first < third.first <= 12_000


def test_a_server_without_ranges_costs_time_and_no_bytes(server, original, tmp_path):
    server.cut_after[WEIGHTS] = [5000]
    server.ignore_range = True
    folder = fetch_model("owner/tiny", tmp_path / "m")
    assert (folder / WEIGHTS).read_bytes() == (original / WEIGHTS).read_bytes()


def fetch_in_process(*arguments: str) -> subprocess.Popen:
    # The chunk is 10 MB by default; a small one lets a small file stop in its middle.
    code = (
        "from huggingface_hub import constants; constants.DOWNLOAD_CHUNK_SIZE = 1024\n"
        "from cft.cli import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, "model", "fetch", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip


@pytest.mark.integration
def test_a_killed_fetch_goes_on_where_it_stopped(server, original, tmp_path):
    server.stall_after[WEIGHTS] = 9000
    killed = fetch_in_process("owner/tiny", "--output", "m")
    parts = tmp_path / "m.partial" / ".parts"

    def part() -> Path | None:
        return next(parts.glob(f"{WEIGHTS}.*"), None)

    deadline = time.monotonic() + 240
    # The buffer of the file reaches the disk in pieces of its own.
    while not (part() and part().stat().st_size >= 4096):
        assert time.monotonic() < deadline
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.02)
    with pytest.raises(CftError, match="another fetch writes it"):
        fetch_model("owner/tiny", tmp_path / "m")
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    killed.communicate()
    assert not (tmp_path / "m").exists()
    have = part().stat().st_size
    server.stall_after.clear()
    server.requests.clear()
    again = fetch_in_process("owner/tiny", "--output", "m")
    out, err = again.communicate(timeout=240)
    assert again.returncode == 0, err
    assert out.strip() == "m"
    (rest,) = server.of(WEIGHTS)
    assert rest.first == have
    assert (tmp_path / "m" / WEIGHTS).read_bytes() == (original / WEIGHTS).read_bytes()
    # Only the weights came again: the small files had their names already.
    bytes_of = {one.path.rsplit("/", 1)[-1] for one in server.requests if "resolve" in one.path}
    assert bytes_of == {WEIGHTS}


def test_wrong_bytes_are_refused_and_come_anew(server, original, tmp_path):
    server.flip.add(WEIGHTS)
    with pytest.raises(CftError, match=r"model\.safetensors: the bytes that came are not those"):
        fetch_model("owner/tiny", tmp_path / "m")
    server.flip.clear()
    folder = fetch_model("owner/tiny", tmp_path / "m")
    assert (folder / WEIGHTS).read_bytes() == (original / WEIGHTS).read_bytes()


def test_a_branch_that_moved_leaves_nothing_of_the_old_commit(server, original, tmp_path):
    server.cut_after[WEIGHTS] = [5000] + [5000] * 6  # no byte more: the client gives up
    with pytest.raises(CftError, match="cannot be reached"):
        fetch_model("owner/tiny", tmp_path / "m")
    assert names(tmp_path) >= {"m.partial"}
    before = server.repositories["owner/tiny"]
    config = before.files["config.json"].replace(b"silu", b"gelu")
    # Equal sizes, other bytes: only digests tell the two commits apart.
    assert len(config) == len(before.files["config.json"])
    server.repositories["owner/tiny"] = Repository(before.files | {"config.json": config})
    folder = fetch_model("owner/tiny", tmp_path / "m")
    assert (folder / "config.json").read_bytes() == config


def test_tokenizer_alone_then_the_rest(server, tmp_path):
    folder = fetch_model("owner/tiny", tmp_path / "m", tokenizer_only=True)
    assert not server.of(WEIGHTS)
    assert WEIGHTS not in names(folder)
    assert load_tokenizer(folder).eos_token_id == EOS_ID
    assert fetch_model("owner/tiny", folder) == folder
    assert WEIGHTS in names(folder)
    assert not json.loads((folder / "source.json").read_text())["tokenizer_only"]
    assert names(tmp_path) == {"m"}
    # A whole model has a tokenizer.
    assert fetch_model("owner/tiny", folder, tokenizer_only=True) == folder


@pytest.mark.parametrize("option", [[], ["--tokenizer_only"]])
def test_the_command_prints_the_folder_and_one_summary(server, caplog, option):
    caplog.set_level("INFO", "cft")
    result = CliRunner().invoke(app, ["model", "fetch", "owner/tiny", *option])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "pretrained/tiny"
    assert "MB of owner/tiny at" in caplog.text


def test_a_gated_repository_needs_a_token_that_storage_never_sees(server, monkeypatch, tmp_path):
    server.repositories["owner/tiny"].gated = True
    with pytest.raises(CftError, match=r"gated; accept its terms .* HF_TOKEN"):
        fetch_model("owner/tiny", tmp_path / "m")
    monkeypatch.setenv("HF_TOKEN", server.token)
    folder = fetch_model("owner/tiny", tmp_path / "m")
    assert {one.token for one in server.requests if one.storage} == {None}
    assert server.token in {one.token for one in server.requests if not one.storage}
    assert server.token not in "".join(p.read_text("latin-1") for p in folder.iterdir())


def test_pickled_weights_are_rewritten_or_refused(server, original, tmp_path):
    files = dict(server.repositories["owner/tiny"].files)
    torch.save(load(files.pop(WEIGHTS)), pickled := tmp_path / "pickled")
    server.repositories["owner/old"] = Repository(files | {PICKLED: pickled.read_bytes()})
    folder = fetch_model("owner/old", tmp_path / "m")
    assert not names(folder) & {PICKLED, "pickled"}
    assert json.loads((folder / "source.json").read_text())["changed"].keys() >= {PICKLED}
    kept, given = load_file(folder / WEIGHTS), load_file(original / WEIGHTS)
    assert kept.keys() == given.keys()
    assert all(torch.equal(kept[name], given[name]) for name in given)
    server.repositories["owner/evil"] = Repository(files | {PICKLED: pickle.dumps(Path("/"))})
    with pytest.raises(CftError, match="not a plain file of tensors"):
        fetch_model("owner/evil", tmp_path / "e")
    assert not (tmp_path / "e").exists()
    server.repositories["owner/none"] = Repository(files)
    with pytest.raises(CftError, match="no weights in a format of transformers"):
        fetch_model("owner/none", tmp_path / "n")
    fetch_model("owner/none", tmp_path / "t", tokenizer_only=True)


def test_a_revision_may_have_a_slash(server, tmp_path):
    tiny = server.repositories["owner/tiny"]
    server.repositories["owner/new"] = Repository(tiny.files, revisions={"refs/pr/1": tiny.sha})
    source = fetch_model("owner/new", tmp_path / "m", revision="refs/pr/1") / "source.json"
    assert json.loads(source.read_text())["requested"] == "refs/pr/1"


def test_several_shards_come_with_their_index(server, tmp_path):
    files = server.repositories["owner/tiny"].files
    del files[WEIGHTS]
    for number in (1, 2):
        name = f"model-0000{number}-of-00002.safetensors"
        files[name] = save({"w": np.zeros((64, 64), np.float32)})
    files["model.safetensors.index.json"] = b"{}"
    folder = fetch_model("owner/tiny", tmp_path / "m")
    assert len([one for one in names(folder) if one.startswith("model")]) == 3


def test_code_comes_only_when_it_is_trusted(server, tmp_path):
    files = server.repositories["owner/tiny"].files
    config = json.loads(files["config.json"])
    own = {"model_type": "its-own", "auto_map": {"AutoConfig": "configuration_own.OwnConfig"}}
    files["config.json"] = json.dumps(config | own).encode()
    files["configuration_own.py"] = (
        b"from transformers import LlamaConfig\n"
        b"class OwnConfig(LlamaConfig):\n    model_type = 'its-own'\n"
    )
    with pytest.raises(CftError, match=r"\(its-own\) is Python code .* --trust-remote-code"):
        fetch_model("owner/tiny", tmp_path / "m")
    assert not server.of(WEIGHTS)
    folder = fetch_model("owner/tiny", tmp_path / "m", trust_remote_code=True)
    assert "configuration_own.py" in names(folder)


@pytest.mark.parametrize(
    ("name", "revision", "says"),
    [
        ("owner/none", None, "owner/none: no such repository on http"),
        ("owner/tiny", "v9", "owner/tiny: no revision 'v9'"),
        ("sarvam", None, "sarvam: unknown; name one of sarvam-1, minicpm-2b, or OWNER/NAME"),
        ("owner/..", None, "owner/..: not a repository name"),
    ],
)
def test_what_does_not_exist_is_named_and_leaves_nothing(server, tmp_path, name, revision, says):
    with pytest.raises(CftError) as caught:
        fetch_model(name, tmp_path / "m", revision=revision)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_no_network_and_no_room_are_said_so(server, monkeypatch, tmp_path):
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(CftError, match=r"has 0\.0 GB free; make room"):
        fetch_model("owner/tiny", tmp_path / "m")
    monkeypatch.undo()
    monkeypatch.setenv("HF_ENDPOINT", server.url)

    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download, "http_get", full)
    with pytest.raises(CftError, match="the disk is full; make room and run the same command"):
        fetch_model("owner/tiny", tmp_path / "m")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CftError, match=r"127\.0\.0\.1:9 cannot be reached \(ConnectError\)"):
        fetch_model("owner/tiny", tmp_path / "other")
