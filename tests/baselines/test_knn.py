"""KNN against scikit-learn, published figures and numbers worked out by hand."""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from neighbor_cases import ALL_METRICS, draw, exact_nearest, of_scikit_learn
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from nnexp.baselines import knn_votes as knn_votes_module
from nnexp.baselines.knn_tuning import tuned_knn
from nnexp.baselines.knn_votes import KNN, Votes
from nnexp.baselines.neighbors import nearest
from nnexp.baselines.selection import Choice, Data, Rows
from nnexp.config.schema import KNNConfig
from nnexp.data import Dataset, ScaledTable
from nnexp.errors import ConfigError


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
    weights = settings.pop("weights", "uniform")
    model = KNN(train, num_classes, **settings)
    choice: Choice[Votes | None] = Choice()
    model.choose(val, [{"k": k, "weights": weights} for k in ks], choice)
    k = choice.settings["k"]
    val_acc_by_k = {tried["k"]: tried["val/acc"] for tried in choice.tried}
    return Result(k, val_acc_by_k, model.predict(val, k, weights), model.predict(test, k, weights))


def with_one_more(shares: Any, k: int) -> Any:
    """Probabilities: every class has one vote more than its share of k."""
    return (k * shares + 1) / (k + shares.shape[1])


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.parametrize("k", [1, 4, 15])
def test_votes_are_those_of_scikit_learn(metric: str, weights: str, k: int) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(800, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) + 2 * (x[:, 1] > 0.5) + rng.integers(0, 2, 800)
    queries = np.vstack([rng.normal(size=(200, 4)), x[:50]]).astype(np.float32)
    peer = KNeighborsClassifier(k, algorithm="brute", weights=weights, **of_scikit_learn(metric))
    peer.fit(x.astype(float), y)
    model = KNN(Rows(*map(torch.from_numpy, (x, y))), int(y.max()) + 1, metric)
    rows = Rows(torch.from_numpy(queries), torch.zeros(250, dtype=torch.int64))
    votes = model.predict(rows, k, weights)
    if metric == "cosine" and weights == "distance":
        votes_of_others = slice(0, 200)  # it finds 1e-16, not 0, between a row and itself
    else:
        votes_of_others = slice(0, 250)
    part = queries[votes_of_others].astype(float)
    np.testing.assert_array_equal(votes.predictions[votes_of_others], peer.predict(part))
    expected = with_one_more(peer.predict_proba(part), k)
    np.testing.assert_allclose(votes.probabilities[votes_of_others], expected, atol=1e-6)
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
    model = KNN(Rows(train, y), 4, metric)
    tied = 0
    for k in (1, 2, 6, 11):
        peer = GivenNeighbours(k, algorithm="kd_tree", weights=weights).fit(train, y)
        peer.given_ = exact_nearest(train, queries, k, metric)
        votes = model.predict(Rows(queries, torch.zeros(60, dtype=torch.int64)), k, weights)
        np.testing.assert_array_equal(votes.predictions, peer.predict(queries))
        expected = with_one_more(peer.predict_proba(queries), k)
        np.testing.assert_allclose(votes.probabilities, expected, atol=1e-6)
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
    fifth = torch.tensor([[3, 2], [1, 4], [3, 2]]) / 5  # with a vote more for each class
    assert torch.equal(result.test.probabilities, fifth)


def test_neighbours_are_looked_up_once_for_all_k(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = []

    def counted(train: Tensor, queries: Tensor, k: int, **settings: object) -> object:
        searches.append((len(queries), k))
        return nearest(train, queries, k, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(knn_votes_module, "nearest", counted)
    val, test = Rows(LINE.x[:4], LINE.y[:4]), Rows(LINE.x[4:6], LINE.y[4:6])
    result = knn(LINE, val, test, num_classes=2, ks=[7, 1, 5])
    assert searches == [(4, 7), (4, result.k), (2, result.k)]


def test_neighbours_are_looked_up_once_a_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = []

    def counted(train: Tensor, queries: Tensor, k: int, *, metric: str, **settings: object) -> Any:
        searches.append((metric, len(queries), k))
        return nearest(train, queries, k, metric=metric, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(knn_votes_module, "nearest", counted)
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


def of_pixels(shift: float, scale: list[float]) -> tuple[Dataset, Data]:
    stream = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60, len(scale)), dtype=torch.uint8, generator=stream)
    table = ScaledTable(pixels, np.full(len(scale), shift), np.array(scale))
    train, val, test = torch.arange(60).split([40, 10, 10])
    columns = tuple(map(str, range(len(scale))))
    y = torch.arange(60) % 3
    dataset = Dataset("pixels", table, y, train, val, test, ("a", "b", "c"), columns, "")
    return dataset, Data.of(dataset, 0, torch.device("cpu"))


def test_pixels_of_one_scale_stay_what_they_are() -> None:
    dataset, data = of_pixels(0.0, [1 / 255] * 4)
    assert dataset.pixels is not None
    assert torch.equal(data.split("val").x, dataset.pixels[dataset.val])
    expected = dataset.x.numpy()
    for part in ("train", "val", "test"):
        arrays = data.arrays(part)
        np.testing.assert_array_equal(arrays.x, expected[data.rows[part]])
        assert arrays.x.dtype == np.float32
    assert data.training(9).x.shape == (9, 4)
    config = KNNConfig([5, 1], ["euclidean", "manhattan", "cosine"], ["distance", "uniform"])
    of_floats = Data(dataset.x, data.y, data.rows, 3, 0)
    found, scaled = (tuned_knn(config, one) for one in (data, of_floats))
    assert found.settings == scaled.settings
    assert found.tried == scaled.tried
    np.testing.assert_array_equal(found.predictions, scaled.predictions)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, [0.5, 0.25]), (3.0, [0.5, 0.5])])
def test_pixels_that_are_scaled_otherwise_are_read_scaled(shift: float, scale: list[float]) -> None:
    dataset, data = of_pixels(shift, scale)
    assert torch.equal(data.split("train").x, dataset.x[dataset.train])


def test_neighbours_at_distance_zero_vote_alone() -> None:
    train = Rows(line(5, 5, 5, 6, 7), torch.tensor([1, 2, 2, 0, 0]))
    votes = KNN(train, 3).predict(Rows(line(5, 6.5), torch.tensor([2, 0])), 5, "distance")
    weights = [[0, 1, 2], [2 / 0.5, 1 / 1.5, 2 / 1.5]]
    expected = torch.tensor(weights) / torch.tensor(weights).sum(1, keepdim=True)
    expected = with_one_more(expected, 5)
    torch.testing.assert_close(votes.probabilities, expected)
    assert votes.acc == 1.0


def test_equal_votes_go_to_the_lowest_class() -> None:
    train = Rows(line(1, -1, 2, -2), torch.tensor([2, 1, 0, 2]))
    for weights in ("uniform", "distance"):
        votes = KNN(train, 3).predict(Rows(line(0), torch.tensor([1])), 2, weights)
        assert votes.predictions.tolist() == [1]
        assert votes.probabilities[0].tolist() == pytest.approx([0.2, 0.4, 0.4])


def test_without_rows_there_is_no_accuracy() -> None:
    nothing = Rows(torch.empty(0, 1), torch.empty(0, dtype=torch.int64))
    votes = KNN(LINE, 2).predict(nothing, 1)
    assert math.isnan(votes.acc)
    assert votes.probabilities.shape == (0, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ks": [3, 9]}, "k=9: must be from 1 to 8, the number of training samples"),
        ({"ks": [0]}, "k=0: must be from 1 to 8, the number of training samples"),
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
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_cuda_counts_the_same_votes(weights: str) -> None:
    train = Rows(draw("thirds", 500, 4, 0), torch.arange(500) % 5)
    test = Rows(draw("thirds", 100, 4, 1), torch.arange(100) % 5)
    expected = knn(train, test, test, num_classes=5, ks=[1, 4, 9], weights=weights)
    on_cuda = [Rows(rows.x.cuda(), rows.y.cuda()) for rows in (train, test, test)]
    found = knn(*on_cuda, num_classes=5, ks=[1, 4, 9], weights=weights)
    assert (found.k, found.val_acc_by_k) == (expected.k, expected.val_acc_by_k)
    assert torch.equal(found.test.probabilities.cpu(), expected.test.probabilities)
