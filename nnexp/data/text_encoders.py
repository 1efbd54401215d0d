"""Encoders of text: lines as codes, and which feature each code stands for.

A line becomes W codes, most of them small; code 0 stands for nothing, code c > 0 at place w adds 1
to feature ``offset[w] + c - 1``. So a line of one-hot characters takes a byte each, and a line of
n-grams a number each, where its features would take thousands of numbers.

Axes: n lines, W codes of a line, D features, V symbols, A characters known.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nnexp.data.source import Doubles, Indices

Codes = npt.NDArray[np.integer[Any]]

_BLOCK = 4096  # lines that are encoded at once
MOST_NGRAM = 5
_MOST_CHARACTERS = 6000  # of which n-grams are made: 6001 ** 5 < 2 ** 63


def words(text: str) -> list[str]:
    """Words, numbers and punctuation marks of a text."""
    return re.findall(r"\w+|[^\w\s]", text)


symbols_of: dict[str, Callable[[str], list[str]]] = {"chars": list, "words": words}


class TextEncoder(ABC):
    """Lines as codes [n, W]. Space around a line is none of it."""

    @property
    @abstractmethod
    def offsets(self) -> Indices:
        """[W] the feature of code 1 at each place."""

    @property
    @abstractmethod
    def feature_names(self) -> tuple[str, ...]:
        """[D]."""

    @property
    @abstractmethod
    def dtype(self) -> npt.DTypeLike:
        """Of the codes."""

    @property
    @abstractmethod
    def most(self) -> int:
        """What no feature of a line exceeds."""

    @abstractmethod
    def encode(self, lines: Sequence[str]) -> Codes:
        """Codes [n, W]. What is not known has code 0, as what is behind the end of a line."""

    @abstractmethod
    def saved(self) -> dict[str, Any]:
        """Plain values that ``text_encoder_from`` takes."""

    def counts(self, lines: Sequence[str]) -> Doubles:
        """The features of lines [n, D]: how often each occurs."""
        codes = self.encode(lines).astype(np.int64)
        found = np.zeros((len(lines), len(self.feature_names)))
        row, place = np.nonzero(codes)
        np.add.at(found, (row, self.offsets[place] + codes[row, place] - 1), 1.0)
        return found


@dataclass(frozen=True, eq=False)
class Places(TextEncoder):
    """The symbol at each place, one-hot: characters or words, as many as there is room for.

    Args:
        symbols: V.
        width: W.
        unit: chars or words.
        lower: whether lines are read as if all was in lower case.
    """

    symbols: tuple[str, ...]
    width: int
    unit: str = "chars"
    lower: bool = False

    @property
    def offsets(self) -> Indices:
        """See ``TextEncoder``."""
        return np.arange(self.width, dtype=np.int64) * len(self.symbols)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """See ``TextEncoder``: ``0:a`` is an a at the beginning."""
        return tuple(f"{place}:{symbol}" for place in range(self.width) for symbol in self.symbols)

    @property
    def dtype(self) -> npt.DTypeLike:
        """See ``TextEncoder``."""
        return np.uint8 if len(self.symbols) < 256 else _signed(len(self.symbols))

    @property
    def most(self) -> int:
        """See ``TextEncoder``."""
        return 1

    def encode(self, lines: Sequence[str]) -> Codes:
        """See ``TextEncoder``."""
        code = {symbol: number for number, symbol in enumerate(self.symbols, 1)}
        codes = np.zeros((len(lines), self.width), dtype=self.dtype)
        for row, line in zip(codes, lines, strict=True):
            text = line.strip().lower() if self.lower else line.strip()
            symbols = symbols_of[self.unit](text)[: self.width]
            row[: len(symbols)] = [code.get(symbol, 0) for symbol in symbols]
        return codes

    def saved(self) -> dict[str, Any]:
        """See ``TextEncoder``."""
        return {
            "kind": "places",
            "symbols": list(self.symbols),
            "width": self.width,
            "unit": self.unit,
            "lower": self.lower,
        }


@dataclass(frozen=True, eq=False)
class NGrams(TextEncoder):
    """How often each of some n-grams of characters occurs; both ends of a line count as a space.

    Args:
        ngrams: V = D of them, of any lengths up to ``longest``.
        longest: characters of an n-gram.
        width: characters of a line that are read.
        lower: whether lines are read as if all was in lower case.
    """

    ngrams: tuple[str, ...]
    longest: int
    width: int
    lower: bool = False

    @property
    def offsets(self) -> Indices:
        """See ``TextEncoder``."""
        return np.zeros(sum(self._places), dtype=np.int64)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """See ``TextEncoder``."""
        return self.ngrams

    @property
    def dtype(self) -> npt.DTypeLike:
        """See ``TextEncoder``."""
        return _signed(len(self.ngrams))

    @property
    def most(self) -> int:
        """See ``TextEncoder``."""
        return self.width + 2

    def encode(self, lines: Sequence[str]) -> Codes:
        """See ``TextEncoder``."""
        codes = np.zeros((len(lines), sum(self._places)), dtype=self.dtype)
        for at in range(0, len(lines), _BLOCK):
            block = codes[at : at + _BLOCK]
            begin = 0
            for keys, row, place, length in _keys(lines[at : at + _BLOCK], self, self._alphabet):
                known, numbers = self._vocabulary[length]
                if len(known):
                    found = np.searchsorted(known, keys).clip(max=len(known) - 1)
                    block[row, begin + place] = np.where(known[found] == keys, numbers[found], 0)
                begin += self._places[length - 1]
        return codes

    def saved(self) -> dict[str, Any]:
        """See ``TextEncoder``."""
        return {
            "kind": "ngrams",
            "ngrams": list(self.ngrams),
            "longest": self.longest,
            "width": self.width,
            "lower": self.lower,
        }

    @property
    def _places(self) -> list[int]:
        """How many n-grams of each length a line can have."""
        return [max(0, self.width + 2 - length + 1) for length in range(1, self.longest + 1)]

    @cached_property
    def _alphabet(self) -> npt.NDArray[np.uint32]:
        return np.unique(_code_points("".join(self.ngrams)))

    @cached_property
    def _vocabulary(self) -> dict[int, tuple[Indices, Indices]]:
        """By length: the keys of the n-grams, ascending, and their codes."""
        found = {}
        for length in range(1, self.longest + 1):
            codes = [c for c, ngram in enumerate(self.ngrams, 1) if len(ngram) == length]
            points = _code_points("".join(self.ngrams[c - 1] for c in codes)).reshape(-1, length)
            ids = np.searchsorted(self._alphabet, points).astype(np.int64) + 1
            keys = np.zeros(len(codes), dtype=np.int64)
            for column in ids.T:
                keys = keys * (len(self._alphabet) + 1) + column
            order = np.argsort(keys)
            found[length] = keys[order], np.array(codes, dtype=np.int64)[order]
        return found


def _signed(largest: int) -> npt.DTypeLike:
    """The type of codes up to ``largest``; torch computes with signed integers alone."""
    return np.int16 if largest < 2**15 else np.int32


# --------------------------------------------------------------------------------------------------
# Vocabularies, from training lines alone.
# --------------------------------------------------------------------------------------------------


def fit_places(lines: Sequence[str], *, width: int, most: int, lower: bool) -> Places:
    """An encoder of the ``most`` characters that are most frequent in these lines."""
    text = "".join(line[:width] for line in lines)
    points, counts = np.unique(_code_points(text.lower() if lower else text), return_counts=True)
    frequent = np.lexsort((points, -counts))[:most]
    symbols = _text(np.sort(points[frequent]))
    return Places(tuple(symbols), width, "chars", lower)


def fit_ngrams(lines: Sequence[str], *, longest: int, width: int, most: int, lower: bool) -> NGrams:
    """An encoder of the ``most`` n-grams that are most frequent in these lines.

    Among equally frequent ones shorter come first, then those that sort first.
    """
    empty = NGrams((), longest, width, lower)
    text = " " + "".join(line[:width] for line in lines)
    points, counts = np.unique(_code_points(text.lower() if lower else text), return_counts=True)
    alphabet = np.sort(points[np.lexsort((points, -counts))[:_MOST_CHARACTERS]])
    keys: list[Indices] = [np.empty(0, dtype=np.int64) for _ in range(longest)]
    totals = list(keys)
    for at in range(0, len(lines), 8 * _BLOCK):  # memory for some lines at a time
        for found, _, _, length in _keys(lines[at : at + 8 * _BLOCK], empty, alphabet):
            new, times = np.unique(found, return_counts=True)
            joined, place = np.unique(np.concatenate([keys[length - 1], new]), return_inverse=True)
            total = np.zeros(len(joined), dtype=np.int64)
            np.add.at(total, place, np.concatenate([totals[length - 1], times]))
            keys[length - 1], totals[length - 1] = joined, total
    lengths = np.repeat(np.arange(1, longest + 1), [len(of_one) for of_one in keys])
    every, total = np.concatenate(keys), np.concatenate(totals)
    frequent = np.lexsort((every, lengths, -total))[:most]
    ngrams = [_spelled(int(every[i]), int(lengths[i]), alphabet) for i in frequent]
    return NGrams(tuple(ngrams), longest, width, lower)


def _spelled(key: int, length: int, alphabet: npt.NDArray[np.uint32]) -> str:
    symbols = []
    for _ in range(length):
        key, symbol = divmod(key, len(alphabet) + 1)
        symbols.append(chr(int(alphabet[symbol - 1])))
    return "".join(reversed(symbols))


def _keys(
    lines: Sequence[str], encoder: NGrams, alphabet: npt.NDArray[np.uint32]
) -> Iterator[tuple[Indices, Indices, Indices, int]]:
    """The n-grams of lines, by length: key, line and place in the line of each, then the length.

    A key is the number whose digits are the characters, in base A + 1. N-grams with a character
    that is not in the alphabet are left out.
    """
    texts = [line.strip()[: encoder.width] for line in lines]
    if encoder.lower:
        texts = [text.lower()[: encoder.width] for text in texts]
    padded = [f" {text} " for text in texts]
    sizes = np.array([len(text) for text in padded], dtype=np.int64)
    points = _code_points("".join(padded))
    row = np.repeat(np.arange(len(lines)), sizes)
    place = np.arange(len(points)) - np.repeat(sizes.cumsum() - sizes, sizes)
    left = np.repeat(sizes, sizes) - place  # characters from here to the end of the line
    ids = np.searchsorted(alphabet, points).clip(max=max(len(alphabet) - 1, 0))
    known = alphabet[ids] == points if len(alphabet) else np.zeros(len(points), dtype=bool)
    ids = ids + 1
    keys, whole = ids, known
    for length in range(1, encoder.longest + 1):
        if length > 1:
            keys = keys[:-1] * (len(alphabet) + 1) + ids[length - 1 :]
            whole = whole[:-1] & known[length - 1 :]
        fits = np.flatnonzero(whole & (left[: len(whole)] >= length))
        yield keys[fits], row[fits], place[fits], length


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32)


def _text(points: npt.NDArray[np.uint32]) -> str:
    return "".join(map(chr, points.tolist()))


def text_encoder_from(saved: Mapping[str, Any]) -> TextEncoder:
    """What ``TextEncoder.saved`` told of one."""
    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
    kind = options.pop("kind")
    return Places(**options) if kind == "places" else NGrams(**options)
