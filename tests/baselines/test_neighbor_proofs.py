"""What the search by floats rests on: bounds that hold, steps taken when needed, bounded memory."""

from __future__ import annotations

import pytest
import torch
from neighbor_cases import ALL_METRICS, KINDS, assert_same_bits, draw, peak_bytes
from torch import Tensor

from nnexp.baselines.neighbors import integers, nearest
from nnexp.baselines.neighbors.metrics import METRICS, Euclidean, Metric
from nnexp.baselines.neighbors.scans import IN_FLOAT32, IN_FLOAT64, IN_TF32, Arithmetic, Scan, fold
from nnexp.baselines.neighbors.search import SPARE, SPARE_IN_TF32, Ranking


@pytest.fixture(autouse=True)
def _by_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole numbers too: else products of bytes would find their neighbours, with no proof."""
    monkeypatch.setattr(integers, "usable", lambda num_features, device: False)


@pytest.fixture
def _tf32_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a product is to be in TF32, cut its factors off as tensor cores do."""
    addmm = torch.addmm

    def upper_bits(numbers: Tensor) -> Tensor:
        return (numbers.contiguous().view(torch.int32) & -(2**13)).view(torch.float32)

    def rough(norms: Tensor, a: Tensor, b: Tensor, *, alpha: float, out: Tensor) -> Tensor:
        if torch.backends.cuda.matmul.fp32_precision == "tf32":
            a, b = upper_bits(a), upper_bits(b)
        return addmm(norms, a, b, alpha=alpha, out=out)

    monkeypatch.setattr(torch, "addmm", rough)


@pytest.mark.usefixtures("_tf32_products")
@pytest.mark.parametrize("arithmetic", [IN_TF32, IN_FLOAT32, IN_FLOAT64], ids=str)
@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_score_is_beyond_the_reach_of_its_own_key(
    kind: str, metric: str, arithmetic: Arithmetic
) -> None:
    """The bound that proofs rest on: else a row could be left out though it is near."""
    train, queries = draw(kind, 300, 40, 0), draw(kind, 20, 40, 1)
    measure = METRICS[metric](train, queries, 2**20)
    scan = measure.scan(arithmetic)
    scores = torch.empty(len(queries), len(train), dtype=arithmetic.dtype)
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
    for owner, name in ((Euclidean, "scan"), (Metric, "exact_keys")):
        method = getattr(owner, name)

        def counted(self, *args, method=method, name=name):  # type: ignore[no-untyped-def]
            calls.append(name)
            return method(self, *args)

        monkeypatch.setattr(owner, name, counted)
    queries = draw("normal" if kind == "one outlier" else kind, 50, 4, 1)
    nearest(draw(kind, 2000, 4, 0), queries, 5)
    assert calls.count("scan") == scans
    assert ("exact_keys" in calls) == fractions


@pytest.mark.usefixtures("_tf32_products")
@pytest.mark.parametrize(
    ("kind", "metric", "left_open"),
    [
        ("normal", "euclidean", []),
        ("normal", "cosine", []),
        ("thirds", "euclidean", []),
        ("far from the origin", "euclidean", []),
        ("far from the origin", "cosine", [40]),
        ("close", "euclidean", [1]),
        ("close", "cosine", [40]),
    ],
)
def test_a_first_scan_in_tf32_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch, kind: str, metric: str, left_open: list[int]
) -> None:
    """As on CUDA. Only the queries that it leaves open are scanned in float32."""
    if kind == "close":  # hundreds of rows that TF32 cannot tell apart, and float32 can
        train, queries = 1 + draw("normal", 3000, 20, 0) / 64, 1 + draw("normal", 40, 20, 1) / 64
        train[0], queries[0] = 9.0, 9.0
    else:
        train, queries = draw(kind, 3000, 20, 0), draw(kind, 40, 20, 1)
    expected = nearest(train, queries, 7, metric=metric)
    monkeypatch.setattr(
        Ranking, "rough_scans", lambda self: [(IN_TF32, SPARE_IN_TF32), (IN_FLOAT32, SPARE)]
    )
    asked = []
    among_candidates = Ranking.among_candidates

    def counted(self: Ranking, scan: Scan, pending: Tensor, count: int) -> tuple[Tensor, Tensor]:
        asked.append(len(pending))
        return among_candidates(self, scan, pending, count)

    monkeypatch.setattr(Ranking, "among_candidates", counted)
    assert_same_bits(nearest(train, queries, 7, metric=metric), expected)
    assert asked == [40, *left_open]


@pytest.mark.usefixtures("_tf32_products")
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_ways_of_cuda_change_no_bit_of_any_kind(
    monkeypatch: pytest.MonkeyPatch, kind: str, metric: str
) -> None:
    """The rows of ``test_cuda_finds_the_same_neighbours``, scanned as they are there."""
    train, queries = draw(kind, 2000, 30, 0), draw(kind, 100, 30, 1)
    expected = nearest(train, queries, 9, metric=metric)
    monkeypatch.setattr(
        Ranking, "rough_scans", lambda self: [(IN_TF32, SPARE_IN_TF32), (IN_FLOAT32, SPARE)]
    )
    assert_same_bits(nearest(train, queries, 9, metric=metric), expected)


def test_tf32_comes_first_on_cuda_where_products_are_scanned() -> None:
    train = draw("normal", 20, 4, 0)
    for metric in ALL_METRICS:
        ranking = Ranking(METRICS[metric](train, train, 2**20), 3)
        assert ranking.rough_scans() == [(IN_FLOAT32, SPARE)]
        ranking.device = torch.device("cuda")
        assert (ranking.rough_scans()[0][0] == IN_TF32) == (metric in ("euclidean", "cosine"))
        assert ranking.rough_scans()[-1] == (IN_FLOAT32, SPARE)


def in_blocks(memory_bytes: int) -> tuple[Tensor, Tensor]:
    train = torch.cat([draw("thirds", 900, 5, 0), draw("normal", 900, 5, 0)])
    return nearest(train, torch.cat([train[::9], train[::9] + 0.25]), 9, memory_bytes=memory_bytes)


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
