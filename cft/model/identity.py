"""Which weights a folder holds: the key of everything that is computed from them and kept."""

import hashlib
from pathlib import Path

from cft.files import digest_file, digest_json
from cft.model.backbone import backbone_digest

_WEIGHTS = ("*.safetensors", "*.bin")
_WHOLE = 64 << 20  # bytes; larger files are sampled
_BLOCKS, _BLOCK = 1024, 16 << 10


def weights_digest(backbone: Path | str, adapter: Path | str | None = None) -> str:
    """Identity of the weights that encode: a backbone and perhaps an adapter (16 hex digits).

    :func:`cft.model.backbone.backbone_digest` reads the ends of a weight file, which tells
    pre-trained models apart. A merged adapter changes tensors in the middle only, so here a large
    file enters by 1,024 blocks spread evenly over it; fine-tuning leaves no tensor of that
    spacing (5 MB in a 5 GB file) untouched.
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
