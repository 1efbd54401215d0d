"""Lines of text as a data set: what is kept of them, encoded for the split, and trained on."""

import dataclasses
import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from text_files import sentence, tatoeba, wet, write

import nnexp
from nnexp.config.dataset_schema import TextConfig
from nnexp.config.fields import check
from nnexp.data import load, load_source, split
from nnexp.data.coded import StoredTable
from nnexp.data.sources.text import TextSource
from nnexp.data.streaming import place
from nnexp.data.text_encoders import fit_ngrams
from nnexp.errors import ConfigError, DataError


def config_of(file: Path, **options: Any) -> TextConfig:
    given = {"name": "t", "paths": [str(file)], "label": "1", "text_column": 2, **options}
    return TextConfig(**given)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write(tmp_path / "export.tsv.gz", tatoeba(60))


def source_of(config: TextConfig) -> TextSource:
    source = load_source(config)
    assert isinstance(source, TextSource)
    return source


def test_classes_and_features(export: Path) -> None:
    config = config_of(export, vocabulary=50)
    source, dataset = source_of(config), load(config)
    assert dataset.class_names == ("deu", "eng", "fra")
    assert (dataset.num_train, dataset.num_val, dataset.num_test) == (117, 27, 36)
    lines = [source.lines[row] for row in dataset.train.tolist()]  # type: ignore[union-attr]
    assert (
        dataset.feature_names == fit_ngrams(lines, longest=3, width=120, most=50, lower=True).ngrams
    )  # of training rows alone
    assert dataset.text_encoder is not None
    assert (dataset.x.numpy() == dataset.text_encoder.counts(source.lines)).all()
    for row, line in enumerate(source.lines):
        language = source.class_names[source.y[row]]
        assert line in {sentence(language, number) for number in range(60)}


def test_another_split_has_its_own_vocabulary(export: Path) -> None:
    source = source_of(config_of(export))
    tables: dict[bytes, Any] = {}
    parts = [split(source, config_of(export, split_seed=s, vocabulary=300), tables) for s in (0, 1)]
    assert parts[0].feature_names != parts[1].feature_names
    assert parts[0].fingerprint == parts[1].fingerprint
    assert len(tables) == 2
    same = split(source, config_of(export, split_seed=1, vocabulary=300), tables)
    assert same.table is parts[1].table
    assert source.own_table
    placed = place(parts, torch.device("cpu"))
    rows = torch.tensor([[3, 5], [3, 5]]) + torch.tensor(placed.first)[:, None]
    features = placed.features.lookup(rows)
    for part, own in zip(parts, features, strict=True):
        assert (own == part.x[[3, 5]]).all()


def test_what_is_kept_follows_from_the_lines_alone(tmp_path: Path) -> None:
    """Not from their order, and not from the files that they are in; equal lines are kept once."""
    content = tatoeba(200).splitlines(keepends=True)
    ordered = write(tmp_path / "a.tsv", "".join(content))
    halves = tmp_path / "halves"
    halves.mkdir()
    write(halves / "x.tsv", "".join(content[300:][::-1]))
    write(halves / "y.tsv", "".join(content[:400]))  # a hundred are in both
    one = source_of(config_of(ordered, rows_per_label=20))
    two = source_of(config_of(halves, rows_per_label=20))
    assert one.lines == two.lines
    assert one.fingerprint == two.fingerprint
    assert np.bincount(one.y).tolist() == [20, 20, 20]
    more = source_of(config_of(ordered, rows_per_label=21))
    assert set(one.lines) < set(more.lines)
    other = source_of(config_of(ordered, rows_per_label=20, seed=1))
    assert set(other.lines) != set(one.lines)
    assert other.fingerprint != one.fingerprint
    assert len(source_of(config_of(ordered, rows_per_label=None)).lines) == 600


def test_lines_and_labels_that_are_left_out(tmp_path: Path) -> None:
    rows = ["1\tdeu\tGut so.", "2\tdeu\tJa", "3\t\\N\tNobody knows.", "4\teng\tYes, it is.",
            "5\teng\tNo, it is not.", "6\tfra\tOui.", "7\t\tNothing."]  # fmt: skip
    file = write(tmp_path / "x.tsv", "\n".join(rows))
    source = source_of(config_of(file, min_length=4))
    assert source.class_names == ("deu", "eng", "fra")
    assert len(source.lines) == 4
    source = source_of(config_of(file, min_rows_per_label=2, max_length=7))
    assert source.class_names == ("deu", "eng")
    assert sorted(source.lines) == ["Gut so.", "Ja", "No, it ", "Yes, it"]
    with pytest.raises(DataError) as caught:
        source_of(config_of(file, min_length=12))
    assert str(caught.value) == (
        "t: 1 labels ('eng') have 1 lines of 12 characters; at least 2 are needed "
        "(dataset.label=1, 1 lines read)"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"encoding": "chars"},
         "dataset.vocabulary=2000: one-hot at each of dataset.max_length=120 places would be "
         "240000 features, at most 100000 are: use dataset.vocabulary=833"),
        ({"scaling": "minmax"},
         "dataset.scaling=minmax: must be none: features of text are 0, 1 or counts, and are not "
         "scaled"),
        ({"paths": []}, "dataset.paths=[]: must name a file, a folder or a pattern of files"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(TextConfig(**{"paths": ["a.txt"], **options}), "dataset")
    assert str(caught.value) == said


def test_memory_is_that_of_what_is_kept(tmp_path: Path) -> None:
    """Of a stream of 20 MB two hundred lines are kept."""
    lines = "".join(
        f"{n}\t{('deu', 'eng')[n % 2]}\t{n} {'x' * 1000}\n" for n in range(20_000)
    )  # fmt: skip
    file = tmp_path / "long.tsv.gz"
    file.write_bytes(gzip.compress(lines.encode(), 1))
    tracemalloc.start()
    source = source_of(config_of(file, rows_per_label=100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(source.lines) == 200
    assert peak < 2_000_000


def test_counts_above_255(tmp_path: Path) -> None:
    rows = [f"{n}\t{n % 2}\t{'ab'[n % 2] * (300 + n)}" for n in range(20)]
    dataset = load(config_of(write(tmp_path / "x.tsv", "\n".join(rows)), max_length=400, ngrams=1))
    assert dataset.x.max() == 319
    assert isinstance(dataset.table, StoredTable)
    assert dataset.table.dense(np.arange(20)).dtype == torch.float32


def test_a_run_reads_lines_when_it_predicts(export: Path, tmp_path: Path) -> None:
    run = nnexp.run(
        "dataset=tatoeba", f"dataset.paths=[{export}]", "dataset.min_rows_per_label=1",
        "dataset.encoding=chars", "dataset.max_length=30", "dataset.vocabulary=40", "model=linear",
        "baseline=[knn]", "trainer.pictures=false", "optimizer.lr=0.01",
        f"hydra.run.dir={tmp_path}/run", trainer__epochs=10,
    )  # fmt: skip
    assert run.metrics["test/acc"] > 0.9
    assert run.baselines["knn"]["test/acc"] > 0.8
    lines = [f"{sentence(language, 77)} " for language in ("fra", "deu", "eng")]
    again = nnexp.load(tmp_path / "run")
    assert again.predict(lines).tolist() == ["fra", "deu", "eng"]
    config = config_of(export, encoding="chars", max_length=30, vocabulary=40)
    dataset = load(dataclasses.replace(config))
    source = source_of(config)
    rows = dataset.test.tolist()
    of_lines = again.predict_proba([source.lines[row] for row in rows])
    assert np.array_equal(of_lines, again.predict_proba(dataset.x[rows].numpy()))
    stored = np.load(tmp_path / "run" / "predictions.npz")
    assert np.allclose(of_lines, stored["probabilities"], atol=1e-6)
    with pytest.raises(DataError, match=r"^row 1 is a int, not a line of text$"):
        again.predict(["Ja.", 1])
    with pytest.raises(DataError, match=r"^a single line of text is \[line\]$"):
        again.predict("Ja.")


def test_web_pages_by_language(tmp_path: Path) -> None:
    pages = [
        (language, "\n".join(sentence(language, number) for number in range(first, first + 20)))
        for first in (0, 20)
        for language in ("deu", "eng")
    ]
    file = write(tmp_path / "pages.warc.wet.gz", wet(pages))
    config = TextConfig(paths=[str(file)], format="wet", label="WARC-Identified-Content-Language")
    source = source_of(config)
    assert source.name == "pages"
    assert source.class_names == ("deu", "eng")
    assert np.bincount(source.y).tolist() == [40, 40]
