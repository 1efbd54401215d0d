"""What puzzles are drawn from, and what of it a holdout keeps for the test samples."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from nnexp.data.puzzle.phrases import HELD_OUT_NAMES, NAMES, NUM_PHRASES
from nnexp.data.source import Indices

MOST_PEOPLE = 5
LEAST_MAX_AGE, MOST_AGE = 20, 99
MOST_DIFFERENCE = 9  # years that a sentence says


@dataclass(frozen=True)
class Rules:
    """What samples are drawn from. Two parts of a data set differ in their rules."""

    min_people: int
    max_people: int
    max_age: int  # ages are 1 to max_age
    names: tuple[int, int] = (0, len(NAMES))  # from, to
    phrases: tuple[int, int] = (0, NUM_PHRASES)  # of each relation: from, to
    pairs: str = "any"  # any; trained: no sentence has a held-out pair; asked: the answer's has one


def rules_of(holdout: str, min_people: int, max_people: int, max_age: int) -> tuple[Rules, Rules]:
    """Of the samples to train and validate on, and of the test samples."""
    rules = Rules(min_people, max_people, max_age)
    known = len(NAMES) - HELD_OUT_NAMES
    match holdout:
        case "names":
            return replace(rules, names=(0, known)), replace(rules, names=(known, len(NAMES)))
        case "templates":
            last = NUM_PHRASES - 1
            return replace(rules, phrases=(0, last)), replace(rules, phrases=(last, NUM_PHRASES))
        case "pairs":
            return replace(rules, pairs="trained"), replace(rules, pairs="asked")
        case "people":
            return rules, replace(rules, min_people=max_people + 1, max_people=MOST_PEOPLE)
    return rules, rules


def is_held_out(age: int, other: int) -> bool:
    """Whether a pair of ages is kept for the test samples by holdout=pairs: about one in four.

    The pair of a sentence is the age that it leads from and the age that it leads to; where a
    person is between two others, the ages of these.
    """
    low, high = min(age, other), max(age, other)
    return (3 * low * low + 8 * high * high + low * high) % 11 < 2


# --------------------------------------------------------------------------------------------------
# Which ages a person can have whose sentence leads from another's age.
# --------------------------------------------------------------------------------------------------

# Kinds of sentences as they are drawn. NEAR states an age two years from another's, for BETWEEN.
DIFFERENCE, TWICE, HALF, SAME, NEAR, STATED, BETWEEN = range(7)


@dataclass(frozen=True)
class Choices:
    """The ages that can be drawn, by (is the pair to be held out, kind, age that it leads from)."""

    ages: Indices  # [2, 6, A + 1, A], as many as count says
    count: Indices  # [2, 6, A + 1]


@functools.cache
def choices(max_age: int, pairs: str) -> Choices:
    """What ``Rules.pairs`` leaves of the ages 1 to A.

    Where no age fits, as twice 30 where A is 40, a difference is told instead; where none is two
    years away, any age is stated from which nobody is between.
    """
    ages = np.zeros((2, 6, max_age + 1, max_age), dtype=np.int64)
    count = np.ones((2, 6, max_age + 1), dtype=np.int64)
    for is_held, begin in np.ndindex(2, max_age + 1):
        for kind in range(6):
            fit = _fitting(kind, begin, max_age, pairs, bool(is_held))
            ages[is_held, kind, begin, : len(fit)] = fit
            count[is_held, kind, begin] = len(fit)
    return Choices(ages, count)


def _fitting(kind: int, begin: int, max_age: int, pairs: str, is_held: bool) -> list[int]:
    def allowed(age: int) -> bool:
        return pairs == "any" or is_held_out(begin, age) == is_held

    every = range(1, max_age + 1)
    if kind == STATED or not begin:  # the first person's age leads from nobody's
        return list(every)
    if kind == NEAR:
        near = [age for age in (begin - 2, begin + 2) if age in every and allowed(age)]
        return near or [age for age in every if abs(age - begin) != 2]
    target = {TWICE: 2 * begin, HALF: begin / 2, SAME: begin}.get(kind)
    if target is not None and target in every and allowed(int(target)):
        return [int(target)]
    steps = range(-MOST_DIFFERENCE, MOST_DIFFERENCE + 1)
    return [
        begin + step for step in steps if step and begin + step in every and allowed(begin + step)
    ]
