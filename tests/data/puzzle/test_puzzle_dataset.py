"""The puzzle as a data set: rows that no memory holds, epochs of a part of them, runs on them."""

import tracemalloc
from typing import Any

import numpy as np
import puzzle_solver
import pytest
import torch
from engine_cases import one_thread  # noqa: F401

import nnexp
from nnexp.baselines.selection import Data, num_baseline_rows
from nnexp.config.dataset_schema import HOLDOUTS, PuzzleConfig
from nnexp.config.fields import check
from nnexp.data import Dataset, load, load_source, split
from nnexp.data.coded import ComputedClasses, ComputedTable, EpochRows
from nnexp.data.coded_features import Coded
from nnexp.data.permutation import Permutation
from nnexp.data.streaming import Streamed, place
from nnexp.errors import ConfigError
from nnexp.runs.record import read_result

CPU = torch.device("cpu")


def puzzle(**options: Any) -> Dataset:
    given = {"rows": 1000, "val_fraction": 0.1, "test_rows": 50, **options}
    return load(PuzzleConfig(**given))


def epochs(dataset: Dataset) -> EpochRows:
    assert isinstance(dataset.train, EpochRows)
    return dataset.train


def table_of(dataset: Dataset) -> ComputedTable:
    assert isinstance(dataset.table, ComputedTable)
    return dataset.table


@pytest.mark.parametrize("size", [1, 2, 3, 16, 17, 1000, 4097])
def test_a_permutation_is_one(size: int) -> None:
    drawn = Permutation(size, 3, "test").at(np.arange(size))
    assert sorted(drawn.tolist()) == list(range(size))
    assert (Permutation(size, 3, "test").at(np.array([size - 1])) == drawn[-1]).all()
    if size > 16:
        others = Permutation(size, 4, "test"), Permutation(size, 3, "test", 1)
        assert all((other.at(np.arange(size)) != drawn).mean() > 0.9 for other in others)
        assert abs(np.corrcoef(np.arange(size), drawn)[0, 1]) < 4 / size**0.5 + 0.01


def test_the_same_order_on_every_machine() -> None:
    first = [366754350, 273519185, 358394493, 70811417]
    assert Permutation(500_000_000, 0, "order").at(np.arange(4)).tolist() == first


def test_rows_of_the_splits() -> None:
    dataset = puzzle()
    train = set(epochs(dataset).of_epoch(0, 1).tolist())
    val, test = set(dataset.val.tolist()), set(dataset.test.tolist())
    assert (len(train), len(val), len(test)) == (900, 100, 50)
    assert train | val == set(range(1000))
    assert test == set(range(1000, 1050))
    other = puzzle(split_seed=1)
    assert set(other.val.tolist()) != val
    assert other.fingerprint == dataset.fingerprint
    assert puzzle(seed=1).fingerprint != dataset.fingerprint


def test_an_epoch_takes_the_next_rows() -> None:
    """All of them before any comes again, in another order for every seed and every pass."""
    whole, parts = epochs(puzzle()), epochs(puzzle(epoch_rows=400))
    passes = [whole.of_epoch(7, epoch) for epoch in (1, 2, 3, 4)]
    cut = torch.cat([parts.of_epoch(7, epoch) for epoch in range(1, 10)])
    assert torch.equal(cut, torch.cat(passes))
    assert all(len(set(drawn.tolist())) == 900 for drawn in passes)
    assert not torch.equal(passes[0], passes[1])
    assert not torch.equal(whole.of_epoch(8, 1), passes[0])


def test_fewer_training_rows_are_some_of_more() -> None:
    rows = [set(epochs(puzzle(num_train=n)).of_epoch(0, 1).tolist()) for n in (50, 200, 900)]
    assert [len(own) for own in rows] == [50, 200, 900]
    assert rows[0] < rows[1] < rows[2]
    share = epochs(puzzle(train_fraction=0.25))
    assert len(share) == 225
    assert set(share.some(50).tolist()) == rows[0]
    assert (puzzle(num_train=50).val == puzzle().val).all()
    quarter = puzzle(fraction=0.25)
    assert set(epochs(quarter).some(50).tolist()) == rows[0]
    assert (len(epochs(quarter)), quarter.num_val) == (225, round(puzzle().num_val / 4))
    assert set(quarter.val.tolist()) < set(puzzle().val.tolist())
    with pytest.raises(ConfigError, match=r"^dataset.num_train=901: puzzle has 900 training samp"):
        puzzle(num_train=901)


@pytest.mark.parametrize("encoding", ["chars", "words"])
@pytest.mark.parametrize("holdout", HOLDOUTS)
def test_features_and_classes_are_those_of_the_text(encoding: str, holdout: str) -> None:
    dataset = puzzle(encoding=encoding, holdout=holdout)
    generator: Any = table_of(dataset).generator
    rows = torch.tensor([0, 999, 1000, 1049, 500])
    texts = [*generator.pool.texts(np.array([0, 999])), *generator.test.texts(np.array([0, 49])),
             generator.pool.text(500)]  # fmt: skip
    assert dataset.text_encoder is not None
    assert (dataset.x[rows].numpy() == dataset.text_encoder.counts(texts)).all()
    assert dataset.text_encoder.encode(texts).any(0)[:10].all()
    answers = [puzzle_solver.solve(text)[0] for text in texts]
    assert [dataset.class_names[label] for label in dataset.y[rows]] == list(map(str, answers))


def test_rows_are_read_as_the_table_has_them() -> None:
    """However many steps a window has, and on a table of stored codes as well."""
    dataset = puzzle()
    table = table_of(dataset)
    placed = place([dataset, dataset], CPU)
    assert isinstance(placed.features, Streamed)
    stored = Coded(
        torch.from_numpy(table.codes_of(np.arange(1050))),
        torch.from_numpy(table.encoder.offsets),
        dataset.num_features,
    )
    order = torch.randint(1050, (7, 2 * 9), generator=torch.Generator().manual_seed(0))
    small = Streamed(placed.features._table, CPU, 2, window_bytes=40 * 51)
    for features in (placed.features, small, Streamed(stored, CPU, 2, window_bytes=40 * 51)):
        seen = 0
        for steps, index in features.windows(order):
            for step, own in zip(order[steps], index, strict=True):
                out = torch.empty(2, 9, dataset.num_features)
                features.rows(own, out)
                assert torch.equal(out.flatten(0, 1), dataset.x[step])
                seen += 1
        assert seen == 7
        assert torch.equal(features.lookup(order[:2]), dataset.x[order[:2]])


def test_half_a_billion_rows_take_no_memory() -> None:
    load_source(PuzzleConfig())  # tables of phrases, which are kept
    tracemalloc.start()
    dataset = puzzle(rows=500_000_000, val_fraction=2e-6, epoch_rows=10_000)
    order = epochs(dataset).of_epoch(0, 30_000)
    labels = dataset.y[order]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000
    assert (dataset.num_train, dataset.num_rows_of_epoch) == (499_999_000, 10_000)
    assert len(dataset.y) == 500_000_050
    assert isinstance(dataset.y, ComputedClasses)
    assert order.max() > 490_000_000
    assert len(order.unique()) == 10_000
    assert torch.equal(dataset.y[order[[5, 7]]], labels[[5, 7]])
    assert dataset.table_bytes("cuda") == 0


def test_baselines_learn_from_as_many_rows_as_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = puzzle(rows=3000)
    data = Data.of(dataset, 0, CPU)
    assert (len(data.rows["train"]), len(data.rows["val"])) == (2700, 300)
    assert not caplog.text
    room = dataset.num_features * (300 + 50 + 1500)
    monkeypatch.setattr("nnexp.baselines.selection._DENSE_BYTES", room)
    assert num_baseline_rows(dataset) == 1500
    few = Data.of(dataset, 0, CPU)
    assert "baselines learn from 1500 of 2700 training samples" in caplog.text
    rows = epochs(dataset).some(1500)
    assert (few.split("train").y == dataset.y[torch.from_numpy(rows)]).all()
    assert (few.arrays("train").x == table_of(dataset).dense(rows).numpy()).all()
    assert (few.split("test").x == dataset.x[dataset.test]).all()
    assert (few.labels("val") == dataset.y[dataset.val].numpy()).all()


def test_one_table_for_all_splits() -> None:
    source = load_source(PuzzleConfig())
    tables: dict[bytes, Any] = {}
    one, two = (split(source, PuzzleConfig(split_seed=seed), tables) for seed in (0, 1))
    assert one.table is two.table


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_people": 4}, "dataset.min_people=4: must be at most dataset.max_people=3"),
        ({"holdout": "people", "max_people": 5},
         "dataset.max_people=5: must be below 5, for the test rows have more people"),
        ({"rows": 500_000_000},
         "dataset.val_fraction=0.15: leaves 75000000 of 500000000 rows to validate on after every "
         "epoch; at most 100000 are: use dataset.val_fraction=2e-05"),
        ({"scaling": "standard"},
         "dataset.scaling=standard: must be none: features of text are 0, 1 or counts, and are not "
         "scaled"),
    ],
)  # fmt: skip
def test_what_does_not_fit(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(PuzzleConfig(**options), "dataset")
    assert str(caught.value) == said


def test_a_run_and_its_files(tmp_path: Any) -> None:
    run = nnexp.run(
        "dataset=puzzle", "dataset.rows=4000", "dataset.max_people=2", "dataset.epoch_rows=2000",
        "dataset.test_rows=500", "dataset.max_age=20", "model=shallow", "optimizer.lr=0.003",
        "trainer.pictures=false", f"hydra.run.dir={tmp_path}/run", trainer__epochs=4,
        baseline__knn__metric="euclidean",
    )  # fmt: skip
    losses = [epoch["train/loss"] for epoch in run.history]
    assert losses[0] < 3.1  # nats; ln 20 is 3.0
    assert losses[-1] < losses[0] - 0.3
    assert run.baselines["knn"]["rows"] == 3600
    assert [epoch["step"] for epoch in run.history][:2] == [63, 126]
    assert read_result(tmp_path / "run").dataset.num_train == 3600
    text = "Jack is 12 years old. Jane was born 2 years after Jack. How old is Jane?"
    assert nnexp.load(tmp_path / "run").predict([text])[0] in map(str, range(1, 21))
