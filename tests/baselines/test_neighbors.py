"""Neighbours against exact arithmetic and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from neighbor_cases import (
    ALL_METRICS,
    KINDS,
    assert_same_bits,
    draw,
    exact_nearest,
    of_scikit_learn,
)
from sklearn.neighbors import NearestNeighbors

from nnexp.baselines.neighbors import integers, nearest, search
from nnexp.errors import DataError


@pytest.fixture(params=["as the device likes", "by floats"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to find the neighbours of whole numbers."""
    if request.param == "by floats":
        monkeypatch.setattr(integers, "usable", lambda num_features, device: False)


@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("way")
def test_neighbours_are_those_of_exact_arithmetic(kind: str, metric: str) -> None:
    for seed, (num_rows, num_features, k) in enumerate([(150, 5, 7), (60, 20, 12), (9, 1, 9)]):
        train = draw(kind, num_rows, num_features, seed)
        queries = torch.cat(
            [draw(kind, 3, num_features, seed + 100), train[5:7]]
            + [torch.full((1, num_features), number) for number in (0.0, 0.3)]
        )
        found, indices = nearest(train, queries, k, metric=metric)
        expected_distances, expected = exact_nearest(train, queries, k, metric)
        np.testing.assert_array_equal(indices.numpy(), expected)
        np.testing.assert_allclose(found.numpy(), expected_distances, rtol=1e-14, atol=1e-14)
        assert (found[:, 1:] >= found[:, :-1]).all()
        assert found.dtype == torch.float64
        assert indices.dtype == torch.int64


@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.usefixtures("way")
def test_ties_on_a_large_integer_grid(metric: str) -> None:
    """Hundreds of rows at the k-th distance, duplicates and zero vectors among them."""
    rng = np.random.default_rng(0)
    train, queries = rng.integers(0, 3, (6000, 6)), rng.integers(0, 3, (200, 6))
    k = 20
    if metric == "euclidean":
        keys = ((queries[:, None] - train) ** 2).sum(-1)
    elif metric == "manhattan":
        keys = abs(queries[:, None] - train).sum(-1)
    elif metric == "minkowski_1.5":
        apart = abs(queries[:, None] - train)
        keys = (apart == 1).sum(-1) + (apart == 2).sum(-1) * 2**1.5
    else:  # cos^2, in units of 1 / lcm(1, ..., 24): every squared norm divides that
        norms, unit = (train**2).sum(-1), math.lcm(*range(1, 25))
        keys = -((queries @ train.T) ** 2 * unit // np.maximum(norms, 1))
    order = keys.argsort(1, kind="stable")
    ranked = np.take_along_axis(keys, order, 1)
    assert (ranked[:, k - 1] == ranked[:, k + search.SPARE]).mean() > 0.6
    _, found = nearest(
        torch.from_numpy(train).float(), torch.from_numpy(queries).float(), k, metric=metric
    )
    np.testing.assert_array_equal(found.numpy(), order[:, :k])


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_neighbours_are_those_of_scikit_learn(metric: str) -> None:
    rng = np.random.default_rng(1)
    train = rng.normal(size=(3000, 12)).astype(np.float32)
    queries = rng.normal(size=(300, 12)).astype(np.float32)
    peer = NearestNeighbors(n_neighbors=15, algorithm="brute", **of_scikit_learn(metric))
    expected_distances, expected = peer.fit(train.astype(float)).kneighbors(queries.astype(float))
    found, indices = nearest(torch.from_numpy(train), torch.from_numpy(queries), 15, metric=metric)
    np.testing.assert_array_equal(indices.numpy(), expected)
    np.testing.assert_allclose(found.numpy(), expected_distances, rtol=1e-6)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_ties_where_scikit_learn_has_one_answer(metric: str) -> None:
    """Where no tie crosses the k-th place, the sets must agree, however ties are broken inside."""
    rng = np.random.default_rng(2)
    train, queries = rng.integers(0, 16, (2000, 3)), rng.integers(0, 16, (400, 3))
    k = 10
    peer = NearestNeighbors(n_neighbors=k + 1, algorithm="brute", metric=metric)
    theirs_distances, theirs = peer.fit(train.astype(float)).kneighbors(queries.astype(float))
    clear = theirs_distances[:, k - 1] < theirs_distances[:, k]
    assert 20 < clear.sum() < 380
    found, ours = nearest(
        torch.from_numpy(train).float(), torch.from_numpy(queries).float(), k, metric=metric
    )
    np.testing.assert_allclose(found.numpy(), theirs_distances[:, :k], rtol=1e-12)
    np.testing.assert_array_equal(
        np.sort(ours.numpy()[clear], axis=1), np.sort(theirs[clear, :k], axis=1)
    )


def test_parallel_vectors_are_at_cosine_distance_zero() -> None:
    """Though rounding makes 1e-16 of some of them."""
    train = torch.outer(torch.arange(1.0, 60.0), torch.tensor([0.1, 0.7, -1.3]))
    found, _ = nearest(torch.cat([train, -train]), train[:1], 60, metric="cosine")
    assert found[0, :59].tolist() == [0.0] * 59
    assert found[0, 59] == pytest.approx(2, rel=1e-15)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_named(value: float) -> None:
    good = torch.zeros(4, 3)
    bad = good.clone()
    bad[2, 1] = value
    with pytest.raises(DataError, match=f"training row 2, feature 1 is {value}"):
        nearest(bad, good, 1)
    with pytest.raises(DataError, match=f"query 2, feature 1 is {value}"):
        nearest(good, bad, 1)


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="the training rows have 3, the queries 2"):
        nearest(torch.zeros(4, 3), torch.zeros(4, 2), 1)
    with pytest.raises(DataError, match="at least one"):
        nearest(torch.zeros(4, 0), torch.zeros(4, 0), 1)
    with pytest.raises(TypeError, match="float32"):
        nearest(torch.zeros(4, 3), torch.zeros(4, 3, dtype=torch.float64), 1)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_cuda_finds_the_same_neighbours(kind: str, metric: str) -> None:
    """The same bits: keys are made of elementwise float64 operations in one order."""
    train, queries = draw(kind, 2000, 30, 0), draw(kind, 100, 30, 1)
    found = nearest(train.cuda(), queries.cuda(), 9, metric=metric)
    assert found[0].is_cuda
    assert_same_bits((found[0].cpu(), found[1].cpu()), nearest(train, queries, 9, metric=metric))
