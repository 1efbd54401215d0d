"""The puzzle's samples: the same at an index everywhere, with one answer each, as held out."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import puzzle_solver
import pytest

from nnexp.config.dataset_schema import HOLDOUTS
from nnexp.data.puzzle.phrases import HELD_OUT_NAMES, NAMES, NUM_PHRASES, PHRASES, Relation
from nnexp.data.puzzle.rules import choices, is_held_out, rules_of
from nnexp.data.puzzle.samples import Samples
from nnexp.data.puzzle.telling import telling
from nnexp.data.text_encoders import words


def samples(
    holdout: str = "independent", part: str = "pool", seed: int = 0,
    people: tuple[int, int] = (2, 3), max_age: int = 40, encoding: str = "chars",
) -> Samples:  # fmt: skip
    rules = rules_of(holdout, *people, max_age)[part == "test"]
    return Samples(seed, part, rules, encoding, telling(encoding).width(5))


def test_the_same_sample_at_the_same_index() -> None:
    """On every machine: the bytes are pinned. In whatever order and company it is drawn."""
    whole, classes = samples(people=(2, 5)).at(np.arange(20_000))
    digest = hashlib.sha256(whole.tobytes() + classes.astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "6294a2bbc41bd469"
    index = np.array([19_999, 3, 12_345, 3])
    again, same = samples(people=(2, 5)).at(index)
    assert (again == whole[index]).all()
    assert (same == classes[index]).all()
    assert (samples(people=(2, 5)).classes(index) == same).all()
    with ThreadPoolExecutor(2) as pool:
        halves = pool.map(samples(people=(2, 5)).at, np.split(np.arange(20_000), 2))
        assert (np.concatenate([half for half, _ in halves]) == whole).all()


def test_far_out() -> None:
    """Half a billion rows are as easy as one, and other seeds and parts are other samples."""
    codes, classes = samples().at(np.array([499_999_999, 2**40]))
    assert len({*map(bytes, codes)}) == 2
    assert (samples().classes(np.array([499_999_999, 2**40])) == classes).all()
    texts = {s.text(499_999_999) for s in (samples(), samples(seed=1), samples(part="test"))}
    assert len(texts) == 3


@pytest.mark.parametrize("holdout", HOLDOUTS)
@pytest.mark.parametrize("part", ["pool", "test"])
def test_the_solver_finds_each_answer_and_no_other(holdout: str, part: str) -> None:
    drawn = samples(holdout, part, seed=5, people=(2, 4), max_age=60)
    _, classes = drawn.at(np.arange(300))
    for index, label in enumerate(classes.tolist()):
        text = drawn.text(index)
        assert puzzle_solver.solve(text) == [label + 1], text


def test_every_phrase_is_told() -> None:
    """And the solver knows each: its grammar is not wider than the language either."""
    told = {
        sentence
        for text in samples(people=(5, 5)).texts(np.arange(3000))
        for sentence in re.split(r"(?<=[.?]) ", text)
    }
    for relation in Relation:
        for phrase in PHRASES[relation]:
            pattern = re.sub(r"\\\{[abc]\\\}", "[A-Z][a-z]+", re.escape(phrase))
            pattern = pattern.replace(r"\{n\}", r"\d+").replace(r"\{d\}", r"\d+\ years?")
            assert any(re.fullmatch(pattern, sentence) for sentence in told), phrase
    assert len(puzzle_solver.GRAMMAR) <= NUM_PHRASES * len(PHRASES)


def test_words_say_the_same_as_characters() -> None:
    by_char, by_word = samples(), samples(encoding="words")
    codes, classes = by_word.at(np.arange(200))
    symbols = telling("words").symbols
    for index in range(200):
        said = [symbols[code - 1] for code in codes[index] if code]
        assert said == words(by_char.text(index))
    assert (by_char.classes(np.arange(200)) == classes).all()


def test_the_longest_puzzle_fits() -> None:
    for encoding, symbols in (("chars", len), ("words", lambda text: len(words(text)))):
        width = telling(encoding).width(5)
        longest = max(map(symbols, samples(people=(5, 5)).texts(np.arange(500))))
        assert 0.6 * width < longest <= width


def names_of(text: str) -> set[str]:
    return {word for word in words(text) if word in NAMES}


def test_unseen_names() -> None:
    known = set(NAMES[:-HELD_OUT_NAMES])
    pool, test = samples("names"), samples("names", "test")
    assert set.union(*map(names_of, pool.texts(np.arange(500)))) == known
    assert set.union(*map(names_of, test.texts(np.arange(500)))) == set(NAMES) - known


def test_unseen_templates() -> None:
    """Not one phrase of a test sample is in a sample to train on."""

    def shapes(drawn: Samples) -> set[str]:
        found = set()
        for text in drawn.texts(np.arange(500)):
            for sentence in re.split(r"(?<=[.?]) ", text):
                shape = re.sub("|".join(NAMES), "N", sentence)
                found.add(re.sub(r"years", "year", re.sub(r"\d+", "0", shape)))
        return found

    pool, test = shapes(samples("templates")), shapes(samples("templates", "test"))
    assert pool.isdisjoint(test)
    assert len(test) == len(PHRASES)


def pair_of(text: str, sentence: str) -> tuple[int, int] | None:
    """The ages that a sentence relates, of the people who bound another where one is between."""
    people = re.findall("|".join(NAMES), sentence)
    ages = [puzzle_solver.solve(f"{text.rsplit('.', 1)[0]}. How old is {p}?")[0] for p in people]
    if len(ages) < 2:
        return None
    low, *_, high = sorted(ages)
    return low, high


def test_unseen_pairs_of_numbers() -> None:
    pool, test = samples("pairs"), samples("pairs", "test")
    for index in range(150):
        text = pool.text(index)
        pairs = [pair_of(text, sentence) for sentence in puzzle_solver.sentences(text)]
        assert not any(is_held_out(*pair) for pair in pairs if pair), text
        text = test.text(index)
        who = puzzle_solver.asked(text)
        about = [s for s in puzzle_solver.sentences(text) if who in s]
        assert any(is_held_out(*pair) for s in about if (pair := pair_of(text, s))), text


def test_held_out_pairs_leave_a_choice() -> None:
    """Of every age, whichever the range: a difference to tell in training, and one to test on."""
    for max_age in (20, 21, 22, 40, 60, 99):
        for pairs in ("any", "trained"):
            assert (choices(max_age, pairs).count > 0).all()
    held = np.mean([is_held_out(a, b) for a in range(1, 41) for b in range(a, 41)])
    assert 0.2 < held < 0.3


def test_more_people() -> None:
    pool, test = samples("people"), samples("people", "test")
    assert {len(names_of(text)) for text in pool.texts(np.arange(300))} == {2, 3}
    assert {len(names_of(text)) for text in test.texts(np.arange(300))} == {4, 5}


def test_names_are_distinct_and_as_likely() -> None:
    told = [names_of(text) for text in samples(people=(5, 5)).texts(np.arange(2000))]
    counts = {name: sum(name in names for names in told) for name in NAMES}
    assert set(map(len, told)) == {5}
    assert min(counts.values()) > 180  # 250 on average, with a standard deviation of 15
    assert max(counts.values()) < 320


def test_answers_are_spread() -> None:
    """No answer is so frequent that guessing it pays."""
    classes = samples().classes(np.arange(50_000))
    shares = np.bincount(classes, minlength=40) / 50_000
    assert len(shares) == 40
    assert shares.min() > 0.005
    assert shares.max() < 0.05
