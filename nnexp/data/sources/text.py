"""Lines of text with labels as a data set: read once as a stream, encoded for each split."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from nnexp.config.dataset_schema import DatasetConfig, TextConfig
from nnexp.data.coded import StoredTable
from nnexp.data.dataset import CodedSource, Dataset, Tables
from nnexp.data.source import in_order, quoted
from nnexp.data.split import draw_rows
from nnexp.data.text.formats import Reading, labelled_lines
from nnexp.data.text.selection import Selection
from nnexp.data.text.streams import files_of, label_of
from nnexp.data.text_encoders import TextEncoder, fit_ngrams, fit_places
from nnexp.errors import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TextSource(CodedSource):
    """Lines as they were read. ``x`` is empty."""

    lines: tuple[str, ...] = ()  # [M]

    own_table: ClassVar[bool] = True  # the vocabulary is that of the training rows

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over lines, labels and names."""
        header = {"version": 1, "rows": len(self.y), "class_names": self.class_names}
        digest = hashlib.sha256(json.dumps(header).encode())
        digest.update(self.y.astype("<i8").tobytes())
        for line in self.lines:
            digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
        return digest.hexdigest()

    def split(self, config: DatasetConfig, tables: Tables) -> Dataset:
        """Rows drawn, and encoded with the vocabulary of the training rows.

        Raises:
            ConfigError: ``num_train`` does not fit the source.
            DataError: too few rows for every class.
        """
        assert isinstance(config, TextConfig)
        rows = draw_rows(self, config)
        encoder = _fitted(config, [self.lines[row] for row in rows.train.tolist()])
        key = json.dumps(encoder.saved()).encode()
        if key not in tables:
            tables[key] = StoredTable(encoder.encode(self.lines), encoder)
        return Dataset(
            name=self.name,
            table=tables[key],
            y=torch.from_numpy(self.y.copy()),
            train=torch.from_numpy(rows.train),
            val=torch.from_numpy(rows.val),
            test=torch.from_numpy(rows.test),
            class_names=self.class_names,
            feature_names=encoder.feature_names,
            fingerprint=self.fingerprint,
            official_test=rows.same_test,
        )


def load_text(config: TextConfig) -> TextSource:
    """Read the files of a config.

    Raises:
        ConfigError: an option that does not fit the format.
        DataError: a file that is missing or damaged, or lines of fewer than two labels.
    """
    files = files_of(config.paths)
    name = config.name or label_of(files[0])
    reading = Reading(config.format, config.label, config.text_column)
    selection = Selection(config.seed, config.rows_per_label)
    for file in files:
        selection.add(_usable(file, reading, config), str(file))
    kept = {
        label: lines
        for label, lines in selection.by_label().items()
        if len(lines) >= config.min_rows_per_label
    }
    if len(kept) < 2:
        only = f" ({quoted(next(iter(kept)))})" if kept else ""
        raise DataError(
            f"{name}: {len(kept)} labels{only} have {config.min_rows_per_label} lines of "
            f"{config.min_length} characters; at least 2 are needed (dataset.label={config.label}, "
            f"{selection.num_seen} lines read)"
        )
    labels = in_order(kept)
    lines = tuple(line for label in labels for line in kept[label])
    log.info(
        "%s: %d lines of %d labels, of %d lines in %d files",
        name, len(lines), len(labels), selection.num_seen, len(files),
    )  # fmt: skip
    return TextSource(
        name=name,
        x=np.empty((len(lines), 0)),
        y=np.repeat(np.arange(len(labels)), [len(kept[label]) for label in labels]),
        class_names=tuple(labels),
        feature_names=(),
        lines=lines,
    )


def _usable(file: Path, reading: Reading, config: TextConfig) -> Iterator[tuple[str, str]]:
    """Lines that are long enough and have a label, cut to as many characters as are encoded."""
    missing = set(config.missing)
    for label, line in labelled_lines(file, reading):
        text = line.strip()
        if len(text) >= config.min_length and label not in missing:
            yield label, text[: config.max_length]


def _fitted(config: TextConfig, lines: list[str]) -> TextEncoder:
    if config.encoding == "chars":
        return fit_places(
            lines, width=config.max_length, most=config.vocabulary, lower=config.lower
        )
    return fit_ngrams(
        lines,
        longest=config.ngrams,
        width=config.max_length,
        most=config.vocabulary,
        lower=config.lower,
    )
