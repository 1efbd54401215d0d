"""Reads a puzzle about ages as a person would and finds the answer by elimination.

It shares no code with the generator: every sentence becomes a constraint on the ages of the people
it names, and ages that break a constraint are struck out until nothing changes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

AGES = range(1, 200)
Holds = Callable[..., bool]
P = "([A-Z][a-z]+)"
Y = r"(\d+) years?"


# A pattern, and what it says about the ages of the people in the order in which they are named;
# numbers come first.
GRAMMAR: list[tuple[str, Callable[..., tuple[tuple[str, ...], Holds]]]] = [
    (f"{P} is {Y} old", lambda a, n: ((a,), lambda x: x == int(n))),
    (rf"{P} is (\d+)", lambda a, n: ((a,), lambda x: x == int(n))),
    (f"{P} has been alive for {Y}", lambda a, n: ((a,), lambda x: x == int(n))),
    (rf"The age of {P} is (\d+)", lambda a, n: ((a,), lambda x: x == int(n))),
    (f"{P} is {Y} older than {P}", lambda a, n, b: ((a, b), lambda x, y: x - y == int(n))),
    (f"{P} is {Y} younger than {P}", lambda a, n, b: ((a, b), lambda x, y: y - x == int(n))),
    (f"{P} was born {Y} before {P}", lambda a, n, b: ((a, b), lambda x, y: x - y == int(n))),
    (f"{P} was born {Y} after {P}", lambda a, n, b: ((a, b), lambda x, y: y - x == int(n))),
    (f"{P} is older than {P} by {Y}", lambda a, b, n: ((a, b), lambda x, y: x - y == int(n))),
    (f"{P} is younger than {P} by {Y}", lambda a, b, n: ((a, b), lambda x, y: y - x == int(n))),
    (f"{P} is as old as {P}", lambda a, b: ((a, b), lambda x, y: x == y)),
    (f"{P} and {P} are the same age", lambda a, b: ((a, b), lambda x, y: x == y)),
    (f"{P} is exactly the age of {P}", lambda a, b: ((a, b), lambda x, y: x == y)),
    (f"{P} is twice as old as {P}", lambda a, b: ((a, b), lambda x, y: x == 2 * y)),
    (f"{P} is double the age of {P}", lambda a, b: ((a, b), lambda x, y: x == 2 * y)),
    (f"The age of {P} is twice that of {P}", lambda a, b: ((a, b), lambda x, y: x == 2 * y)),
    (f"{P} is half as old as {P}", lambda a, b: ((a, b), lambda x, y: 2 * x == y)),
    (f"{P} is half the age of {P}", lambda a, b: ((a, b), lambda x, y: 2 * x == y)),
    (f"The age of {P} is half that of {P}", lambda a, b: ((a, b), lambda x, y: 2 * x == y)),
    (
        f"{P} is older than {P}, and younger than {P}",
        lambda a, b, c: ((a, b, c), lambda x, y, z: y < x < z),
    ),
    (
        f"{P} is younger than {P}, and older than {P}",
        lambda a, b, c: ((a, b, c), lambda x, y, z: z < x < y),
    ),
    (
        f"{P} is younger than {P}, who is younger than {P}",
        lambda a, b, c: ((a, b, c), lambda x, y, z: x < y < z),
    ),
    (
        f"{P} is between {P} and {P} in age",
        lambda a, b, c: ((a, b, c), lambda x, y, z: y < x < z or z < x < y),
    ),
]
QUESTIONS = (
    rf"How old is {P}\?", rf"What is the age of {P}\?", rf"What age is {P}\?",
    rf"How many years old is {P}\?",
)  # fmt: skip


def sentences(text: str) -> list[str]:
    """The sentences of a puzzle but the question, without their full stops."""
    return [part.strip() for part in text.split(".")[:-1]]


def parse(sentence: str) -> tuple[tuple[str, ...], Holds]:
    """The people whom a sentence names, and whether their ages agree with it."""
    for pattern, constraint in GRAMMAR:
        if found := re.fullmatch(pattern, sentence):
            return constraint(*found.groups())
    raise AssertionError(f"no sentence of the language: {sentence!r}")


def asked(text: str) -> str:
    """The person whom the question is about."""
    question = text.split(".")[-1].strip()
    for pattern in QUESTIONS:
        if found := re.fullmatch(pattern, question):
            return found.group(1)
    raise AssertionError(f"no question: {question!r}")


def solve(text: str) -> list[int]:
    """All ages that the person asked about can have."""
    constraints = [parse(sentence) for sentence in sentences(text)]
    people = {name for names, _ in constraints for name in names}
    ages = {name: set(AGES) for name in people}
    before = -1
    while before != (now := sum(map(len, ages.values()))):
        before = now
        for names, holds in sorted(constraints, key=lambda c: _combinations(c[0], ages)):
            if _combinations(names, ages) > 10**5:
                continue  # something else will narrow these down
            fit = [tried for tried in itertools.product(*(ages[n] for n in names)) if holds(*tried)]
            for place, name in enumerate(names):
                ages[name] = {tried[place] for tried in fit}
    return sorted(ages[asked(text)])


def _combinations(names: tuple[str, ...], ages: dict[str, set[int]]) -> int:
    product = 1
    for name in names:
        product *= len(ages[name])
    return product
