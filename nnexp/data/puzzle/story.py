"""Who is in a puzzle, how old they are and which sentences tell it; drawn for many at once.

Whatever is drawn follows from (key, index) by integer arithmetic alone, so that the sample at an
index is the same on every machine, however many are drawn with it.

Axes: n samples, K people at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnexp.data.puzzle.phrases import NUM_PHRASES, Relation
from nnexp.data.puzzle.rules import (
    BETWEEN,
    DIFFERENCE,
    HALF,
    NEAR,
    SAME,
    STATED,
    TWICE,
    Choices,
    Rules,
    choices,
)
from nnexp.data.source import Indices
from nnexp.rng import Bits, words_at

_WORDS = 8  # of 64 bits that a sample may draw: four numbers each

# Of sixteen sentences that lead from one person to another.
_KINDS = np.array(
    [DIFFERENCE] * 5 + [TWICE] * 2 + [HALF] * 2 + [SAME] + [NEAR] * 3 + [STATED] * 3, dtype=np.int64
)


@dataclass(frozen=True, eq=False)
class Sentence:
    """One sentence of each of n puzzles."""

    phrase: Indices  # [n] 4 * relation + which of its phrases; -1 where a puzzle has none
    people: tuple[Indices, Indices, Indices]  # a, b and c as numbers of names, [n] each
    number: Indices  # [n] years; 0 where none is said


@dataclass(frozen=True, eq=False)
class Stories:
    """n puzzles."""

    sentences: list[Sentence]  # one for each of K people, then the question
    answer: Indices  # [n] age of the person who is asked about


def draw_stories(index: Bits, key: int, rules: Rules) -> Stories:
    """The puzzles at these indices [n] of the stream with this key.

    The ages follow from the sentences in the order in which they stand: each introduces a person by
    an age, or by what is left when the people before are known. So every question has one answer.
    """
    draws = _draws(index, key)
    size, most = len(index), rules.max_people
    people = rules.min_people + _below(draws, most - rules.min_people + 1)
    names = _distinct_names(draws, rules)
    kinds, refs = _structure(draws, people, most)
    asked = _asked(draws, kinds, people)
    ages, relations, anchors = _ages(draws, kinds, refs, asked, rules)

    every = np.arange(size)
    first, last = rules.phrases
    sentences = []
    for person in range(most):
        begin, young, old = refs[person], *anchors[person]
        relation = relations[person]
        phrase = NUM_PHRASES * relation + first + _below(draws, last - first)
        number = np.where(
            relation == Relation.STATED, ages[person], np.abs(ages[person] - ages[begin, every])
        )
        number[relation > Relation.YOUNGER] = 0
        phrase[person >= people] = -1
        sentences.append(
            Sentence(phrase, (names[person], names[young, every], names[old, every]), number)
        )
    question = NUM_PHRASES * int(Relation.QUESTION) + first + _below(draws, last - first)
    name = names[asked, every]
    sentences.append(Sentence(question, (name, name, name), np.zeros(size, dtype=np.int64)))
    return Stories(sentences, ages[asked, every])


def _draws(index: Bits, key: int) -> Iterator[Bits]:
    """Uniform 16-bit numbers [n], of which each sample has the same many."""
    for number in range(_WORDS):
        words = words_at(index * np.uint64(_WORDS) + np.uint64(number), key)
        for shift in (0, 16, 32, 48):
            yield (words >> np.uint64(shift)) & np.uint64(0xFFFF)


def _below(draws: Iterator[Bits], bound: int | Indices) -> Indices:
    """Uniform integers [n] from 0 to ``bound - 1``, to within ``bound / 65536``."""
    return (next(draws).view(np.int64) * bound) >> 16


def _distinct_names(draws: Iterator[Bits], rules: Rules) -> Indices:
    """Numbers of names [K, n], no two of a sample alike, every choice as likely."""
    first, last = rules.names
    taken: list[Indices] = []  # those before, ascending
    names = []
    for person in range(rules.max_people):
        name = _below(draws, last - first - person)
        for other in taken:
            name = name + (name >= other)
        names.append(name)
        rising = name
        for place, other in enumerate(taken):
            taken[place], rising = np.minimum(other, rising), np.maximum(other, rising)
        taken.append(rising)
    return np.stack(names) + first


def _structure(draws: Iterator[Bits], people: Indices, most: int) -> tuple[Indices, Indices]:
    """The kind of each person's sentence, and the person whom it leads from: [K, n] each.

    The last person's age always has to be found out.
    """
    size = len(people)
    kinds, refs = [np.full(size, STATED)], [np.zeros(size, dtype=np.int64)]
    for person in range(1, most):
        kind = _KINDS[_below(draws, len(_KINDS))]
        kind[(people == person + 1) & (kind >= NEAR)] = DIFFERENCE
        kind[kinds[-1] == NEAR] = BETWEEN
        kinds.append(kind)
        refs.append(_below(draws, person))
    return np.stack(kinds), np.stack(refs)


def _asked(draws: Iterator[Bits], kinds: Indices, people: Indices) -> Indices:
    """The person asked about [n]: any of those whose age is not stated."""
    is_open = (kinds != NEAR) & (kinds != STATED) & (np.arange(len(kinds))[:, None] < people)
    rank = _below(draws, is_open.sum(0))
    return np.asarray((is_open.cumsum(0) > rank).argmax(0))


def _ages(
    draws: Iterator[Bits],
    kinds: Indices,
    refs: Indices,
    asked: Indices,
    rules: Rules,
) -> tuple[Indices, Indices, list[tuple[Indices, Indices]]]:
    """Ages and relations [K, n]; and of each person's sentence the people that b and c stand for.

    What a kind of sentence becomes where no age fits it is said in ``choices``.
    """
    table = choices(rules.max_age, rules.pairs)
    every = np.arange(len(asked))
    ages = np.empty_like(refs)
    relations = np.empty_like(refs)
    anchors = []
    for person in range(len(kinds)):
        kind, ref = kinds[person], refs[person]
        begin = ages[ref, every] if person else np.zeros_like(asked)
        is_held = (asked == person + (kind == NEAR)) & (rules.pairs == "asked")
        young = old = ref
        is_between = np.zeros(len(asked), dtype=bool)
        if person > 1:
            other = refs[person - 1]
            low, high = ages[person - 1], ages[other, every]
            is_between = (kind == BETWEEN) & (np.abs(high - low) == 2)
            before_is_low = low < high
            young = np.where(is_between, np.where(before_is_low, person - 1, other), ref)
            old = np.where(is_between, np.where(before_is_low, other, person - 1), ref)
        age = _chosen(draws, table, np.where(kind == BETWEEN, DIFFERENCE, kind), begin, is_held)
        if person > 1:
            age = np.where(is_between, (low + high) >> 1, age)
        ages[person] = age
        relations[person] = _relation(kind, is_between, begin, age)
        anchors.append((young, old))
    return ages, relations, anchors


def _chosen(
    draws: Iterator[Bits],
    table: Choices,
    kind: Indices,
    begin: Indices,
    is_held: npt.NDArray[np.bool_],
) -> Indices:
    _, kinds, rows, width = table.ages.shape
    place = (is_held * kinds + kind) * rows + begin
    which = _below(draws, np.take(table.count, place))
    ages: Indices = np.take(table.ages, place * width + which)
    return ages


def _relation(
    kind: Indices, is_between: npt.NDArray[np.bool_], begin: Indices, age: Indices
) -> Indices:
    """What a sentence of this kind says about two ages, [n] each."""
    relation = np.where(age > begin, int(Relation.OLDER), int(Relation.YOUNGER))
    relation[(kind == TWICE) & (age == 2 * begin)] = Relation.TWICE
    relation[(kind == HALF) & (2 * age == begin)] = Relation.HALF
    relation[(kind == SAME) & (age == begin)] = Relation.SAME
    relation[(kind == NEAR) | (kind == STATED)] = Relation.STATED
    relation[is_between] = Relation.BETWEEN
    return relation
