"""A small table with all kinds of columns, encoded by hand, and runs that were trained on it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

import nnexp
from nnexp.data.date_formats import DateFeatures, seconds_of
from nnexp.data.encoder import Column, Encoder, label_codes
from nnexp.data.source import Source
from nnexp.data.table import Table, Texts

OVERRIDES = (
    "imports=[people_data]", "dataset=people", "model=shallow", "baseline=none",
    "trainer.epochs=3", "trainer.pictures=false",
)  # fmt: skip
HEADER = ("age", "city", "joined", "score", "label")
CLASSES = ("no", "yes")


def rows(count: int, seed: int = 0) -> list[list[str]]:
    """Rows as text: ages and cities have gaps, the label follows age and city, mostly."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        age = draw.uniform(18, 80)
        city = draw.choice(["Rome", "Oslo", "Lima"])
        joined = f"20{draw.randint(10, 23):02}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}"
        sure = age + 20 * (city == "Rome") + draw.gauss(0, 8) > 55
        found.append([
            "" if draw.random() < 0.1 else f"{age:.1f}",
            "" if draw.random() < 0.1 else city,
            joined,
            f"{draw.gauss(0, 1):.3f}",
            CLASSES[sure],
        ])  # fmt: skip
    return found


def table_of(cells: list[list[str]], names: tuple[str, ...] = HEADER, path: str = "t") -> Table:
    columns = [Texts.of(column) for column in zip(*cells, strict=True)]
    return Table(path, names, columns, len(cells), lambda row: row + 2)


def an_encoder(**changes: object) -> Encoder:
    days = np.array([seconds_of(row[2], "ymd") for row in rows(300)])
    columns = (
        Column("age", "numeric", indicator=True),
        Column("city", "categorical", categories=("Lima", "Oslo", "Rome")),
        Column("joined", "date", dates=DateFeatures.fitted(days, "ymd", has_time=False)),
        Column("score", "numeric"),
    )
    fields = {"impute_categorical": "most_frequent", "target": "label", **changes}
    return Encoder(columns, **fields)


def a_source(count: int = 300, encoder: Encoder | None = None) -> Source:
    encoder = encoder or an_encoder()
    table = table_of(rows(count))
    labels = encoder.labels(table)
    assert labels is not None
    return Source(
        name="people",
        x=encoder.encode(table),
        y=label_codes(labels, CLASSES),
        class_names=CLASSES,
        feature_names=encoder.feature_names,
        one_hot=encoder.one_hot,
        encoder=encoder,
    )


def written(path: Path, cells: list[list[str]], names: tuple[str, ...] = HEADER) -> Path:
    """A file of comma-separated text."""
    lines = [",".join(row) for row in [list(names), *cells]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def trained(folder: Path, *overrides: str) -> Path:
    """A run on 300 of the rows, in this process."""
    nnexp.run(*OVERRIDES, *overrides, folder=folder)
    return folder
