"""KNN against exact arithmetic, scikit-learn, published figures and numbers worked out by hand."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from nnexp.baselines import distances, neighbors
from nnexp.baselines import knn as knn_module
from nnexp.baselines.choice import Choice
from nnexp.baselines.data import Data, Rows
from nnexp.baselines.distances import METRICS, fold
from nnexp.baselines.knn import KNN, Votes, tuned_knn
from nnexp.baselines.neighbors import nearest
from nnexp.config.schema import KNNConfig
from nnexp.errors import ConfigError, DataError

ALL_METRICS = ("euclidean", "manhattan", "cosine")


@dataclass(frozen=True)
class Result:
    k: int
    val_acc_by_k: dict[int, float]
    val: Votes
    test: Votes


def knn(
    train: Rows, val: Rows, test: Rows, *, num_classes: int, ks: list[int], **settings: Any
) -> Result:
    """Choose k on the validation rows, then read the test rows."""
    model = KNN(train, num_classes, **settings)
    choice: Choice[None] = Choice()
    model.choose(val, ks, [model.weights], choice)
    k = choice.settings["k"]
    val_acc_by_k = {tried["k"]: tried["val/acc"] for tried in choice.tried}
    return Result(k, val_acc_by_k, model.predict(val, k), model.predict(test, k))


def exact_key(row: list[Fraction], query: list[Fraction], metric: str) -> Fraction:
    """A number that grows with the distance, without any rounding."""
    pairs = list(zip(row, query, strict=True))
    if metric == "euclidean":
        return sum(((a - b) ** 2 for a, b in pairs), Fraction(0))
    if metric == "manhattan":
        return sum((abs(a - b) for a, b in pairs), Fraction(0))
    product = sum((a * b for a, b in pairs), Fraction(0))
    norms = sum(a * a for a in row) * sum(b * b for b in query)
    return -product * abs(product) / norms if norms else Fraction(0)


def exact_nearest(
    train: Tensor, queries: Tensor, k: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices by brute force in fractions; ties to the lowest row."""
    rows = [[Fraction(value) for value in row] for row in train.tolist()]
    keys, indices = [], []
    for query in ([Fraction(value) for value in row] for row in queries.tolist()):
        ranked = sorted((exact_key(row, query, metric), i) for i, row in enumerate(rows))[:k]
        keys.append([key for key, _ in ranked])
        indices.append([index for _, index in ranked])
    to_distance: dict[str, Callable[[Fraction], float]] = {
        "euclidean": lambda key: math.sqrt(key),
        "manhattan": lambda key: float(key),
        "cosine": lambda key: 1 + math.copysign(math.sqrt(abs(key)), key),
    }
    return np.vectorize(to_distance[metric], otypes=[float])(keys), np.array(indices)


def grid(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.integers(0, 4, shape).astype(float)


def permutations(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Rows of the same numbers in another order: equal sums that are rounded differently."""
    return rng.permuted(np.tile(np.linspace(0.1, 1.7, shape[1]) ** 2, (shape[0], 1)), axis=1)


def sparse(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.normal(size=shape) * (rng.random(shape) < 0.2)


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "grid": grid,
    "thirds": lambda rng, shape: grid(rng, shape) / 3,
    "duplicates": lambda rng, shape: rng.normal(size=(6, shape[1]))[rng.integers(0, 6, shape[0])],
    "constant": lambda rng, shape: np.full(shape, 0.1),
    "permutations": permutations,
    "parallel": lambda rng, shape: np.outer(rng.integers(1, 9, shape[0]), np.ones(shape[1]) / 7),
    "sparse, zero rows": sparse,
    "far from the origin": lambda rng, shape: 1e4 + 1e-2 * rng.normal(size=shape),
    "neighbours in float32": lambda rng, shape: 1 + 2.0**-23 * grid(rng, shape),
    "one outlier": lambda rng, shape: np.vstack([[1e6] * shape[1], rng.normal(size=shape)[1:]]),
    "1e-44 to 1e36": lambda rng, shape: (
        rng.normal(size=shape) * 10.0 ** rng.integers(-44, 37, shape)
    ),
    "1e37": lambda rng, shape: 1e37 * rng.normal(size=shape),
    "thirds of 1e-30": lambda rng, shape: 1e-30 * grid(rng, shape) / 3,
    "subnormal": lambda rng, shape: 2.0**-149 * grid(rng, shape),
}


def draw(kind: str, num_rows: int, num_features: int, seed: int) -> Tensor:
    values = KINDS[kind](np.random.default_rng(seed), (num_rows, num_features))
    return torch.from_numpy(values.astype(np.float32))


@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.parametrize("kind", KINDS)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_score_is_beyond_the_reach_of_its_own_key(
    kind: str, metric: str, dtype: torch.dtype
) -> None:
    """The bound that proofs rest on: else a row could be left out though it is near."""
    train, queries = draw(kind, 300, 40, 0), draw(kind, 20, 40, 1)
    measure = METRICS[metric](train, queries, 2**20)
    scan = measure.scan(dtype)
    scores = torch.empty(len(queries), len(train), dtype=dtype)
    scan.scores(queries, scores)
    keys = measure.keys(torch.arange(20), torch.arange(300).expand(20, 300))
    keys += measure.slack(keys)
    for row_keys, row_scores in zip(keys.T, scores.T, strict=True):
        assert (row_scores <= scan.reach(queries, row_keys)).all()


@pytest.mark.parametrize(
    ("kind", "scans", "fractions"),
    [
        ("normal", 1, False),
        ("grid", 2, False),
        ("duplicates", 2, False),
        ("thirds", 2, True),
        ("far from the origin", 1, False),
        ("one outlier", 1, False),
    ],
)
def test_each_step_is_taken_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, kind: str, scans: int, fractions: bool
) -> None:
    calls = []
    for owner, name in ((distances.Euclidean, "scan"), (distances.Metric, "exact_keys")):
        method = getattr(owner, name)

        def counted(self, *args, method=method, name=name):  # type: ignore[no-untyped-def]
            calls.append(name)
            return method(self, *args)

        monkeypatch.setattr(owner, name, counted)
    queries = draw("normal" if kind == "one outlier" else kind, 50, 4, 1)
    nearest(draw(kind, 2000, 4, 0), queries, 5)
    assert calls.count("scan") == scans
    assert ("exact_keys" in calls) == fractions


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_ties_on_a_large_integer_grid(metric: str) -> None:
    """Hundreds of rows at the k-th distance, duplicates and zero vectors among them."""
    rng = np.random.default_rng(0)
    train, queries = rng.integers(0, 3, (6000, 6)), rng.integers(0, 3, (200, 6))
    k = 20
    if metric == "euclidean":
        keys = ((queries[:, None] - train) ** 2).sum(-1)
    elif metric == "manhattan":
        keys = abs(queries[:, None] - train).sum(-1)
    else:  # cos^2, in units of 1 / lcm(1, ..., 24): every squared norm divides that
        norms, unit = (train**2).sum(-1), math.lcm(*range(1, 25))
        keys = -((queries @ train.T) ** 2 * unit // np.maximum(norms, 1))
    order = keys.argsort(1, kind="stable")
    ranked = np.take_along_axis(keys, order, 1)
    assert (ranked[:, k - 1] == ranked[:, k + neighbors.SPARE]).mean() > 0.6
    _, found = nearest(
        torch.from_numpy(train).float(), torch.from_numpy(queries).float(), k, metric=metric
    )
    np.testing.assert_array_equal(found.numpy(), order[:, :k])


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_neighbours_are_those_of_scikit_learn(metric: str) -> None:
    rng = np.random.default_rng(1)
    train = rng.normal(size=(3000, 12)).astype(np.float32)
    queries = rng.normal(size=(300, 12)).astype(np.float32)
    peer = NearestNeighbors(n_neighbors=15, algorithm="brute", metric=metric)
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


def in_blocks(memory_bytes: int) -> tuple[Tensor, Tensor]:
    train = torch.cat([draw("thirds", 900, 5, 0), draw("normal", 900, 5, 0)])
    return nearest(train, torch.cat([train[::9], train[::9] + 0.25]), 9, memory_bytes=memory_bytes)


def assert_same_bits(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_memory_and_threads_do_not_change_a_bit() -> None:
    expected = in_blocks(2**28)
    for memory_bytes in (1800 * 192, 2**20, 2**22):
        assert_same_bits(in_blocks(memory_bytes), expected)
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            assert_same_bits(in_blocks(2**28), expected)
    finally:
        torch.set_num_threads(threads)


def test_lower_precision_elsewhere_does_not_change_a_bit() -> None:
    """TF32 and bfloat16 products, which training may have asked for, would break the bounds."""
    plane = draw("normal", 2, 64, 0)  # low-dimensional data: many rows at about one distance
    train, queries = draw("normal", 20000, 2, 1) @ plane, draw("normal", 300, 2, 2) @ plane
    expected = nearest(train, queries, 9)
    before = torch.get_float32_matmul_precision()
    try:
        for precision in ("medium", "high"):
            torch.set_float32_matmul_precision(precision)
            assert_same_bits(nearest(train, queries, 9), expected)
            assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same_bits(nearest(train, queries, 9), expected)


def peak_bytes(work: Callable[[], object]) -> int:
    """The most that torch held of what it allocated during ``work``."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    held = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.parametrize("kind", ["normal", "grid", "constant"])
def test_memory_stays_within_the_bound(kind: str, metric: str) -> None:
    num_rows, k = 1000, 5
    train, queries = draw(kind, num_rows, 10, 0), draw(kind, 40, 10, 1)
    least = num_rows * 192
    copies = 2 * train.nbytes + 2 * (len(queries) * k * 16)  # float64 rows; keys and distances
    peaks = []
    for memory_bytes in (least, 4 * least):
        peaks.append(
            peak_bytes(lambda: nearest(train, queries, k, metric=metric, memory_bytes=memory_bytes))  # noqa: B023
        )
        assert peaks[-1] <= memory_bytes + copies
    assert peaks[1] > 1.5 * peaks[0], "the bound is there to be used"


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_keys_hang_on_their_pair_alone(metric: str) -> None:
    """However many pairs are asked for at a time, and however they are cut into blocks."""
    train, queries = draw("normal", 30, 7, 0), draw("normal", 20, 7, 1)
    query, rows = torch.arange(20), torch.arange(30).expand(20, 30)
    expected = METRICS[metric](train, queries, 2**28).keys(query, rows)
    in_pairs = torch.cartesian_prod(query, torch.arange(30))
    for memory_bytes in (4, 2**13, 2**17):  # blocks of one pair, of a part of a query, of several
        measure = METRICS[metric](train, queries, memory_bytes)
        assert torch.equal(measure.keys(query, rows), expected)
        one_by_one = measure.keys(in_pairs[:, 0], in_pairs[:, 1:])
        assert torch.equal(one_by_one.view(20, 30), expected)


def test_fold_adds_every_term_once() -> None:
    for width in (1, 2, 3, 7, 64, 785):
        terms = torch.randint(0, 1000, (3, width)).double()
        assert torch.equal(fold(terms.clone()), terms.sum(1))


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.parametrize("k", [1, 4, 15])
def test_votes_are_those_of_scikit_learn(metric: str, weights: str, k: int) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(800, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) + 2 * (x[:, 1] > 0.5) + rng.integers(0, 2, 800)
    queries = np.vstack([rng.normal(size=(200, 4)), x[:50]]).astype(np.float32)
    peer = KNeighborsClassifier(k, algorithm="brute", metric=metric, weights=weights)
    peer.fit(x.astype(float), y)
    model = KNN(Rows(*map(torch.from_numpy, (x, y))), int(y.max()) + 1, metric, weights)
    votes = model.predict(Rows(torch.from_numpy(queries), torch.zeros(250, dtype=torch.int64)), k)
    if metric == "cosine" and weights == "distance":
        votes_of_others = slice(0, 200)  # it finds 1e-16, not 0, between a row and itself
    else:
        votes_of_others = slice(0, 250)
    part = queries[votes_of_others].astype(float)
    np.testing.assert_array_equal(votes.predictions[votes_of_others], peer.predict(part))
    np.testing.assert_allclose(
        votes.probabilities[votes_of_others], peer.predict_proba(part), atol=1e-6
    )
    assert votes.probabilities.dtype == torch.float32


class GivenNeighbours(KNeighborsClassifier):
    """scikit-learn's votes, on neighbours found elsewhere."""

    def kneighbors(self, X=None, n_neighbors=None, return_distance=True):  # type: ignore[no-untyped-def]
        return self.given_ if return_distance else self.given_[1]


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ALL_METRICS)
def test_votes_with_ties_are_those_of_scikit_learn(metric: str, weights: str) -> None:
    """On a grid with duplicates: scikit-learn's own votes on the neighbours of exact arithmetic."""
    rng = np.random.default_rng(4)
    train = torch.from_numpy(rng.integers(0, 3, (300, 3))).float()
    queries = torch.from_numpy(rng.integers(0, 3, (60, 3))).float()
    y = torch.from_numpy(rng.integers(0, 4, 300))
    model = KNN(Rows(train, y), 4, metric, weights)
    tied = 0
    for k in (1, 2, 6, 11):
        peer = GivenNeighbours(k, algorithm="kd_tree", weights=weights).fit(train, y)
        peer.given_ = exact_nearest(train, queries, k, metric)
        votes = model.predict(Rows(queries, torch.zeros(60, dtype=torch.int64)), k)
        np.testing.assert_array_equal(votes.predictions, peer.predict(queries))
        np.testing.assert_allclose(votes.probabilities, peer.predict_proba(queries), atol=1e-6)
        top = votes.probabilities.topk(2).values
        tied += int((top[:, 0] == top[:, 1]).sum())
    assert tied > 20


def line(*positions: float) -> Tensor:
    return torch.tensor(positions, dtype=torch.float32).unsqueeze(1)


#           position  0  1  2  3  4    10 11 12
LINE = Rows(line(0, 1, 2, 3, 4, 10, 11, 12), torch.tensor([0, 0, 1, 0, 0, 1, 1, 1]))


def test_k_is_chosen_on_validation_rows_alone() -> None:
    val = Rows(line(2.1, 10.4, 0.2), torch.tensor([0, 1, 0]))
    test = Rows(line(1.9, 11, 3.2), torch.tensor([1, 1, 0]))
    result = knn(LINE, val, test, num_classes=2, ks=[5, 1, 3, 3, 8])
    # Of 2.1, the nearest row says 1 and the nearest three say 0, 0 and 1; all eight tie: class 0.
    # Of 3 and 5, which are right alike, 3 is as sure of 2.1 and surer of 0.2.
    assert result.val_acc_by_k == {1: 2 / 3, 3: 1.0, 5: 1.0, 8: 2 / 3}
    assert (result.k, result.val.acc, result.test.acc) == (3, 1.0, 2 / 3)
    assert result.val.predictions.tolist() == [0, 1, 0]
    assert result.test.predictions.tolist() == [0, 1, 0]
    third = torch.tensor([[2, 1], [0, 3], [2, 1]]) / 3
    assert torch.equal(result.test.probabilities, third)


def test_neighbours_are_looked_up_once_for_all_k(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = []

    def counted(train: Tensor, queries: Tensor, k: int, **settings: object) -> object:
        searches.append((len(queries), k))
        return nearest(train, queries, k, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(knn_module, "nearest", counted)
    val, test = Rows(LINE.x[:4], LINE.y[:4]), Rows(LINE.x[4:6], LINE.y[4:6])
    result = knn(LINE, val, test, num_classes=2, ks=[7, 1, 5])
    assert searches == [(4, 7), (4, result.k), (2, result.k)]


def test_neighbours_are_looked_up_once_a_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = []

    def counted(train: Tensor, queries: Tensor, k: int, *, metric: str, **settings: object) -> Any:
        searches.append((metric, len(queries), k))
        return nearest(train, queries, k, metric=metric, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(knn_module, "nearest", counted)
    x, y = torch.cat([LINE.x, line(2.1, 10.4), line(1.9)]), torch.tensor([*LINE.y, 0, 1, 0])
    rows = {"train": torch.arange(8), "val": torch.tensor([8, 9]), "test": torch.tensor([10])}
    data = Data(x, y, rows, num_classes=2, seed=0)
    config = KNNConfig([7, 1, 5], ["manhattan", "euclidean"], ["distance", "uniform"])
    found = tuned_knn(config, data)
    metric, k = found.settings["metric"], found.settings["k"]
    assert searches == [("manhattan", 2, 7), ("euclidean", 2, 7), (metric, 1, k)]
    assert [tuple(one.values())[:3] for one in found.tried] == [
        (k, metric, weights)
        for metric in ("manhattan", "euclidean")
        for weights in ("distance", "uniform")
        for k in (1, 5, 7)
    ]


def test_neighbours_at_distance_zero_vote_alone() -> None:
    train = Rows(line(5, 5, 5, 6, 7), torch.tensor([1, 2, 2, 0, 0]))
    model = KNN(train, 3, weights="distance")
    votes = model.predict(Rows(line(5, 6.5), torch.tensor([2, 0])), 5)
    weights = [[0, 1, 2], [2 / 0.5, 1 / 1.5, 2 / 1.5]]
    expected = torch.tensor(weights) / torch.tensor(weights).sum(1, keepdim=True)
    torch.testing.assert_close(votes.probabilities, expected)
    assert votes.acc == 1.0


def test_parallel_vectors_are_at_cosine_distance_zero() -> None:
    """Though rounding makes 1e-16 of some of them."""
    train = torch.outer(torch.arange(1.0, 60.0), torch.tensor([0.1, 0.7, -1.3]))
    found, _ = nearest(torch.cat([train, -train]), train[:1], 60, metric="cosine")
    assert found[0, :59].tolist() == [0.0] * 59
    assert found[0, 59] == pytest.approx(2, rel=1e-15)


def test_equal_votes_go_to_the_lowest_class() -> None:
    train = Rows(line(1, -1, 2, -2), torch.tensor([2, 1, 0, 2]))
    for weights in ("uniform", "distance"):
        votes = KNN(train, 3, weights=weights).predict(Rows(line(0), torch.tensor([1])), 2)
        assert votes.predictions.tolist() == [1]
        assert votes.probabilities.tolist() == [[0.0, 0.5, 0.5]]


def test_without_rows_there_is_no_accuracy() -> None:
    nothing = Rows(torch.empty(0, 1), torch.empty(0, dtype=torch.int64))
    votes = KNN(LINE, 2).predict(nothing, 1)
    assert math.isnan(votes.acc)
    assert votes.probabilities.shape == (0, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ks": [3, 9]}, "k=9: must be from 1 to 8, the number of training rows"),
        ({"ks": [0]}, "k=0: must be from 1 to 8, the number of training rows"),
        ({"ks": []}, "k: at least one number of neighbours is needed"),
        (
            {"ks": [1], "metric": "euclidian"},
            "metric=euclidian (did you mean 'euclidean'?): use one",
        ),
        (
            {"ks": [1], "weights": "distances"},
            "weights=distances (did you mean 'distance'?): use one",
        ),
        (
            {"ks": [1], "memory_bytes": 1000},
            "0.000954 MiB of memory: KNN needs at least 0.00146 MiB",
        ),
    ],
)
def test_bad_settings_are_told(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        knn(LINE, LINE, LINE, num_classes=2, **settings)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


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


def read_idx(path: Path) -> Tensor:
    """The numbers of an IDX file: magic, sizes as big-endian integers, bytes."""
    content = gzip.decompress(path.read_bytes())
    num_dimensions = content[3]
    shape = np.frombuffer(content, ">i4", num_dimensions, offset=4).tolist()
    numbers = np.frombuffer(content, np.uint8, offset=4 + 4 * num_dimensions)
    return torch.tensor(numbers).view(shape)


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "k", "acc"), [("mnist", 3, 0.9705), ("fashion-mnist", 5, 0.8554)])
def test_published_accuracy_on_raw_pixels(shared_data: Path, name: str, k: int, acc: float) -> None:
    """L2, uniform votes, all 60,000 training rows: zalandoresearch/fashion-mnist's benchmark."""
    splits = [
        Rows(
            read_idx(shared_data / name / f"{split}-images-idx3-ubyte.gz").flatten(1).float(),
            read_idx(shared_data / name / f"{split}-labels-idx1-ubyte.gz").long(),
        )
        for split in ("train", "t10k")
    ]
    assert KNN(splits[0], num_classes=10).predict(splits[1], k).acc == acc


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


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_cuda_counts_the_same_votes(weights: str) -> None:
    train = Rows(draw("thirds", 500, 4, 0), torch.arange(500) % 5)
    test = Rows(draw("thirds", 100, 4, 1), torch.arange(100) % 5)
    expected = knn(train, test, test, num_classes=5, ks=[1, 4, 9], weights=weights)
    on_cuda = [Rows(rows.x.cuda(), rows.y.cuda()) for rows in (train, test, test)]
    found = knn(*on_cuda, num_classes=5, ks=[1, 4, 9], weights=weights)
    assert (found.k, found.val_acc_by_k) == (expected.k, expected.val_acc_by_k)
    assert torch.equal(found.test.probabilities.cpu(), expected.test.probabilities)
