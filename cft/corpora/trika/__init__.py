"""Held-out verses of the Trika: Śiva Sūtras and Spanda Kārikā, with English and annotations.

Texts. All 77 Śiva Sūtras in the reading and numbering of Kṣemarāja's Vimarśinī: 1.1-1.22, 2.1-2.10
and 3.1-3.45, as ``SS_1_1`` to ``SS_3_45``. The Spanda Kārikā as in Kṣemarāja's Nirṇaya, 53 verses
numbered through: ``SK_1``-``SK_25`` (svarūpaspanda), ``SK_26``-``SK_32`` (sahajavidyodaya),
``SK_33``-``SK_51`` (vibhūtispanda) and the two closing verses; Kallaṭa's recension ends with
``SK_52``. The English side of a verse has its id with ``_EN``.

Orthography. Devanagari in NFC, words joined as in printed editions, class nasals before stops
inside a word and anusvāra elsewhere. A half-verse ends in a daṇḍa, a verse in a double daṇḍa, a
sūtra in neither. Where editions differ this one reads:

- SS 1.10 māyāsauṣuptam, one compound; SS 1.13 icchā śaktiḥ, two words
- SS 3.33 sukhāsukhayoḥ; others have sukhaduḥkhayoḥ
- SK 4 raktaś cetyādi, with the sandhi that the metre asks for; some print raktaś ca ityādi
- SK 29 na yā śivaḥ; SK 48 seyam; SK 51 layodayau

SS 3.2 repeats SS 1.2 word for word; the retrieval pool holds that text once.

English renderings, similarity scores with their reasons, and triplets are the project's own. They
are model-assisted, not the judgement of a panel of readers: no agreement between annotators was
measured. Scores mean: 5 the same meaning; 4 the same doctrine in other words; 3 one topic, of which
different things are said; 2 a shared theme or notion; 1 little beyond a word or the school; 0
unrelated subjects. No two verses say the same, so a 5 joins a verse to its English, and a
correlation over all pairs measures the gap between the languages as well. In a triplet of category
``mono`` or ``hard`` all texts are in one language, and a ``hard`` negative shares at least as much
of the anchor's wording as the positive does. In ``cross_lingual`` the positive and the negative are
both in the other language.
"""

from cft.corpora.trika.corpus import LabelledTriplet, SimilarityPair, TrikaCorpus
from cft.corpora.trika.embedded import load_trika
from cft.corpora.trika.module import read_trika_module

__all__ = [
    "LabelledTriplet",
    "SimilarityPair",
    "TrikaCorpus",
    "load_trika",
    "read_trika_module",
]
