"""The plane on which the embeddings of a set of texts are drawn. N texts, D dimensions."""

import numpy as np


def principal_plane(vector_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Projection on the first two principal axes ``[N, 2]`` and their shares of variance ``[2]``.

    Pearson, "On lines and planes of closest fit to systems of points in space", Philosophical
    Magazine 1901. The sign of an axis is chosen so that its largest coordinate is positive, which
    makes the picture of equal vectors the same on every machine. A side without variance is zero.
    """
    centred_ND = np.asarray(vector_ND, dtype=np.float64)
    centred_ND = centred_ND - centred_ND.mean(axis=0)
    left_NR, scale_R, _ = np.linalg.svd(centred_ND, full_matrices=False)
    plane_N2, share_2 = np.zeros((len(centred_ND), 2)), np.zeros(2)
    kept = min(2, len(scale_R))
    plane_N2[:, :kept] = left_NR[:, :kept] * scale_R[:kept]
    total = float((scale_R**2).sum())
    if total > 0:
        share_2[:kept] = scale_R[:kept] ** 2 / total
    largest_2 = np.abs(plane_N2).argmax(axis=0)
    sign_2 = np.sign(plane_N2[largest_2, np.arange(2)])
    return plane_N2 * np.where(sign_2 == 0, 1.0, sign_2), share_2
