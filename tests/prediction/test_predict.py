"""Predictions of files: order, columns, metrics, formats, outputs that are whole or not there."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Once
from prediction_cases import CLASSES, HEADER, rows, table_of, trained, written

from nnexp.data.blocks import in_blocks_of
from nnexp.data.encoder import Column, Encoder, label_codes
from nnexp.data.readers.frames import table_of_frame
from nnexp.data.table import Moments, Table, Texts
from nnexp.errors import ConfigError, DataError
from nnexp.prediction.files import blocks_of
from nnexp.prediction.output_files import check_output, output_file
from nnexp.prediction.predict import Outcome, predict
from nnexp.prediction.predictors import Predictor, choose
from nnexp.prediction.run_options import text_options
from nnexp.prediction.scoring import Scores
from nnexp.runs.trained_network import ROWS_AT_ONCE, TrainedNetwork, Treatment

pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="session")
def people(once: Once) -> Path:
    return once("people", trained)


@pytest.fixture
def predictor(people: Path) -> Predictor:
    return choose(people).predictors[0]


def predicted(
    predictor: Predictor, data: Path, output: Path, *overrides: str, **options: Any
) -> Outcome:
    network = predictor.networks[0]
    chosen = {name: options[name] for name in ("keep", "target") if name in options}
    blocks = blocks_of(data, network, {}, overrides, **chosen)
    with output_file(output) as writer:
        return predict([predictor], blocks, writer, **options)


def records(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_come_out_in_their_order(predictor: Predictor, tmp_path: Path) -> None:
    cells = rows(400, seed=1)
    outcome = predicted(
        predictor, written(tmp_path / "in.csv", cells), tmp_path / "out.csv", keep=["age", "label"]
    )
    assert outcome.num_rows == 400
    expected = predictor.networks[0].probabilities_of(table_of(cells))
    found = records(tmp_path / "out.csv")
    assert list(found[0]) == ["age", "label", "prediction", "probability no", "probability yes"]
    assert [row["age"] for row in found] == [row[0] for row in cells]  # as they were written
    probabilities = [[float(row[f"probability {name}"]) for name in CLASSES] for row in found]
    assert torch.equal(torch.tensor(probabilities, dtype=torch.float32), expected)  # to the bit
    assert [row["prediction"] for row in found] == [CLASSES[i] for i in expected.argmax(1).tolist()]


def test_parquet_has_types(predictor: Predictor, tmp_path: Path) -> None:
    cells = rows(50, seed=2)
    predicted(predictor, written(tmp_path / "in.csv", cells), tmp_path / "out.parquet", keep=None)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == [*HEADER, "prediction", "probability no", "probability yes"]
    assert [str(table.schema.field(name).type) for name in ("city", "prediction")] == ["string"] * 2
    assert str(table.schema.field("probability no").type) == "float"
    expected = predictor.networks[0].probabilities_of(table_of(cells)).numpy()
    assert table["probability yes"].to_numpy().tolist() == expected[:, 1].tolist()


def test_metrics_are_those_of_all_rows(predictor: Predictor, tmp_path: Path) -> None:
    cells = rows(300, seed=3)
    data = written(tmp_path / "in.csv", cells)
    outcome = predicted(predictor, data, tmp_path / "out.csv")
    p = predictor.networks[0].probabilities_of(table_of(cells)).double()
    y = torch.tensor([CLASSES.index(row[4]) for row in cells])
    assert outcome.scores is not None
    found = outcome.scores[predictor.name].values()
    assert found["acc"] == (p.argmax(1) == y).double().mean().item()
    assert found["loss"] == pytest.approx(-p[range(300), y].log().mean().item(), rel=1e-6)
    assert found["brier"] == pytest.approx(
        ((p - torch.nn.functional.one_hot(y, 2)) ** 2).sum(1).mean().item(), rel=1e-6
    )
    assert (
        predicted(
            predictor, written(data, [row[:4] for row in cells], HEADER[:4]), tmp_path / "b.csv"
        ).scores
        is None
    )  # no labels, no metrics


def test_labels_that_are_no_classes_are_named_and_do_not_count() -> None:
    scores = Scores(CLASSES, ["roc_auc"], ("", "?"))
    p = torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    labels = Texts.of(["yes", "perhaps", "no", None, "?"])
    scores.add(p, p.double().log(), labels)
    assert (scores.num_rows, scores.unlabelled, dict(scores.unknown)) == (2, 2, {"perhaps": 1})
    values = scores.values()
    assert values["loss"] == pytest.approx(-(math.log(0.75) + math.log(0.9)) / 2, rel=1e-6)
    assert (values["acc"], values["roc_auc"]) == (1.0, 1.0)
    assert scores.lines() == [
        "2 rows have no label and do not count",
        "1 rows have labels that are none of the network's classes and do not count: 'perhaps' (1)",
    ]


def test_a_target_of_another_name(predictor: Predictor, tmp_path: Path) -> None:
    data = written(tmp_path / "in.csv", rows(9), (*HEADER[:4], "truth"))
    assert predicted(predictor, data, tmp_path / "a.csv").scores is None
    outcome = predicted(predictor, data, tmp_path / "b.csv", target="truth")
    assert outcome.scores is not None
    assert outcome.scores[predictor.name].num_rows == 9
    with pytest.raises(ConfigError, match=r"^dataset.target=truht: .*did you mean 'truth'"):
        predicted(predictor, data, tmp_path / "c.csv", target="truht")


def test_nothing_is_left_of_what_fails(predictor: Predictor, tmp_path: Path) -> None:
    cells = rows(20)
    cells[15][0] = "old"
    data = written(tmp_path / "in.csv", cells)
    with pytest.raises(DataError, match="line 17, column 'age': 'old' is not a number"):
        predicted(predictor, data, tmp_path / "out.csv")
    with pytest.raises(DataError, match="has no column 'wage' to keep; it has age, city"):
        predicted(predictor, data, tmp_path / "out.parquet", keep=["wage"])
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_no_rows_are_told(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows to predict"):
        predicted(predictor, written(tmp_path / "in.csv", []), tmp_path / "out.csv")


def test_outputs_destroy_nothing(tmp_path: Path) -> None:
    data, there = tmp_path / "in.csv", tmp_path / "out.csv"
    for path in (data, there):
        path.write_text("x")
    (tmp_path / "link.csv").symlink_to(data)
    for name, force, problem in [
        ("out.csv", False, "is there already; --force replaces it"),
        ("link.csv", True, "is the input; give another name"),
        ("out.xlsx", True, "must end in .csv or .parquet"),
        ("no/out.csv", True, f"there is no folder {tmp_path / 'no'}"),
    ]:
        with pytest.raises(DataError) as caught:
            check_output(tmp_path / name, [data], force=force)
        assert str(caught.value) == f"{tmp_path / name}: {problem}"
    check_output(there, [data], force=True)
    with pytest.raises(ZeroDivisionError), output_file(there) as writer:
        writer.write({"a": np.zeros(1) if 1 / 0 else np.ones(1)})
    assert there.read_text() == "x"
    assert len(list(tmp_path.iterdir())) == 3


def test_all_kinds_of_columns_are_written(tmp_path: Path) -> None:
    columns = {
        'a "b"': Texts.of(["x,y", None]),
        "n": np.array([3.0, math.nan]),
        "t": Moments(np.array([86_400.5, math.nan]), True),
        "p": np.array([0.1, 1.0], np.float32),
    }
    for name in ("out.csv", "out.parquet"):
        with output_file(tmp_path / name) as writer:
            writer.write(columns)
    assert (
        tmp_path / "out.csv"
    ).read_text() == '"a ""b""",n,t,p\n"x,y",3,1970-01-02T00:00:00,0.1\n,,,1.0\n'
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["n"] for row in table] == [3.0, None]
    assert str(table[0]["t"]) == "1970-01-02 00:00:00.500000"
    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_arrays_are_predicted(tmp_path: Path, predictor: Predictor) -> None:
    x = np.random.default_rng(0).normal(size=(5, 2))
    names = ("width", "height")
    zeros = torch.zeros(2, dtype=torch.float64)
    arrays = TrainedNetwork(torch.nn.Linear(2, 2).eval(), CLASSES, names, zeros, zeros + 1)
    np.savez(tmp_path / "in.npz", x=x, y=np.array(["yes", "no", "yes", "no", "no"]))
    np.save(tmp_path / "in.npy", x)
    for name in ("in.npz", "in.npy"):
        (block,) = blocks_of(tmp_path / name, arrays, {}, ())
        assert np.stack(block.columns[:2], axis=1).tolist() == x.tolist()
        assert block.names == (*names, *("y" for _ in range(name == "in.npz")))
    np.savez(tmp_path / "in.npz", z=x)
    with pytest.raises(DataError, match="lacks the array x; it holds z"):
        blocks_of(tmp_path / "in.npz", arrays, {}, ())
    network = predictor.networks[0]
    with pytest.raises(DataError, match="a table with the columns age, city, joined, score; give"):
        blocks_of(tmp_path / "in.npz", network, {}, ())


def test_options_of_a_text() -> None:
    config = {"dataset": {"separator": ";", "comment": "#", "target": "y"}}
    options = text_options(config, ["dataset.separator=tab", "dataset.header=false"])
    assert (options.separator, options.comment, options.header) == ("tab", "#", False)
    assert text_options({}, ["dataset.skip_rows=[1,3]"]).skip_rows == [1, 3]
    assert text_options({}, ["dataset.quote=null"]).quote is None
    for override, problem in [
        ("dataset.seperator=;", "did you mean 'separator'"),
        ("dataset.header=maybe", "must be true, false or null"),
        ("dataset.separator=;;", "must be one character, or tab"),
        ("dataset.skip_rows=-1", "must be how many lines"),
        ("dataset.skip_footer=x", "must be a whole number"),
        ("header", "no option of a file to predict"),
    ]:
        with pytest.raises(ConfigError, match=problem):
            text_options({}, [override])


def test_a_large_table_is_never_in_memory_as_a_whole(predictor: Predictor) -> None:
    alive: list[int] = []
    block = table_of(rows(50))

    def endless() -> Any:
        for number in range(40):
            alive.append(number)
            yield block

    class Counting:
        def __init__(self) -> None:
            self.ahead: list[int] = []

        def write(self, columns: Any) -> None:
            self.ahead.append(len(alive))

    writer = Counting()
    outcome = predict([predictor], in_blocks_of(endless(), 100), writer)
    assert outcome.num_rows == 2000
    assert writer.ahead == list(range(2, 42, 2))  # written as soon as it is read
    assert isinstance(block, Table)


def test_formats_give_the_same_predictions(predictor: Predictor, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows(120, seed=7), columns=HEADER)
    for name in ("age", "score"):
        frame[name] = pandas.to_numeric(frame[name])
    frame["city"] = frame["city"].replace("", None)
    frame["many"] = [[1, 2]] * len(frame)  # of no type that is read, and not wanted
    frame.to_parquet(tmp_path / "in.parquet", row_group_size=50)
    plain = frame.drop(columns="many")
    plain.to_feather(tmp_path / "in.feather")
    plain.to_json(tmp_path / "in.jsonl", orient="records", lines=True)
    plain.to_csv(tmp_path / "in.csv", index=False)
    expected = predictor.networks[0].probabilities_of(table_of_frame(plain)).numpy()
    for suffix in ("csv", "parquet", "feather", "jsonl"):
        predicted(predictor, tmp_path / f"in.{suffix}", tmp_path / f"{suffix}.parquet")
        found = pq.read_table(tmp_path / f"{suffix}.parquet")
        assert found["probability yes"].to_numpy().tolist() == expected[:, 1].tolist()
    with pytest.raises(ConfigError, match=r"is for separated text, which .*in.parquet is not$"):
        predicted(predictor, tmp_path / "in.parquet", tmp_path / "o.csv", "dataset.header=true")


def test_blocks_of_parquet_know_their_rows(predictor: Predictor, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    count = ROWS_AT_ONCE + 5
    frame = pandas.DataFrame(rows(10) * (count // 10 + 1), columns=HEADER).head(count)
    for name in ("age", "score"):
        frame[name] = pandas.to_numeric(frame[name])
    frame.loc[count - 1, "joined"] = "soon"
    frame.to_parquet(tmp_path / "in.parquet")
    with pytest.raises(DataError, match=f"in.parquet: row {count - 1}, column 'joined': 'soon'"):
        predicted(predictor, tmp_path / "in.parquet", tmp_path / "out.csv")
    frame.loc[count - 1, "score"] = math.inf
    frame.to_parquet(tmp_path / "in.parquet")
    with pytest.raises(DataError, match=f"row {count - 1}, column 'score': inf is not a finite"):
        predicted(predictor, tmp_path / "in.parquet", tmp_path / "out.csv")


def test_features_that_no_row_of_a_sparse_file_has_are_zero(tmp_path: Path) -> None:
    encoder = Encoder(tuple(Column(name, "numeric") for name in ("1", "2", "9")), target="label")
    zeros = torch.zeros(3, dtype=torch.float64)
    network = TrainedNetwork(
        torch.nn.Linear(3, 2).eval(), CLASSES, ("1", "2", "9"), zeros, zeros + 1,
        encoder=encoder, fill=zeros,
    )  # fmt: skip
    (tmp_path / "new.svm").write_text("1 1:0.5 2:3\n0 2:4\n")
    (block,) = blocks_of(tmp_path / "new.svm", network, {}, ())
    assert network.features_of(block, Treatment()).tolist() == [[0.5, 3, 0], [0, 4, 0]]
    labels = encoder.labels(block)
    assert labels is not None
    assert label_codes(labels, ("0", "1")).tolist() == [1, 0]


def test_a_table_in_an_array_goes_by_number(tmp_path: Path) -> None:
    columns = (Column("column 0", "numeric", number=0), Column("column 2", "numeric", number=2))
    encoder = Encoder(columns, target="column 1", target_number=1)
    zeros = torch.zeros(2, dtype=torch.float64)
    network = TrainedNetwork(
        torch.nn.Linear(2, 2).eval(), CLASSES, encoder.feature_names, zeros, zeros + 1,
        encoder=encoder, fill=zeros,
    )  # fmt: skip
    for x in ([[1.0, 7.0, 2.0]], [[1.0, 2.0]]):  # with the labels, and without
        np.save(tmp_path / "new.npy", np.array(x))
        (block,) = blocks_of(tmp_path / "new.npy", network, {}, ())
        assert network.features_of(block, Treatment()).tolist() == [[1.0, 2.0]]
