"""Pickled weights become safetensors, and nothing in them runs."""

import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from cft.errors import CftError
from cft.model.pickled import INDEX, convert_pickles


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    table = torch.randn(7, 4).bfloat16()
    whole = torch.randn(6, 3)
    return OrderedDict(
        {
            "embed": table,
            "lm_head": table,
            "turned": whole.T,
            "view": whole[2:4],
            "ids": torch.arange(3),
        }
    )


@pytest.mark.parametrize("zipped", [True, False], ids=["zip file", "format before 1.6"])
def test_every_tensor_is_kept_bit_for_bit(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save(state(), path, _use_new_zipfile_serialization=zipped)
    assert convert_pickles(tmp_path) == [path.name]
    kept = load_file(tmp_path / "model.safetensors")
    assert kept.keys() == state().keys()
    for name, tensor in state().items():
        assert kept[name].dtype == tensor.dtype
        assert torch.equal(kept[name], tensor), name
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_shards_keep_their_index(tmp_path: Path) -> None:
    shards = [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    places = {name: shards[row % 2] for row, name in enumerate(state())}
    for shard in shards:
        torch.save({n: t for n, t in state().items() if places[n] == shard}, tmp_path / shard)
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {"total_size": 9}, "weight_map": places}))
    assert convert_pickles(tmp_path) == shards
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 9}
    for name, shard in index["weight_map"].items():
        assert torch.equal(load_file(tmp_path / shard)[name], state()[name])


class Trap:
    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.touched),)


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    touched, folder = tmp_path / "touched", tmp_path / "model"
    folder.mkdir()
    for write in (
        lambda path: torch.save({"weight": Trap(touched)}, path),
        lambda path: path.write_bytes(pickle.dumps(Trap(touched))),
    ):
        write(folder / "pytorch_model.bin")
        with pytest.raises(CftError, match=r"pytorch_model\.bin: not a plain file of tensors"):
            convert_pickles(folder)
        assert not touched.exists()
        assert not list(folder.glob("*.safetensors"))


def test_what_is_no_table_of_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"optimizer": {"lr": 1.0}}, path)
    with pytest.raises(CftError, match="holds more than named tensors"):
        convert_pickles(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CftError, match="not a plain file of tensors"):
        convert_pickles(tmp_path)


def test_a_folder_of_safetensors_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert convert_pickles(tmp_path) == []
    assert [one.name for one in tmp_path.iterdir()] == ["model.safetensors"]
