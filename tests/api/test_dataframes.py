"""DataFrames given to the Python API: tables as files are, with types that survive."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from table_cells import by_name

import nnexp
from nnexp.api.composition import composed
from nnexp.api.overrides import overrides_of
from nnexp.api.user_data import UserTable, user_data
from nnexp.cli.train import arranged
from nnexp.config.dataset_schema import UserDataset
from nnexp.config.schema import TableConfig
from nnexp.data import load
from nnexp.data.reading import read_table
from nnexp.data.table_files import classes_of
from nnexp.data.tabular import load_table
from nnexp.runs.checkpoints import load_network
from nnexp.runs.record import EPOCH_KEYS

QUICK: dict[str, Any] = {
    "baseline": "none", "model": "linear", "trainer__epochs": 2, "trainer__pictures": False,
    "trainer__device": "cpu",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def people(rows: int = 90) -> pd.DataFrame:
    """An id, numbers, dates and categories with gaps, booleans, and labels that are numbers."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({
        "id": np.arange(rows) + 1000,
        "score": rng.normal(size=rows) * 1e-3,
        "joined": pd.Timestamp("2019-03-01") + pd.to_timedelta(rng.integers(0, 900, rows), "D"),
        "city": rng.choice(["Rome", "Oslo", "Bonn"], rows),
        "member": rng.random(rows) > 0.4,
        "label": np.where(rng.random(rows) > 0.5, 7, -3).astype(np.int32),
    })  # fmt: skip
    frame.loc[[4, 11], "score"] = np.nan
    frame.loc[5, "joined"] = pd.NaT
    frame.loc[[6, 20], "city"] = None
    return frame


def epochs(run: nnexp.Run) -> list[list[Any]]:
    return [[record[key] for key in EPOCH_KEYS if key != "seconds"] for record in run.history]


def record(run: nnexp.Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.folder / "result.json").read_text())
    return found


def checkpoint(run: nnexp.Run) -> Any:
    return load_network(run.folder / "checkpoints" / "best.pt")


def own(data: Any, target: str | None = None, test: Any = None) -> UserTable:
    found = user_data(data, target, test)
    assert isinstance(found, UserTable)
    return found


def written(data: UserTable) -> Path:
    data.write(Path())
    return Path(data.file_names()[0])


# ── the same as a file ────────────────────────────────────────────────────────────────────────


def test_a_frame_is_trained_on_as_its_csv_file_is(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    frame = people()
    frame.to_csv("people.csv", index=False)
    with caplog.at_level(logging.WARNING):
        run = nnexp.run(data=frame, target="label", **QUICK)
    assert "column 'id': it counts the rows; left out" in caplog.text
    csv = nnexp.run(dataset="table", dataset__path="people.csv", dataset__target="label", **QUICK)
    assert epochs(run) == epochs(csv)
    assert run.metrics == csv.metrics
    mine, theirs = record(run), record(csv)
    assert mine["dataset"] == {**theirs["dataset"], "name": "data"}
    assert mine["data_card"]["columns"] == theirs["data_card"]["columns"]
    roles = {
        told["column"]: (told["role"], told["missing"]) for told in mine["data_card"]["columns"]
    }
    assert roles == {
        "id": ("identifier", 0), "score": ("numeric", 2), "joined": ("date", 1),
        "city": ("categorical", 2), "member": ("categorical", 0), "label": ("target", 0),
    }  # fmt: skip
    networks = checkpoint(run), checkpoint(csv)
    columns = [network.encoder.to_json()["columns"] for network in networks]
    kinds = [column["kind"] for column in columns[0]]
    assert kinds == [column["kind"] for column in columns[1]]
    assert kinds == ["numeric", "date", "categorical", "categorical"]
    assert networks[0].fill.tolist() == networks[1].fill.tolist()
    assert capfd.readouterr().out == ""

    assert (run.classes.dtype, run.classes.tolist()) == (np.int32, [-3, 7])
    assert csv.classes.tolist() == ["-3", "7"]
    new = people(30).drop(columns=["id", "label"])[["member", "city", "joined", "score"]]
    new = new.assign(more=1)
    new.loc[3, "city"], new.loc[8, "score"], new.loc[9, "joined"] = "Bern", np.nan, pd.NaT
    found = run.predict_proba(new)
    np.testing.assert_array_equal(found, csv.predict_proba(new))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    assert run.predict(new).dtype == np.int32
    assert run.predict(new).tolist() == run.classes[found.argmax(1)].tolist()

    run.folder.rename("moved")
    assert nnexp.Run("moved").predict(new).tolist() == run.classes[found.argmax(1)].tolist()
    for path in Path("moved").glob("*.feather"):
        path.unlink()
    np.testing.assert_array_equal(nnexp.Run("moved").predict_proba(new), found)
    with pytest.raises(nnexp.DataError, match="the run's data are not there any more"):
        nnexp.Run("moved").predict(new)


def test_options_of_tables_and_test_rows() -> None:
    frame = people()
    y = frame.pop("label")
    run = nnexp.run(
        data=(frame[:70], y[:70]), test=(frame[70:][frame.columns[::-1]].assign(more=1), y[70:]),
        dataset__columns={"id": "numeric"}, dataset__impute_numeric="median",
        dataset__impute_categorical="most_frequent", dataset__missing_indicator=True,
        dataset__name="mine", **QUICK,
    )  # fmt: skip
    days = [f"joined {part}" for part in ("days", "week sin", "week cos", "year sin", "year cos")]
    cities = [f"city={name}" for name in ("Bonn", "Oslo", "Rome")]
    assert run.feature_names[:11] == ("id", "score", "score missing", *days, *cities)
    dataset = record(run)["dataset"]
    assert (dataset["num_test"], dataset["official_test"], dataset["name"]) == (20, True, "mine")
    with np.load(run.folder / "predictions.npz") as predictions:
        np.testing.assert_allclose(
            run.predict_proba(frame[70:]), predictions["probabilities"], atol=1e-6
        )
        assert predictions["labels"].tolist() == (y[70:] == 7).astype(int).tolist()
    assert run.config["dataset"]["target"] == "label"  # as the Series is called
    names = sorted(path.name[:5] for path in run.folder.glob("*.feather"))
    assert names == ["data-", "test-"]
    loaded = load(TableConfig(**run.config["dataset"]))
    rows = loaded.train.tolist()
    assert max(rows) < 70
    fill = dict(zip(run.feature_names, checkpoint(run).fill.tolist(), strict=True))
    assert fill["score"] == np.nanmedian(frame["score"].iloc[rows])
    assert fill["id"] == np.median(frame["id"].iloc[rows])


def test_roles_of_columns_with_any_name() -> None:
    given = {"dataset__columns": {"age (years)": "numeric"}}
    with pytest.raises(nnexp.ConfigError, match=r"say dataset__numeric=\['age \(years\)'\]"):
        overrides_of([], given, sweep=False)
    given = {"dataset": {"columns": {"my age": "numeric", "x.y": "drop"}}}
    (text,) = overrides_of([], given, sweep=False)
    assert arranged([text, "dataset.columns.a=drop"]) == [
        "++dataset.columns={my age:numeric,x.y:drop}", "++dataset.columns.a=drop",
    ]  # fmt: skip
    tree = composed(["dataset=table", "dataset.path=p", "dataset.target=y", text])
    assert dict(tree.dataset.columns) == {"my age": "numeric", "x.y": "drop"}


def test_a_sweep_and_its_best_run() -> None:
    frame = people()
    frame["label"] = frame["label"] > 0
    frame["city"] = frame["city"].astype("category")
    swept = nnexp.sweep(
        data=frame, target="label", seed=2, report__enabled=False,
        dataset__impute_numeric=["mean", "median"], **QUICK,
    )  # fmt: skip
    assert [run.status for run in swept] == ["completed"] * 2
    assert [path.suffix for path in swept.folder.glob("data-*")] == [".feather"]
    solo = nnexp.run(data=frame, target="label", seed=2, dataset__impute_numeric="median", **QUICK)
    same = swept[1]
    assert same.config["dataset"]["impute_numeric"] == "median"
    assert epochs(same) == epochs(solo) != epochs(swept[0])
    best = swept.best()
    assert best.classes.dtype == bool
    assert best.predict(frame).dtype == bool
    np.testing.assert_array_equal(same.predict_proba(frame), solo.predict_proba(frame))


def test_a_frame_of_polars() -> None:
    frame = people().drop(columns="id")
    frame["label"] = np.where(frame["label"] == 7, "ja", "nein")
    columns = {name: frame[name].tolist() for name in ("score", "city", "member", "label")}
    columns["score"] = [None if value != value else value for value in columns["score"]]
    columns["city"] = [None if value != value else value for value in columns["city"]]
    joined = [None if day is pd.NaT else day.date() for day in frame["joined"]]
    other = pl.DataFrame({**columns, "joined": joined})[
        ["score", "joined", "city", "member", "label"]
    ]
    run = nnexp.run(data=other, target="label", **QUICK)
    assert run.classes.tolist() == ["ja", "nein"]
    expected = load_table(_config(written(own(frame, "label"))))
    assert record(run)["dataset"]["fingerprint"] == expected.fingerprint
    np.testing.assert_array_equal(run.predict_proba(other), run.predict_proba(frame))
    assert set(run.predict(other)) <= {"ja", "nein"}


# ── types ─────────────────────────────────────────────────────────────────────────────────────


def _config(path: Path, target: str = "label", **options: Any) -> TableConfig:
    return TableConfig(path=str(path), target=target, **options)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pd.Series([10, 9, 2] * 10, dtype="int8"), np.array([2, 9, 10], np.int8)),
        (pd.Series([2**62, 1] * 15), np.array([1, 2**62])),
        (pd.Series([3, 1] * 15, dtype="Int64"), np.array([1, 3])),
        (pd.Series([True, False] * 15), np.array([False, True])),
        (pd.Series([True, False] * 15, dtype="boolean"), np.array([False, True])),
        (pd.Series([2.0, -1.0] * 15), np.array([-1.0, 2.0])),
        (pd.Series(["b", "a", "ä"] * 10), np.array(["a", "b", "ä"])),
        (pd.Series(["10", "9"] * 15), np.array(["9", "10"])),
        (pd.Series([5, 4] * 15, dtype="category"), np.array([4, 5])),
        (pl.Series([5, 4] * 15), np.array([4, 5])),
        (pa.array(["v", "u"] * 15).dictionary_encode(), np.array(["u", "v"])),
        ([1, 0] * 15, np.array([0, 1])),
    ],
)  # fmt: skip
def test_labels_keep_their_type(labels: Any, classes: np.ndarray[Any, Any]) -> None:
    data = own((pd.DataFrame({"x": np.linspace(0, 1, 30) ** 2}), labels))
    path = written(data)
    source = load_table(_config(path, data.data.target))
    found = classes_of(path, data.data.target, source.class_names)
    assert found.dtype == classes.dtype
    assert found.tolist() == classes.tolist()
    expected = np.asarray(labels).tolist()
    assert found[source.y].tolist() == expected


def test_the_file_is_the_frame() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=30) * 10.0 ** rng.integers(-300, 300, 30)
    numbers[7] = np.nan
    moments = pd.Series(
        pd.Timestamp("2021-05-06 07:08:09.123456") + pd.to_timedelta(range(30), "h")
    )
    moments[3] = pd.NaT
    frame = pd.DataFrame({
        "a, b": numbers,
        "half": np.float32(numbers / 1e300),
        "large": [2**60 + row for row in range(30)],
        "when": moments,
        "zone": moments.dt.tz_localize("Europe/Oslo"),
        "day": [datetime.date(1850, 1, 1 + row) for row in range(30)],
        "text": [None, " a ", "größe"] * 10,
        "mixed": [1, "x", None] * 10,
        "ten": pd.Categorical([1.5, 20, 3] * 10),
        "flag": pd.array([True, None, False] * 10, dtype="boolean"),
        "wait": pd.to_timedelta(range(30), "s"),
        "none": None,
        7: range(30),
    })  # fmt: skip
    frame["label"] = ["u", "v"] * 15
    data = own(frame, "label")
    table = read_table(_config(written(data)))
    assert by_name(table) == by_name(data.data.table)
    assert table.names == tuple(map(str, frame.columns))
    assert table.categorical == frozenset([8])
    assert table.notes == data.data.table.notes
    assert "'wait' is a duration" in table.notes[0]
    assert by_name(table)["a, b"][:7] == numbers[:7].tolist()
    again = own(frame.copy(), "label")
    assert again.file_names() == data.file_names()
    assert own(frame.iloc[::-1], "label").file_names() != data.file_names()


def test_columns_declared_to_be_categories_stay_so() -> None:
    values = [10, 2, 30] * 10
    label = ["u", "v"] * 15
    for frame in (
        pd.DataFrame({"k": pd.Categorical(values), "label": label}),
        pl.DataFrame({"k": [str(n) for n in values], "label": label}).with_columns(
            pl.col("k").cast(pl.Categorical)
        ),
        pa.table({"k": pa.array(values).dictionary_encode(), "label": label}),
    ):
        path = written(own(frame, "label"))
        assert load_table(_config(path)).feature_names == ("k=2", "k=10", "k=30")
        source = load_table(_config(path, columns={"k": "numeric"}))
        assert source.feature_names == ("k",)
        assert source.x[:3, 0].tolist() == [10, 2, 30]
    plain = written(own(pd.DataFrame({"k": values, "label": label}), "label"))
    assert load_table(_config(plain)).feature_names == ("k",)


# ── a data set of another package ─────────────────────────────────────────────────────────────


@dataclass
class Members(UserDataset):
    """A DataFrame with gaps, and test rows."""

    name: str = "members"
    with_test: bool = False

    def load(self) -> Any:
        frame = people().assign(grade=pd.Categorical([1, 2, 3] * 30))
        y = frame.pop("label")
        if not self.with_test:
            return frame, y.to_numpy()
        return frame[:60], y[:60], frame[60:], y[60:]


def test_load_may_return_a_frame() -> None:
    source = Members().read()
    frame, y = Members().load()
    data = own((frame, y))
    expected = load_table(_config(written(data), "y"))
    assert source.fingerprint == expected.fingerprint
    assert source.name == "members"
    assert source.class_names == ("-3", "7")
    assert {"grade=1", "city missing", "joined days", "member=True"} <= set(source.feature_names)
    assert "id" not in source.feature_names
    assert np.isnan(source.x[:, source.feature_names.index("score")]).nonzero()[0].tolist() == [
        4,
        11,
    ]
    assert source.encoder is not None
    assert source.card is not None
    split = Members(with_test=True).read()
    assert split.test is not None
    assert split.test.tolist() == list(range(60, 90))
    np.testing.assert_array_equal(split.x, source.x)
    np.testing.assert_array_equal(split.y, source.y)


# ── what cannot be used ───────────────────────────────────────────────────────────────────────


def _wrong() -> Iterator[tuple[str, dict[str, Any]]]:
    frame = people()
    given = {"data": frame, "target": "label"}
    yield "data: row 4, column 'score': inf is not a finite number", {
        **given, "data": frame.assign(score=frame["score"].fillna(np.inf)),
    }  # fmt: skip
    lists = frame.assign(more=[[1, 2]] * 90)
    yield "data: row 0, column 'more': a list, not a single value", {**given, "data": lists}
    gap = frame.assign(label=frame["label"].where(frame.index != 8))
    yield "data: column 'label': row 8: the label is missing (nan)", {**given, "data": gap}
    amounts = {**given, "data": frame.assign(label=np.arange(90) / 4)}
    yield (
        "data: target 'label' has 90 different numbers in 90 rows: classes or a quantity?",
        amounts,
    )
    yield "data: column 'joined': labels must be integers", {**given, "target": "joined"}
    yield "data: target 'label' has one class only, '1'", {**given, "data": frame.assign(label=1)}
    yield "data: has no column 'labl' (did you mean 'label'?)", {**given, "target": "labl"}
    yield "data: row 0, column 'day': '5/1/2024' may begin with the day", {
        **given, "data": frame.assign(day=["5/1/2024", "2/2/2024", "1/1/2024"] * 30),
    }  # fmt: skip
    yield "data: row 4, column 'score': no value ('')", {
        **given, "dataset__impute_numeric": "error",
    }  # fmt: skip
    yield "dataset.drop=scor: data has no such column (did you mean 'score'?)", {
        **given, "dataset__drop": ["scor"],
    }  # fmt: skip
    yield "dataset.target=city: data replaces the data set", {**given, "dataset__target": "city"}
    yield "test: lacks column 'city'", {**given, "test": frame.drop(columns="city")}
    yield "test: row 0, column 'label': no training row has the class '5'", {
        **given, "test": frame[:3].assign(label=5),
    }  # fmt: skip
    yield "test: its labels are text, but those of data are int32", {
        **given, "test": frame.assign(label="7"),
    }  # fmt: skip
    yield "data: X has 90 rows, but y has 89", {"data": (frame, frame["label"][:89])}
    codes = pa.array(["u", None] * 45).dictionary_encode()
    yield "data: column 'label': row 1: the label is missing (None)", {
        "data": pa.table({"x": range(90), "label": codes}), "target": "label",
    }  # fmt: skip


@pytest.mark.parametrize(("line", "given"), list(_wrong()), ids=lambda value: str(value)[:40])
def test_frames_that_cannot_be_used(line: str, given: dict[str, Any]) -> None:
    with pytest.raises((nnexp.DataError, nnexp.ConfigError)) as error:
        nnexp.run(**given)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)
    assert list(Path().iterdir()) == []


def test_a_sweep_on_a_frame_that_cannot_be_used() -> None:
    frame = people().assign(day=["5/1/2024", "2/2/2024", "1/1/2024"] * 30)
    with pytest.raises(nnexp.DataError, match=r"^data: row 0, column 'day': '5/1/2024' may begin"):
        nnexp.sweep(data=frame, target="label", seed=[1, 2])
    assert list(Path().iterdir()) == []


def test_labels_of_pandas_that_are_missing_are_told() -> None:
    frame = pd.DataFrame({"a": range(4), "b": [0.5, 1.5, 2.5, 3.5]})
    for labels in (
        pd.Series(pd.array([True, None, False, True], dtype="boolean")),
        pd.Series(pd.array(["x", None, "y", "x"], dtype="string")),
    ):
        with pytest.raises(nnexp.DataError, match="row 1"):
            nnexp.run(data=(frame, labels))


def test_numbers_with_fractions_are_classes_where_they_are_few(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [i % 7 / 8 for i in range(60)], "y": [0.5, 1.5] * 30})
    options = {"trainer__epochs": 1, "baseline": "none", "model": "linear"}
    run = nnexp.run(data=frame, target="y", folder=tmp_path / "run", **options)
    assert set(run.predict(frame[["a"]])) <= {0.5, 1.5}
    frame["y"] = [i / 7 for i in range(60)]
    with pytest.raises(nnexp.DataError, match="60 different numbers in 60 rows: classes or a quan"):
        nnexp.run(data=frame, target="y", **options)
