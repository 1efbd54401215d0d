"""What messages suggest can be pasted: a shell and Hydra's grammar give back what was meant."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from nnexp.config.overrides_text import can_be_key, mended, paste, read_options


def read(text: str) -> Any:
    return OverridesParser.create().parse_override(text).value()


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12).filter(
    lambda text: "${" not in text
)


@settings(max_examples=150, deadline=None)
@given(value=st.lists(TEXT | st.integers() | st.booleans() | st.none(), max_size=4) | TEXT)
def test_what_is_written_is_read(value: Any) -> None:
    (word,) = shlex.split(paste("dataset.missing", value))
    assert read(word) == value


@pytest.mark.parametrize("name", ["length", "a b", "Unnamed 0", "x.1", "a_b"])
def test_names_that_can_be_keys(name: str) -> None:
    assert can_be_key(name)
    (word,) = shlex.split(paste("dataset.columns", {name: "numeric"}))
    assert read(word) == {name: "numeric"}


@pytest.mark.parametrize("name", ["Größe", "length (cm)", "12", "null", "a=b", "it's", "", "a:b"])
def test_names_that_cannot(name: str) -> None:
    assert not can_be_key(name)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("dataset.drop=[Größe]", ["Größe"]),
        ("dataset.drop=[length (cm),b]", ["length (cm)", "b"]),
        ("dataset.drop=[Größe, 3]", ["Größe", 3]),
        ("dataset.target=日本", "日本"),
        ("dataset.target=a&b", "a&b"),
    ],
)
def test_texts_get_the_quotes_that_they_lack(override: str, value: Any) -> None:
    assert read(mended(override)) == value


@pytest.mark.parametrize(
    "override",
    [
        "seed=range(5)",
        "seed=range(0,5)",
        "a=[1,2]",
        "a='Größe'",
        "a={b:ö}",
        "m=glob(*)",
        "a=[[ö]]",
        "x",
    ],
)
def test_what_is_read_or_hopeless_stays(override: str) -> None:
    assert mended(override) == override


def test_options_by_key() -> None:
    assert read_options(["target=label", "drop=[Größe]", "header=null"]) == {
        "target": "label", "drop": ["Größe"], "header": None,
    }  # fmt: skip
