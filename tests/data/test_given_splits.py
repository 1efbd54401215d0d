"""Test rows that are not drawn at random: by time, of K folds, as a file or a column says."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.model_selection import KFold, StratifiedKFold

from nnexp.config.fields import check
from nnexp.config.schema import BundledConfig, DatasetConfig, DrawnDatasetConfig, TableConfig
from nnexp.data import Dataset, Source, load, split
from nnexp.errors import ConfigError, DataError, NnexpError


def source(y: np.ndarray, **changes: Any) -> Source:
    """Rows whose only feature is their number."""
    return Source(
        name="rows",
        x=np.arange(len(y), dtype=np.float64)[:, None],
        y=y.astype(np.int64),
        class_names=tuple(f"c{label}" for label in range(int(y.max()) + 1)),
        feature_names=("row",),
        **changes,
    )


def drawn(**options: Any) -> DrawnDatasetConfig:
    return DrawnDatasetConfig(name="rows", scaling="none", **options)


def parts_of(dataset: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    assert isinstance(dataset.train, torch.Tensor)
    return dataset.train.numpy(), dataset.val.numpy(), dataset.test.numpy()


def table(folder: Path, header: str, rows: list[str]) -> str:
    path = folder / "t.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def problem(config: DatasetConfig) -> str:
    def checked() -> None:
        check(config, "dataset")
        load(config)

    with pytest.raises(NnexpError) as caught:
        checked()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ── by time ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(60))
def test_no_row_is_earlier_than_those_of_the_part_before(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(6, 120))
    times = rng.integers(0, int(rng.integers(3, 2 * size)), size).astype(np.float64)
    val, test = rng.uniform(0.05, 0.45, 2)
    if len(np.unique(times)) < 3:
        return
    config = drawn(val_fraction=val, test_fraction=test, split_seed=seed)
    dataset = split(source(np.zeros(size), times=times), config)
    train, validate, tested = parts_of(dataset)
    assert np.array_equal(np.sort(np.concatenate([train, validate, tested])), np.arange(size))
    assert times[train].max() < times[validate].min()
    assert times[validate].max() < times[tested].min()
    # No other cut between two times is nearer to what was asked for.
    sizes = [int((times >= value).sum()) for value in np.unique(times)[2:]]
    assert abs(len(tested) - round(test * size)) == min(abs(n - round(test * size)) for n in sizes)
    wanted = max(1, round(val * size))
    before = times[times < times[tested].min()]
    sizes = [int((before >= value).sum()) for value in np.unique(before)[1:]]
    assert abs(len(validate) - wanted) == min(abs(n - wanted) for n in sizes)


def test_seeds_move_no_row_of_a_split_by_time(caplog: pytest.LogCaptureFixture) -> None:
    times = np.random.default_rng(0).permutation(50).astype(np.float64)
    rows = source(np.arange(50) % 2, times=times)
    with caplog.at_level(logging.INFO):
        one, other = (split(rows, drawn(split_seed=seed)) for seed in (0, 1))
    for mine, theirs in zip(parts_of(one), parts_of(other), strict=True):
        assert np.array_equal(mine, theirs)
    assert one.official_test
    assert "seeds move none of them" in caplog.text
    assert (one.num_train, one.num_val, one.num_test) == (32, 8, 10)


def test_fewer_training_rows_are_the_latest() -> None:
    rows = source(np.arange(100) % 2, times=np.arange(100.0)[::-1].copy())
    whole = split(rows, drawn())
    train, validate, tested = parts_of(whole)
    assert (train.min(), validate.min(), tested.min()) == (35, 20, 0)
    for options in ({"num_train": 10}, {"train_fraction": 10 / 65}, {"fraction": 10 / 65}):
        few = split(rows, drawn(**options))
        assert parts_of(few)[0].tolist() == list(range(35, 45))
        assert parts_of(few)[2].tolist() == tested.tolist()
    assert parts_of(split(rows, drawn(fraction=0.2)))[1].tolist() == [20, 21, 22]


def test_what_a_split_by_time_cannot_be() -> None:
    def said(y: list[int], times: list[float], **options: Any) -> str:
        with pytest.raises(NnexpError) as caught:
            split(source(np.array(y), times=np.array(times)), drawn(**options))
        return str(caught.value)

    assert said([0, 1] * 5, [1.0] * 5 + [2.0] * 5) == (
        "rows: dataset.time has 2 different values; training, validation and test need one each"
    )
    assert said([0] * 9 + [1], list(map(float, range(10)))) == (
        "rows: no training row has the class 'c1': by dataset.time all of its rows are later than "
        "those that are trained on"
    )
    assert said([1] + [0] * 9, list(map(float, range(10))), num_train=3) == (
        "dataset.num_train=3: none of the latest 3 training samples has the class 'c1'"
    )
    assert said([1] + [0] * 9, list(map(float, range(10))), num_train=30) == (
        "dataset.num_train=30: rows has 6 training samples"
    )


@pytest.mark.parametrize(
    ("cells", "written"),
    [
        ([f"{day}.{month}.2024" for month in (1, 2) for day in range(1, 31 - 2 * month)], "dates"),
        ([f"2024-03-{day:02} 10:{minute:02}" for day in (9, 10) for minute in range(30)], "times"),
        ([f"202403{day:02}" for day in range(1, 31)], "dates in digits"),
        ([f"{number}" for number in range(40)], "numbers"),
        ([f'"1.{number:03},5"' for number in range(100, 140)], "numbers with a decimal comma"),
    ],
)
def test_a_column_of_times_is_read_as_features_are(
    tmp_path: Path, cells: list[str], written: str
) -> None:
    order = np.random.default_rng(3).permutation(len(cells))
    rows = [f"{cells[at]},{at % 7},{'xy'[at % 2]}" for at in order]
    path = table(tmp_path, "when,a,label", rows)
    dataset = load(TableConfig(path=path, target="label", time="when", scaling="none"))
    assert dataset.feature_names == ("a",)
    ranks = [order[part] for part in parts_of(dataset)]
    assert np.array_equal(np.concatenate([np.sort(part) for part in ranks]), np.arange(len(cells)))
    assert dataset.card is not None
    assert [finding.role for finding in dataset.card.findings] == ["time", "numeric", "target"]


@pytest.mark.parametrize(
    ("cell", "options", "said"),
    [
        ("", {}, "line 4, column 'when': no value (''), where dataset.time needs one"),
        ("NA", {}, "line 4, column 'when': no value ('NA'), where dataset.time needs one"),
        ("-9", {"missing": ["-9"]}, "line 4, column 'when': no value ('-9'), where dataset.time"),
        ("tomorrow", {}, "line 4, column 'when': 'tomorrow' is not a date"),
        ("2024-02-31", {}, "line 4, column 'when': '2024-02-31' is not a date"),
    ],
)
def test_a_time_that_is_missing_or_none(
    tmp_path: Path, cell: str, options: dict[str, Any], said: str
) -> None:
    rows = [f"2024-02-{day:02},{day % 7},{'xy'[day % 2]}" for day in range(1, 25)]
    rows[2] = f"{cell},1,x"
    path = table(tmp_path, "when,a,label", rows)
    config = TableConfig(path=path, target="label", time="when", **options)
    assert problem(config).startswith(f"{path}: {said}")


def test_a_number_that_is_none_among_times(tmp_path: Path) -> None:
    rows = [f"{number},{number % 7},{'xy'[number % 2]}" for number in range(30)]
    path = table(tmp_path, "when,a,label", [*rows, "soon,1,x"])
    assert problem(TableConfig(path=path, target="label", time="when")) == (
        f"{path}: line 32, column 'when': 'soon' is not a number, as other values of dataset.time "
        "are"
    )


# ── K-fold ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("num_folds", [2, 3, 5, 10])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_row_is_tested_once(num_folds: int, seed: int) -> None:
    y = np.random.default_rng(seed).choice(3, 97, p=[0.6, 0.3, 0.1])
    rows = source(y)
    tested = []
    for fold in range(num_folds):
        dataset = split(rows, drawn(folds=num_folds, fold=fold, split_seed=seed))
        train, validate, test = parts_of(dataset)
        assert np.array_equal(np.sort(np.concatenate([train, validate, test])), np.arange(97))
        assert len(validate) == round(0.15 * (97 - len(test)))
        assert not dataset.official_test
        for label in range(3):  # as many of each class in every fold, to within a row
            assert abs((y[test] == label).sum() - (y == label).sum() / num_folds) < 1
        assert abs(len(test) - 97 / num_folds) < 1
        tested.append(test)
    assert np.array_equal(np.sort(np.concatenate(tested)), np.arange(97))


def test_folds_follow_the_split_seed_and_validation_rows_the_fold() -> None:
    rows = source(np.arange(200) % 2)

    def parts(seed: int, fold: int, **more: Any) -> tuple[np.ndarray, ...]:
        return parts_of(split(rows, drawn(folds=5, fold=fold, split_seed=seed, **more)))

    assert not np.array_equal(parts(0, 0)[2], parts(1, 0)[2])
    assert np.array_equal(parts(0, 0)[2], parts(0, 0, val_fraction=0.5)[2])
    common = set(parts(0, 0)[1]) & set(parts(0, 1)[1])  # each 24 of 160 rows: 2.9 by chance
    assert len(common) < 12
    assert set(parts(0, 0, num_train=20)[0]) < set(parts(0, 0)[0])


@pytest.mark.parametrize("seed", range(30))
def test_folds_keep_groups_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 25, 200)
    _, groups = np.unique(groups, return_inverse=True)
    y = rng.integers(0, 2, groups.max() + 1)[groups]
    rows = source(y, groups=groups)
    tested = []
    for fold in range(5):
        parts = parts_of(split(rows, drawn(folds=5, fold=fold, split_seed=seed)))
        sides = [set(groups[part]) for part in parts]
        assert all(sides)
        assert sum(map(len, sides)) == len(set(groups))
        assert sum(map(len, parts)) == 200
        assert 20 <= len(parts[2]) <= 60
        tested.append(parts[2])
    assert np.array_equal(np.sort(np.concatenate(tested)), np.arange(200))


def test_single_splits_keep_groups_together() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        _, groups = np.unique(rng.integers(0, 12, 60), return_inverse=True)
        rows = source(np.arange(60) % 2, groups=groups)
        for val in (0.0, 0.2):
            parts = parts_of(split(rows, drawn(val_fraction=val, split_seed=seed)))
            sides = [set(groups[part]) for part in parts]
            assert sum(map(len, sides)) == len(set(groups))
            assert bool(sides[1]) == bool(val)


@pytest.mark.parametrize("splitter", [KFold, StratifiedKFold])
@pytest.mark.parametrize("by_column", [False, True])
def test_given_folds_are_scikit_learns(tmp_path: Path, splitter: Any, by_column: bool) -> None:
    """On iris, by a file of fold numbers and by a column."""
    iris = load(BundledConfig(name="iris", source="iris", scaling="none"))
    x, y = iris.x.numpy(), iris.y.numpy()
    folds = np.zeros(150, int)
    pairs = list(splitter(5, shuffle=True, random_state=1).split(x, y))
    for fold, (_, test) in enumerate(pairs):
        folds[test] = fold
    (tmp_path / "folds.txt").write_text("\n".join(map(str, folds)) + "\n")
    rows = [f"{','.join(map(str, row))},{n},{k}" for row, n, k in zip(x, folds, y, strict=True)]
    path = table(tmp_path, "a,b,c,d,part,kind", rows)
    for fold, (train, test) in enumerate(pairs):
        config: DatasetConfig
        if by_column:
            config = TableConfig(path=path, target="kind", fold_column="part", fold=fold)
        else:
            place = str(tmp_path / "folds.txt")
            config = BundledConfig(name="iris", source="iris", fold_file=place, fold=fold)
        check(config, "dataset")
        dataset = load(config)
        assert dataset.num_features == 4
        own_train, own_val, own_test = parts_of(dataset)
        assert np.array_equal(own_test, test)
        assert np.array_equal(np.sort(np.concatenate([own_train, own_val])), train)
        config.val_fraction = 0.0
        assert np.array_equal(parts_of(load(config))[0], train)
        assert load(config).num_val == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folds": 5},
         "dataset.folds=5: which of the folds is tested: dataset.fold=0, or in a sweep all of "
         "them, 'dataset.fold=range(5)' of 5"),
        ({"fold": 0},
         "dataset.fold=0: goes with dataset.folds, which says how many there are"),
        ({"folds": 5, "fold": 5}, "dataset.fold=5: must be less than dataset.folds=5"),
        ({"folds": 1, "fold": 0}, "dataset.folds=1: must be at least 2"),
        ({"folds": 5, "fold": 0, "split_file": "s"},
         "dataset.folds=5: the split is given by dataset.split_file=s"),
        ({"folds": 200, "fold": 0},
         "dataset.folds=200: iris has 150 rows, and each fold needs one"),
        ({"fold_file": "none.txt", "fold": 0}, "dataset.fold_file=none.txt: no such file"),
    ],
)  # fmt: skip
def test_folds_that_cannot_be(options: dict[str, Any], said: str) -> None:
    assert problem(BundledConfig(name="iris", source="iris", **options)) == said


@pytest.mark.parametrize(
    ("lines", "options", "said"),
    [
        (["0"] * 149, {}, "has 149 lines, but iris has 150 rows"),
        (
            ["0", "1"] * 74 + ["0", "x"],
            {},
            "line 150: 'x' is not the number of a fold, 0, 1, 2, ..",
        ),
        (["0", "2"] * 75, {}, "no row is of fold 1, but some are of fold 2"),
        (["0"] * 150, {}, "all rows are of fold 0; at least 2 folds are needed"),
    ],
)
def test_files_of_folds_that_do_not_fit(
    tmp_path: Path, lines: list[str], options: dict[str, Any], said: str
) -> None:
    path = tmp_path / "f.txt"
    path.write_text("\n".join(lines))
    config = BundledConfig(name="iris", source="iris", fold_file=str(path), fold=0, **options)
    assert problem(config).startswith(f"dataset.fold_file={path}: {said}")


def test_numbers_of_folds_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("fold\n" + "0\n1\n" * 75)  # with a header
    config = BundledConfig(name="iris", source="iris", fold_file=str(path), fold=2)
    assert problem(config) == (
        f"dataset.fold=2: must be less than 2, the folds of dataset.fold_file={path}"
    )
    config.fold, config.folds = 1, 3
    assert problem(config) == f"dataset.folds=3: dataset.fold_file={path} has 2 folds"
    config.folds = 2
    assert load(config).num_test == 75
    with pytest.raises(DataError) as caught:
        split(source(np.zeros(150), groups=np.arange(150) // 10), config)
    assert str(caught.value) == (
        f"dataset.fold_file={path}: rows 8 and 1 (from 0) are on two sides, and dataset.group "
        "keeps them together"
    )


def test_a_fold_in_a_column_is_a_whole_number(tmp_path: Path) -> None:
    path = table(tmp_path, "a,f,kind", [f"{n % 7},{n % 2},{'xy'[n % 3 > 0]}" for n in range(30)])
    config = TableConfig(path=path, target="kind", fold_column="f", fold=1)
    assert load(config).test.tolist() == list(range(1, 30, 2))
    text = Path(path).read_text("utf-8")
    Path(path).write_text(text + "1,1.5,x\n", "utf-8")
    assert problem(config) == (
        f"{path}: line 32, column 'f': '1.5' is not the number of a fold, 0, 1, 2, ..."
    )
    Path(path).write_text(text + "1,,x\n", "utf-8")
    assert problem(config) == (
        f"{path}: line 32, column 'f': no value (''), where dataset.fold_column needs one"
    )


# ── given row by row ──────────────────────────────────────────────────────────────────────────


def iris_by(path: Path, **options: Any) -> BundledConfig:
    return BundledConfig(name="iris", source="iris", split_file=str(path), **options)


def test_an_empty_list_of_rows_says_nothing(tmp_path: Path) -> None:
    """So that rows to validate on are drawn, and no epoch is chosen by none."""
    path, test = tmp_path / "s.json", list(range(0, 150, 3))
    train = [row for row in range(150) if row % 3]
    path.write_text(json.dumps({"train": train, "val": [], "test": test}))
    dataset = load(iris_by(path))
    assert dataset.num_val > 0
    assert dataset.num_train + dataset.num_val == 100


def test_a_file_says_where_each_row_belongs(tmp_path: Path) -> None:
    words = np.random.default_rng(0).choice(["train", "val", "test"], 150, p=[0.6, 0.2, 0.2])
    text, with_header, rows = tmp_path / "s.txt", tmp_path / "s.csv", tmp_path / "s.json"
    text.write_text("\n".join(words))
    with_header.write_text("part\r\n" + "".join(f'"{w.title()}"\r\n' for w in words))
    wanted = {part: np.flatnonzero(words == part).tolist() for part in ("train", "val", "test")}
    rows.write_text(json.dumps(wanted))
    for path in (text, with_header, rows):
        for seed in (0, 1):
            dataset = load(iris_by(path, split_seed=seed))
            found = [part.tolist() for part in parts_of(dataset)]
            assert found == [wanted["train"], wanted["val"], wanted["test"]]
            assert dataset.official_test


def test_validation_rows_that_a_file_does_not_give_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps({"test": list(range(0, 150, 5))}))
    train, validate, test = parts_of(load(iris_by(path, val_fraction=0.25)))
    assert test.tolist() == list(range(0, 150, 5))
    assert (len(train), len(validate)) == (90, 30)


def test_rows_without_a_part_stay_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps({"train": list(range(0, 150, 2)), "test": list(range(1, 100, 2))}))
    with caplog.at_level(logging.INFO):
        train, validate, test = parts_of(load(iris_by(path)))
    assert np.array_equal(np.sort(np.concatenate([train, validate])), np.arange(0, 150, 2))
    assert len(test) == 50
    assert "25 rows have no part in it" in caplog.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("train\n" * 149, "has 149 lines, but iris has 150 rows"),
        ("train\n" * 99 + "tset\n" + "test\n" * 50,
         "line 100: 'tset' is none of train, val and test"),
        ("train\n" * 150, "sets no test row apart"),
        ("", "has 0 lines, but iris has 150 rows"),
        ('{"train": [0, 1], "test": [2, 1]}', "row 1 is in train and test"),
        ('{"train": [0, 0], "test": [2]}', "row 0 is in train twice"),
        ('{"train": [0], "test": [150]}', "'test' has row 150, but iris has rows 0 to 149"),
        ('{"train": [0], "test": [1.5]}', "'test' must be a list of row numbers, got '1.5'"),
        ('{"train": [0], "test": 3}', "'test' must be a list of row numbers, got '3'"),
        ('{"train": [0], "tset": [3]}', "'tset' is none of train, val and test"),
        ('{"test": [0], "testing": [3]}', "'testing' is given twice"),
        ("[1, 2]", "is no object with lists of rows, train, val and test"),
        ('{"train": [0', "is no JSON: Expecting ',' delimiter: line 1 column 13 (char 12)"),
        ('{"train": [0]}', "sets no test row apart"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "s"
    path.write_text(content)
    assert problem(iris_by(path)) == f"dataset.split_file={path}: {said}"


def test_a_split_is_given_once(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("test\n" * 20)
    official = source(np.arange(20) % 2, test=np.arange(5))
    with pytest.raises(ConfigError) as caught:
        split(official, drawn(split_file=str(path)))
    assert str(caught.value) == (
        f"dataset.split_file={path}: rows has official test rows; a split is given where test "
        "rows would be drawn"
    )
    config = TableConfig(path="t.csv", target="y", time="t", split_column="s")
    assert problem(config) == "dataset.time=t: the split is given by dataset.split_column=s"
    config = TableConfig(path="t.csv", target="y", time="t", group="g")
    assert problem(config) == (
        "dataset.group=g: goes with a split that is drawn, not with dataset.time=t"
    )


def test_every_group_is_tested_by_some_seed_whatever_its_size() -> None:
    """With the largest placed first, 2 of 25 groups would be tested by all seeds and 19 by none."""
    sizes = np.random.default_rng(1).integers(2, 26, 25)
    groups = np.repeat(np.arange(25), sizes)
    rows = source(np.arange(len(groups)) % 2, groups=groups)
    times, partitions = np.zeros(25), set()
    for seed in range(200):
        test = parts_of(split(rows, drawn(split_seed=seed)))[2]
        times[np.unique(groups[test])] += 1
        assert abs(len(test) / len(groups) - 0.2) < 0.1
    assert times.min() > 10
    assert times.max() < 100
    for seed in range(20):
        found = [
            parts_of(split(rows, drawn(folds=5, fold=fold, split_seed=seed)))[2]
            for fold in range(5)
        ]
        assert max(map(len, found)) - min(map(len, found)) < 25
        partitions.add(frozenset(frozenset(groups[test].tolist()) for test in found))
    assert len(partitions) > 15


# ── what is on two sides ──────────────────────────────────────────────────────────────────────


def patients(folder: Path, name: str) -> str:
    """Forty patients with ten rows each, alike but for noise, and one label."""
    rng = np.random.default_rng(0)
    rows = []
    for patient in range(40):
        centre, label = rng.normal(0, 3), "xy"[rng.integers(2)]
        rows += [f"{name.format(patient)},{rng.normal(centre, 0.1):.3f},{label}" for _ in range(10)]
    return table(folder, "patient,a,label", rows)


@pytest.mark.parametrize("name", ["p{}", "{}"])
@pytest.mark.parametrize("options", [{}, {"folds": 5, "fold": 2}])
def test_a_column_that_names_what_rows_belong_to_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, options: dict[str, Any]
) -> None:
    config = TableConfig(path=patients(tmp_path, name), target="label", **options)
    if name == "{}":  # which would be left out, if numbers counted parts of rows
        config.numeric = ["patient"]
    with caplog.at_level(logging.WARNING):
        load(config)
    (record,) = caplog.records
    assert record.getMessage() == (
        "t: each of the 40 values of column 'patient' has one label in all of its rows, and 80 of "
        "80 test rows have a value that training rows have too; if it names what rows belong to, "
        "dataset.group=patient keeps them on one side"
    )
    caplog.clear()
    config.numeric, config.group = [], "patient"
    with caplog.at_level(logging.WARNING):
        load(config)
    assert not caplog.records


def test_a_number_that_decides_the_class_names_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"{n % 40},{n % 7},{'xyz'[(n % 40 > 12) + (n % 40 > 30)]}" for n in range(400)]
    path = table(tmp_path, "age,a,label", rows)
    with caplog.at_level(logging.WARNING):
        load(TableConfig(path=path, target="label"))
    assert "dataset.group=age" not in caplog.text


def test_noise_that_is_repeated_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.2f},{rng.normal():.2f},{rng.choice(['x', 'y'])}" for _ in range(60)]
    path = table(tmp_path, "a,b,label", list(rng.permutation(rows * 6)))
    with caplog.at_level(logging.WARNING):
        load(TableConfig(path=path, target="label"))
    assert "t: 72 of 72 test rows are copies of training rows" in caplog.text
