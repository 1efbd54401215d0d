"""The names and sentences that puzzles are told in.

``{a}`` is the person whom a sentence introduces, ``{b}`` and ``{c}`` people who came before (of a
person in between, the younger and the older one), ``{n}`` an age and ``{d}`` a number of years.
"""

from __future__ import annotations

from enum import IntEnum


class Relation(IntEnum):
    """How a sentence tells the age of a person; ``QUESTION`` ends the puzzle."""

    STATED = 0
    OLDER = 1
    YOUNGER = 2
    SAME = 3
    TWICE = 4
    HALF = 5
    BETWEEN = 6
    QUESTION = 7


NAMES = (
    "Jack", "Jane", "Kate", "Liam", "Emma", "Noah", "Olga", "Ivan", "Mia", "Paul",
    "Ruth", "Sam", "Tom", "Uma", "Vera", "Will", "Xena", "Yuri", "Zoe", "Adam",
    "Beth", "Carl", "Dana", "Eric", "Fay", "Gus", "Hana", "Igor", "Judy", "Karl",
    "Lena", "Max", "Nina", "Otto", "Pia", "Ravi", "Sara", "Tara", "Ugo", "Vlad",
)  # fmt: skip
HELD_OUT_NAMES = 10  # the last ones, which holdout=names keeps for the test samples

# The last phrase of each relation is the one that holdout=templates keeps for the test samples.
PHRASES: dict[Relation, tuple[str, str, str, str]] = {
    Relation.STATED: (
        "{a} is {d} old.",
        "{a} is {n}.",
        "{a} has been alive for {d}.",
        "The age of {a} is {n}.",
    ),
    Relation.OLDER: (
        "{a} is {d} older than {b}.",
        "{a} was born {d} before {b}.",
        "{b} is {d} younger than {a}.",
        "{a} is older than {b} by {d}.",
    ),
    Relation.YOUNGER: (
        "{a} is {d} younger than {b}.",
        "{a} was born {d} after {b}.",
        "{b} is {d} older than {a}.",
        "{a} is younger than {b} by {d}.",
    ),
    Relation.SAME: (
        "{a} is as old as {b}.",
        "{a} and {b} are the same age.",
        "{b} is as old as {a}.",
        "{a} is exactly the age of {b}.",
    ),
    Relation.TWICE: (
        "{a} is twice as old as {b}.",
        "{b} is half as old as {a}.",
        "{a} is double the age of {b}.",
        "The age of {a} is twice that of {b}.",
    ),
    Relation.HALF: (
        "{a} is half as old as {b}.",
        "{b} is twice as old as {a}.",
        "{a} is half the age of {b}.",
        "The age of {a} is half that of {b}.",
    ),
    Relation.BETWEEN: (
        "{a} is older than {b}, and younger than {c}.",
        "{a} is younger than {c}, and older than {b}.",
        "{b} is younger than {a}, who is younger than {c}.",
        "{a} is between {b} and {c} in age.",
    ),
    Relation.QUESTION: (
        "How old is {a}?",
        "What is the age of {a}?",
        "What age is {a}?",
        "How many years old is {a}?",
    ),
}
NUM_PHRASES = 4  # of each relation


def years(number: int) -> str:
    """``1 year``, ``12 years``."""
    return f"{number} year" if number == 1 else f"{number} years"
