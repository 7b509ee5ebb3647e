"""A small grammar of Sanskrit and the two corpora that it generates, with their English.

The Sanskrit is grammatical and correctly inflected; its verses have no metre, and words stand in
pause form, without sandhi between them (rāmaḥ vanam agacchat, final m written as m). Everything
is deterministic by seed and needs no file.
"""

from .chapters import epic
from .themes import verses
from .verse import GENERATOR_VERSION

__all__ = ["GENERATOR_VERSION", "epic", "verses"]
