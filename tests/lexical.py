"""A lexical encoder and a small evaluation set of verses whose English is word for word."""

import hashlib

import numpy as np

from cft.corpora.evalset import EvalPair, EvalSet, EvalSts, EvalTriplet
from cft.recipe import EvalRecipe

RECIPE = EvalRecipe(bootstrap_samples=200)


class TrigramEncoder:
    """Hashed counts of character trigrams: a lexical encoder that needs no weights."""

    def __init__(self, width=64, words=None):
        self.width, self.words, self.calls = width, words or {}, []

    def vector(self, text):
        text = " ".join(self.words.get(word, word) for word in text.split())
        vector_D = np.full(self.width, 0.01)
        for start in range(-2, len(text)):
            piece = f"  {text} "[start + 2 : start + 5]
            digest = hashlib.blake2b(piece.encode(), digest_size=8).digest()
            vector_D[int.from_bytes(digest, "little") % self.width] += 1
        return vector_D / np.linalg.norm(vector_D)

    def encode(self, texts, *, prompt=None, batch_tokens=8192, progress=True):
        self.calls.append((prompt, list(texts)))
        return np.array([self.vector((prompt or "") + text) for text in texts], dtype=np.float32)


DICTIONARY = {
    **{"रामः": "Rama", "सीता": "Sita", "नृपः": "king", "ऋषिः": "sage", "कपिः": "monkey"},
    **{"वनम्": "forest", "नगरम्": "city", "गृहम्": "house", "पश्यति": "sees", "गच्छति": "enters"},
}
WORDS = list(DICTIONARY)
SANSKRIT = [
    f"{who} {where} {what}" for who in WORDS[:5] for where in WORDS[5:8] for what in WORDS[8:]
]


def english_of(verse):
    return " ".join(DICTIONARY[word] for word in verse.split())


def evaluation_set(**changes):
    """30 verses word by word in English, graded pairs by shared words, triplets of two kinds."""
    pairs = [EvalPair(sanskrit=verse, english=english_of(verse)) for verse in SANSKRIT]
    sts = [
        EvalSts(a=one, b=other, score=len(set(one.split()) & set(other.split())))
        for one, other in zip(SANSKRIT, SANSKRIT[3:] + SANSKRIT[:3], strict=True)
    ] + [EvalSts(a=SANSKRIT[0], b=SANSKRIT[-1], score=0)]
    triplets = [
        EvalTriplet(
            anchor=SANSKRIT[row],
            positive=english_of(SANSKRIT[row]),
            negative=english_of(SANSKRIT[(row + 7) % 30]),
            category="x_y",
        )
        for row in range(10)
    ] + [
        EvalTriplet(
            anchor=SANSKRIT[0], positive=SANSKRIT[1], negative=SANSKRIT[-1], category="mono"
        )
    ]
    return EvalSet(**{"name": "words", "pairs": pairs, "sts": sts, "triplets": triplets} | changes)
