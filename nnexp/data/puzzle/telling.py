"""Puzzles written out: as codes of characters or of words, and as text.

A phrase is cut into chunks that end in a name or a number, so that all chunks there can be are a
small table, and a puzzle is a few of its rows laid one behind the other. That is a handful of
NumPy calls for thousands of puzzles.

Axes: n samples, W places for symbols, L symbols of the longest chunk.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnexp.data.puzzle.phrases import NAMES, NUM_PHRASES, PHRASES, Relation, years
from nnexp.data.puzzle.rules import MOST_AGE
from nnexp.data.puzzle.story import Sentence, Stories
from nnexp.data.source import Indices
from nnexp.data.text_encoders import symbols_of

Codes = npt.NDArray[np.integer[Any]]

_SLOT = re.compile(r"\{([abcnd])\}")
_CHUNKS = 3  # of a phrase at most
_FILLERS: dict[str, tuple[int, Callable[[int], str], int]] = {
    # which of (a, b, c, number) fills it, with what, how many of these there are
    "a": (0, NAMES.__getitem__, len(NAMES)),
    "b": (1, NAMES.__getitem__, len(NAMES)),
    "c": (2, NAMES.__getitem__, len(NAMES)),
    "n": (3, str, MOST_AGE + 1),
    "d": (3, years, MOST_AGE + 1),
}


@dataclass(frozen=True, eq=False)
class Telling:
    """All chunks of all phrases in one encoding. Code 0 means no symbol."""

    symbols: tuple[str, ...]  # of codes 1, 2, ...
    lead: int  # symbols before the first sentence that are left out: its space, if that is one
    table: npt.NDArray[np.void]  # [T] chunks of L codes, filled up with 0
    lengths: Indices  # [T]
    base: Indices  # [P + 1, 3] first chunk of a phrase's parts; the last phrase is empty
    slot: Indices  # [P + 1, 3] what is added to it: a, b, c or the number
    longest: tuple[int, int]  # symbols of a sentence, of a question

    def width(self, max_people: int) -> int:
        """W: enough for the longest puzzle there can be."""
        sentence, question = self.longest
        return max_people * sentence + question - self.lead

    def write(self, stories: Stories, into: Codes) -> None:
        """Write puzzles as codes [n, W], 0 behind the end of each."""
        length = self.table.dtype.itemsize
        stride = into.shape[1] + length
        room = np.zeros(self.lead + len(into) * stride + length, dtype=np.uint8)
        # Every place of the room as the beginning of a chunk: later ones overwrite the zeros that
        # fill up those before.
        chunks = np.ndarray((len(room) - length + 1,), self.table.dtype, room, strides=(1,))
        place = np.arange(len(into)) * stride
        for sentence in stories.sentences:
            for chunk in self._chunks(sentence):
                chunks[place] = np.take(self.table, chunk)
                place += np.take(self.lengths, chunk)
        laid = room[self.lead : self.lead + len(into) * stride].reshape(len(into), stride)
        into[:] = laid[:, : into.shape[1]]

    def texts(self, codes: Codes) -> list[str]:
        """The puzzles that codes [n, W] of characters spell."""
        symbols = np.array(["", *self.symbols])
        return ["".join(row) for row in symbols[codes]]

    def _chunks(self, sentence: Sentence) -> list[Indices]:
        fill = np.concatenate([*sentence.people, sentence.number])
        size = len(sentence.number)
        every = np.arange(size)
        chunks = []
        for base, slot in zip(self.base.T, self.slot.T, strict=True):
            place = np.take(slot, sentence.phrase)
            place *= size
            place += every
            chunks.append(np.take(base, sentence.phrase) + np.take(fill, place))
        return chunks


@functools.cache
def telling(encoding: str) -> Telling:
    """The chunks in an encoding: ``chars`` or ``words``."""
    units = symbols_of[encoding]
    phrases = [phrase for relation in Relation for phrase in PHRASES[relation]]
    parts = [_parts(phrase) for phrase in phrases]
    texts = [[_filled(part) for part in of_one] for of_one in parts]
    symbols = sorted({s for of_one in texts for part in of_one for t in part for s in units(t)})
    code = {symbol: number for number, symbol in enumerate(symbols, 1)}

    rows: list[list[int]] = [[] for _ in range(MOST_AGE + 1)]  # of what is not there
    base = np.zeros((len(phrases) + 1, _CHUNKS), dtype=np.int64)
    slot = np.zeros((len(phrases) + 1, _CHUNKS), dtype=np.int64)
    for phrase, (own, pieces) in enumerate(zip(texts, parts, strict=True)):
        for number, (filled, piece) in enumerate(zip(own, pieces, strict=True)):
            base[phrase, number] = len(rows)
            slot[phrase, number] = _FILLERS[piece[1]][0]
            rows += [[code[symbol] for symbol in units(text)] for text in filled]
    longest = [sum(max(map(len, map(units, filled))) for filled in of_one) for of_one in texts]
    length = max(map(len, rows))
    table = np.zeros((len(rows), length), dtype=np.uint8)
    for row, own_codes in zip(table, rows, strict=True):
        row[: len(own_codes)] = own_codes
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    split = NUM_PHRASES * int(Relation.QUESTION)
    return Telling(
        tuple(symbols),
        len(units(" ")),
        table.view(f"V{length}")[:, 0],
        lengths,
        base,
        slot,
        (max(longest[:split]), max(longest[split:])),
    )


def _parts(phrase: str) -> list[tuple[str, str, str]]:
    """A sentence as (text before, slot, text behind); it begins with the space before it."""
    pieces = _SLOT.split(f" {phrase}")
    found = [(pieces[at], pieces[at + 1], "") for at in range(0, len(pieces) - 1, 2)]
    before, slot, _ = found[-1]
    return [*found[:-1], (before, slot, pieces[-1])]


def _filled(part: Sequence[str]) -> list[str]:
    """A chunk with everything that can stand in its slot."""
    before, slot, behind = part
    _, filler, count = _FILLERS[slot]
    return [f"{before}{filler(value)}{behind}" for value in range(count)]
