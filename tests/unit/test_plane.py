"""The plane of a map, against scikit-learn."""

import numpy as np
from sklearn.decomposition import PCA

from cft.evaluation.plane import principal_plane


def test_the_plane_is_that_of_principal_component_analysis():
    vector_ND = np.random.default_rng(3).normal(size=(60, 9))
    plane_N2, share_2 = principal_plane(vector_ND)
    reference = PCA(2).fit(vector_ND)
    np.testing.assert_allclose(share_2, reference.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_allclose(
        np.abs(plane_N2), np.abs(reference.transform(vector_ND)), rtol=1e-5, atol=1e-6
    )
    largest = np.abs(plane_N2).argmax(axis=0)
    assert (plane_N2[largest, [0, 1]] > 0).all()
    np.testing.assert_allclose(principal_plane(vector_ND + 5)[0], plane_N2, atol=1e-6)


def test_texts_that_all_lie_in_one_point_or_on_one_line_have_a_plane():
    plane_N2, share_2 = principal_plane(np.ones((5, 3)))
    assert not plane_N2.any()
    assert not share_2.any()
    plane_N2, share_2 = principal_plane(np.arange(4.0)[:, None])
    np.testing.assert_allclose(np.abs(plane_N2[:, 0]), [1.5, 0.5, 0.5, 1.5])
    assert share_2.tolist() == [1.0, 0.0]
