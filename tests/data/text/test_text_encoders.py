"""Lines as codes: which features they stand for, and vocabularies from given lines alone."""

from collections import Counter

import numpy as np
import pytest
import torch

from nnexp.data.coded_features import Coded
from nnexp.data.text_encoders import (
    NGrams,
    Places,
    TextEncoder,
    fit_ngrams,
    fit_places,
    text_encoder_from,
)

LINES = ["Abba", "cab", "", "bé bé", "🙂 a", "zzz"]


def counted(line: str, longest: int, width: int, *, lower: bool) -> Counter[str]:
    """The n-grams of a line, one by one."""
    text = f" {(line.lower() if lower else line)[:width]} "
    return Counter(
        text[at : at + length]
        for length in range(1, longest + 1)
        for at in range(len(text) - length + 1)
    )


@pytest.mark.parametrize("longest", [1, 2, 3, 5])
@pytest.mark.parametrize("lower", [True, False])
def test_counts_of_ngrams(longest: int, lower: bool) -> None:
    encoder = fit_ngrams(LINES[:5], longest=longest, width=4, most=1000, lower=lower)
    expected = [counted(line, longest, 4, lower=lower) for line in LINES]
    assert set(encoder.ngrams) == {ngram for counts in expected[:5] for ngram in counts}
    features = encoder.counts(LINES)
    for row, counts in zip(features, expected, strict=True):
        known = {ngram: number for ngram, number in counts.items() if ngram in encoder.ngrams}
        assert {g: n for g, n in zip(encoder.ngrams, row, strict=True) if n} == known
    assert encoder.encode(LINES).dtype == np.int16


def test_the_most_frequent_ngrams_are_chosen() -> None:
    encoder = fit_ngrams(LINES, longest=2, width=10, most=3, lower=True)
    every = sum((counted(line, 2, 10, lower=True) for line in LINES), Counter())
    ranked = sorted(every, key=lambda ngram: (-every[ngram], len(ngram), ngram))
    assert list(encoder.ngrams) == ranked[:3]


def test_characters_at_their_places() -> None:
    encoder = fit_places(LINES[:2], width=3, most=10, lower=True)
    assert encoder.symbols == ("a", "b", "c")
    assert encoder.encode(["Abba", "dc", ""]).tolist() == [[1, 2, 2], [0, 3, 0], [0, 0, 0]]
    features = encoder.counts(["Abba", "dc", ""])
    assert [[encoder.feature_names[i] for i in np.flatnonzero(row)] for row in features] == [
        ["0:a", "1:b", "2:b"], ["1:c"], [],
    ]  # fmt: skip
    assert fit_places(LINES, width=9, most=2, lower=True).symbols == ("a", "b")


@pytest.mark.parametrize(("symbols", "dtype"), [(255, "uint8"), (256, "int16"), (2**15, "int32")])
def test_codes_are_as_small_as_they_can_be(symbols: int, dtype: str) -> None:
    """And torch reads rows of any of these types."""
    text = "".join(chr(0x4E00 + number) for number in range(symbols))
    encoder = Places(tuple(text), 3)
    codes = encoder.encode([text[-1] + text[0], text[-3:]])
    assert codes.dtype == dtype
    assert codes.tolist() == [[symbols, 1, 0], [symbols - 2, symbols - 1, symbols]]
    table = Coded(torch.from_numpy(codes), torch.from_numpy(encoder.offsets), 3 * symbols)
    found = table.lookup(torch.tensor([[1, 0]]))[0].nonzero().tolist()
    assert found == [
        [0, symbols - 3], [0, 2 * symbols - 2], [0, 3 * symbols - 1],
        [1, symbols - 1], [1, symbols],
    ]  # fmt: skip


def test_words_at_their_places() -> None:
    encoder = Places(("Jane", "is", "10", "."), 5, "words")
    assert encoder.encode(["Jane is 10.", "is she?"]).tolist() == [[1, 2, 3, 4, 0], [2, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    "encoder",
    [
        fit_ngrams(LINES, longest=3, width=20, most=30, lower=False),
        fit_places(LINES, width=5, most=10, lower=True),
        Places(("a", "b"), 3, "words"),
    ],
)
def test_saved_and_back(encoder: TextEncoder) -> None:
    again = text_encoder_from(encoder.saved())
    assert type(again) is type(encoder)
    assert again.feature_names == encoder.feature_names
    assert (again.encode(LINES) == encoder.encode(LINES)).all()
    assert again.saved() == encoder.saved()


def test_many_lines_are_encoded_as_one_by_one() -> None:
    lines = [f"{number:x} {number % 7}" for number in range(9000)]
    encoder = fit_ngrams(lines, longest=3, width=12, most=500, lower=True)
    codes = encoder.encode(lines)
    for number in (0, 4095, 4096, 8999):
        assert (codes[number] == encoder.encode([lines[number]])[0]).all()
    assert isinstance(encoder, NGrams)
    assert codes.max() == 500
