"""Which model a folder holds: the key of everything that is computed from it and kept.

Nothing here needs torch: who only asks whether something has been made does not wait for it.
"""

import hashlib
from pathlib import Path

from cft.errors import CftError
from cft.files import digest_file, digest_folder, digest_json
from cft.model.source import SOURCE_FILE

_SAMPLE = 1 << 20  # bytes of a large weight file that enter a backbone's digest, at each end
_IDENTITY = ("*.json", "*.model", "*.txt", "*.safetensors", "*.bin", "*.py")
_WEIGHTS = ("*.safetensors", "*.bin")
_WHOLE = 64 << 20  # bytes; larger files are sampled
_BLOCKS, _BLOCK = 1024, 16 << 10


def model_folder(path: Path | str) -> Path:
    """The folder of a model, as a path.

    Raises:
        CftError: it holds no ``config.json``.
    """
    folder = Path(path)
    if not (folder / "config.json").is_file():
        raise CftError(f"{folder}: no config.json there; give the folder of a local causal LM")
    return folder


def backbone_digest(path: Path | str) -> str:
    """Identity of a backbone: its configuration, tokenizer, weights and code (16 hex digits).

    Where and when it was fetched is no part of it: two fetches of one commit are one backbone.
    Weight files enter by size, head and tail: a digest of all bytes of a 2B model would take
    longer than loading it.
    """
    folder = model_folder(path)
    files = sorted({file for pattern in _IDENTITY for file in folder.glob(pattern)})
    files = [file for file in files if file.name != SOURCE_FILE]
    parts = []
    for file in files:
        size = file.stat().st_size
        digest = hashlib.sha256()
        with file.open("rb") as handle:
            digest.update(handle.read(_SAMPLE))
            handle.seek(max(handle.tell(), size - _SAMPLE))
            digest.update(handle.read())
        parts.append([file.name, size, digest.hexdigest()])
    return digest_json(parts)


def identity_of(backbone: Path, adapter: Path | None) -> dict[str, str | None]:
    """Digests of an encoder's parts, by which what it computed is found again."""
    return {
        "backbone": backbone_digest(backbone),
        "adapter": digest_folder(Path(adapter)) if adapter else None,
    }


def weights_digest(backbone: Path | str, adapter: Path | str | None = None) -> str:
    """Identity of the weights that encode: a backbone and perhaps an adapter (16 hex digits).

    :func:`backbone_digest` reads the ends of a weight file, which tells pre-trained models apart. A
    merged adapter changes tensors in the middle only, so here a large file enters by 1,024 blocks
    spread evenly over it; fine-tuning leaves no tensor of that spacing (5 MB in a 5 GB file)
    untouched.
    """
    folder = Path(backbone)
    files = sorted({file for pattern in _WEIGHTS for file in folder.glob(pattern)})
    parts = [[file.name, file.stat().st_size, _digest(file)] for file in files]
    adapted = None
    if adapter is not None:
        adapted = [
            digest_file(Path(adapter) / name)
            for name in ("adapter_model.safetensors", "adapter_config.json")
        ]
    return digest_json([backbone_digest(folder), parts, adapted])


def _digest(file: Path) -> str:
    size = file.stat().st_size
    if size <= _WHOLE:
        return digest_file(file)
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        for block in range(_BLOCKS):
            handle.seek(block * (size - _BLOCK) // (_BLOCKS - 1))
            digest.update(handle.read(_BLOCK))
    return digest.hexdigest()[:16]
