"""Samples of the puzzle at any indices, as codes and classes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nnexp.data.puzzle.rules import Rules
from nnexp.data.puzzle.story import draw_stories
from nnexp.data.puzzle.telling import Codes, telling
from nnexp.data.source import Indices
from nnexp.rng import stream_seed

_BLOCK = 8192  # samples drawn at once: what is drawn of them stays in a core's cache


@dataclass(frozen=True)
class Samples:
    """Any number of puzzles, of which none is stored.

    Args:
        part: of the data set: samples of another part are others.
        width: W, symbols of a sample.
    """

    seed: int
    part: str
    rules: Rules
    encoding: str  # chars or words
    width: int

    def at(self, index: Indices) -> tuple[Codes, Indices]:
        """Codes [n, W], 0 behind the end of each; and classes [n], the answer less 1."""
        codes = np.empty((len(index), self.width), dtype=np.uint8)
        return codes, self.write(index, codes)

    def write(self, index: Indices, codes: Codes) -> Indices:
        """Write the samples at ``index`` [n] into ``codes`` [n, W]; their classes [n]."""
        classes = np.empty(len(index), dtype=np.int64)
        told = telling(self.encoding)
        for block in self._blocks(index):
            stories = draw_stories(index[block].astype(np.uint64), self._key, self.rules)
            told.write(stories, codes[block])
            classes[block] = stories.answer - 1
        return classes

    def classes(self, index: Indices) -> Indices:
        """The same classes, without writing the puzzles out."""
        found = np.empty(len(index), dtype=np.int64)
        for block in self._blocks(index):
            stories = draw_stories(index[block].astype(np.uint64), self._key, self.rules)
            found[block] = stories.answer - 1
        return found

    def texts(self, index: Indices) -> list[str]:
        """The puzzles at ``index`` [n] in words."""
        width = telling("chars").width(self.rules.max_people)
        codes, _ = replace(self, encoding="chars", width=width).at(index)
        return telling("chars").texts(codes)

    def text(self, index: int) -> str:
        """The puzzle at an index in words."""
        return self.texts(np.array([index]))[0]

    @property
    def _key(self) -> int:
        return stream_seed(self.seed, f"dataset/puzzle/{self.part}")

    def _blocks(self, index: Indices) -> list[slice]:
        return [slice(at, at + _BLOCK) for at in range(0, len(index), _BLOCK)]
