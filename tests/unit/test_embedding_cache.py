"""The embedding cache: equal to encoding directly, shared by processes, never trusted when cut."""

import multiprocessing
import os
import shutil
import time

import numpy as np
import pytest

from cft.errors import CftError
from cft.model.cache import CachedEncoder, EmbeddingCache
from cft.model.encoder import Encoder
from cft.model.identity import backbone_digest
from cft.model.text_contract import TextContract
from cft.model.tokenizer import load_tokenizer
from cft.recipe import ModelRecipe
from tests.cache_writers import random_vectors, write_some
from tests.tiny import save_backbone

TEXTS = ["रामः वनम् ।", "a", "", "रामः  वनम् |", *(f"verse {n} " * (n % 9) for n in range(40))]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return save_backbone(tmp_path_factory.mktemp("model") / "backbone")


@pytest.fixture
def counted(backbone):
    """An encoder that remembers what it was asked to compute."""
    encoder, asked = Encoder.load(backbone, device="cpu"), []
    encode = encoder.encode

    def remembering(texts, **options):
        asked.extend(texts)
        return encode(texts, **options)

    encoder.encode = remembering
    return encoder, asked


def shards(folder):
    return sorted(folder.glob("*/*.arrow"))


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_equal_to_direct_and_to_one_by_one(backbone, tmp_path, pooling):
    terms = TextContract.of(
        ModelRecipe(max_length=48, pooling=pooling),
        load_tokenizer(backbone),
        backbone_digest(backbone),
    )
    encoder = Encoder.load(backbone, device="cpu", contract=terms)
    direct = encoder.encode(TEXTS, progress=False)
    cached = CachedEncoder(encoder, tmp_path)
    cached.encode(TEXTS[10:20], progress=False)
    for _ in range(2):
        np.testing.assert_allclose(cached.encode(TEXTS, progress=False), direct, atol=1e-5)
    one_by_one = np.concatenate([encoder.encode([text], progress=False) for text in TEXTS])
    np.testing.assert_allclose(cached.encode(TEXTS, progress=False), one_by_one, atol=1e-5)
    assert cached.encode([], progress=False).shape == (0, encoder.dimension)


def test_a_text_is_computed_once_by_its_normal_form(counted, tmp_path, caplog):
    encoder, asked = counted
    first = CachedEncoder(encoder, tmp_path).encode(TEXTS, progress=False)
    assert len(asked) == len({" ".join(t.split()).replace(" |", "।").replace(" ।", "।")
                              for t in TEXTS})  # fmt: skip
    asked.clear()
    with caplog.at_level("INFO", logger="cft"):
        again = CachedEncoder(encoder, tmp_path).encode(TEXTS[::-1])
    assert asked == []
    np.testing.assert_array_equal(again, first[::-1])
    assert "44 texts (38 distinct, 38 from the cache)" in caplog.text


def test_prompt_contract_and_weights_have_vectors_of_their_own(backbone, tmp_path):
    plain = Encoder.load(backbone, device="cpu")
    mean = Encoder.load(
        backbone, device="cpu", contract=plain.contract.model_copy(update={"pooling": "mean"})
    )
    other = Encoder.load(save_backbone(tmp_path / "other", seed=1), device="cpu")
    seen = []
    for encoder, prompt in [(plain, None), (plain, "q: "), (mean, None), (other, None)]:
        found = CachedEncoder(encoder, tmp_path / "cache").encode(
            TEXTS[:3], prompt=prompt, progress=False
        )
        expected = encoder.encode(TEXTS[:3], prompt=prompt, progress=False)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        seen.append(found)
    assert len(shards(tmp_path / "cache")) == 4
    assert all(np.abs(a - b).max() > 1e-3 for i, a in enumerate(seen) for b in seen[:i])


def test_other_code_has_vectors_of_its_own(counted, tmp_path, monkeypatch):
    encoder, asked = counted
    CachedEncoder(encoder, tmp_path).encode(["a"], progress=False)
    asked.clear()
    monkeypatch.setattr("cft.model.cache.digest_code", lambda *modules: "of a release to come")
    CachedEncoder(encoder, tmp_path).encode(["a"], progress=False)
    assert asked
    assert len(shards(tmp_path)) == 2


@pytest.mark.parametrize("keep", [0, 10, 0.5, -1])
def test_a_truncated_shard_is_removed_and_encoded_again(counted, tmp_path, caplog, keep):
    encoder, asked = counted
    cached = CachedEncoder(encoder, tmp_path)
    whole = cached.encode(TEXTS, progress=False)
    (path,) = shards(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    asked.clear()
    again = CachedEncoder(encoder, tmp_path).encode(TEXTS, progress=False)
    np.testing.assert_array_equal(again, whole)
    assert asked
    assert f"{path}: damaged" in caplog.text
    assert path not in shards(tmp_path)


def test_vectors_that_were_overwritten_with_zeros_are_not_believed(tmp_path, caplog):
    cache = EmbeddingCache(tmp_path, {"model": 1}, 8)
    cache.put(np.arange(5), random_vectors(5))
    (path,) = shards(tmp_path)
    data = bytearray(path.read_bytes())
    start = data.index(random_vectors(5)[3].tobytes())
    data[start : start + 32] = bytes(32)
    path.write_bytes(data)
    vector_ND, known_N = EmbeddingCache(tmp_path, {"model": 1}, 8).take(np.arange(5))
    assert not known_N.any()
    assert not vector_ND.any()
    assert "unit norm" in caplog.text


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    # A fork of a process that has spoken to Prefect cannot end well.
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(3)
    writers = [context.Process(target=write_some, args=(tmp_path, one, ready)) for one in range(3)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert [one.exitcode for one in writers] == [0, 0, 0]
    vector_ND, known_N = EmbeddingCache(tmp_path, {"model": 1}, 8).take(np.arange(400))
    assert known_N.tolist() == [one < 120 for one in range(400)]
    np.testing.assert_array_equal(vector_ND[:120], random_vectors(400)[:120])
    assert not list(tmp_path.glob("*/.*"))


def test_what_was_computed_before_a_bad_vector_is_kept(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr("cft.model.cache._AT_ONCE", 10)
    encoder = Encoder.load(backbone, device="cpu")
    cached = CachedEncoder(encoder, tmp_path)
    encode = encoder.encode

    def breaking(texts, **options):
        found = encode(texts, **options)
        if "a" in texts:
            found[texts.index("a")] = np.nan
        return found

    encoder.encode = breaking
    with pytest.raises(CftError, match=r"1 of \d+ vectors are NaN or infinite, .* \('a'\)"):
        cached.encode(TEXTS, progress=False)
    assert len(shards(tmp_path)) == 3
    encoder.encode = encode
    np.testing.assert_allclose(
        cached.encode(TEXTS, progress=False), encode(TEXTS, progress=False), atol=1e-5
    )


def test_vectors_of_another_dimension_are_refused(backbone, tmp_path):
    encoder = Encoder.load(backbone, device="cpu")
    encode = encoder.encode
    encoder.encode = lambda texts, **options: encode(texts, **options)[:, :5]
    with pytest.raises(CftError, match="vectors of 5 numbers where 32 were expected"):
        CachedEncoder(encoder, tmp_path).encode(["a"], progress=False)
    assert shards(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CftError, match="no embedding cache can be kept there"):
        EmbeddingCache(tmp_path / "file", {}, 8)
    cache = EmbeddingCache(tmp_path / "cache", {}, 8)
    shutil.rmtree(cache.folder)
    with pytest.raises(CftError, match=r"vectors cannot be kept .No such file"):
        cache.put(np.arange(5), random_vectors(5))


def test_what_a_killed_writer_left_is_removed_in_the_end(tmp_path):
    folder = EmbeddingCache(tmp_path, {}, 8).folder
    for name, age in [(".old.partial", 90000), (".new.partial", 10)]:
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age,) * 2)
    EmbeddingCache(tmp_path, {}, 8)
    assert {one.name for one in folder.glob(".*")} == {".new.partial"}
