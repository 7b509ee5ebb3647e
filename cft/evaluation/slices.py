"""Parts of a suite's items: the verses of one text, or the texts that a model never trained on."""

import numpy as np

from cft.evaluation.sections import Items

_RANKS = ("sa_en/rank", "en_sa/rank")
# The ids by which an item's texts are known, by section.
_IDS = {
    "pairs": ("pairs/sanskrit_id", "pairs/english_id"),
    "sts": ("sts/a_id", "sts/b_id"),
    "triplet": ("triplet/anchor_id", "triplet/positive_id", "triplet/negative_id"),
    "separation": ("separation/a_id", "separation/b_id"),
}


def pairs_of_text(items: Items, text: str) -> dict[str, np.ndarray]:
    """The retrieval items of one text, such as ``siva_sutra``; the pool of documents stays whole.

    Empty where the suite does not say which text a verse belongs to, or has none of this one.
    """
    if "pairs/text" not in items:
        return {}
    return _chosen(items, "pairs", items["pairs/text"] == text)


def without_texts(items: Items, ids: np.ndarray) -> dict[str, np.ndarray]:
    """The pairs, graded pairs, triplets and labelled pairs that hold none of these texts.

    What is not made of single items (hubs, geometry, drift) is left out.
    """
    kept: dict[str, np.ndarray] = {}
    for section, names in _IDS.items():
        if names[0] in items:
            seen_N = np.any([np.isin(items[name], ids) for name in names], axis=0)
            kept |= _chosen(items, section, ~seen_N)
    return kept


def _chosen(items: Items, section: str, keep_N: np.ndarray) -> dict[str, np.ndarray]:
    if not keep_N.any():
        return {}
    names = [name for name in items if name.startswith(f"{section}/")]
    if section == "pairs":
        names += [name for name in _RANKS if name in items]
    return {name: items[name][keep_N] for name in names}
