"""Choices at the end of what was tried, beyond which something better may lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnexp.baselines.base import Baseline, Settings


def edges(options: Baseline, chosen: Settings, tried: Sequence[Settings]) -> list[str]:
    """Return a remark for each number that was chosen at an end of those tried.

    An end that the option cannot go beyond, such as k=1, is none; nor is the only number tried.
    """
    told = []
    for option in fields(options):
        values = {one[option.name] for one in tried if option.name in one}
        if "tuned" not in option.metadata or len(values) < 2 or not all(map(_is_number, values)):
            continue
        bounds, value = option.metadata.get("bounds", {}), chosen.get(option.name)
        if value == max(values) and value != bounds.get("le"):
            told.append(f"{option.name}={value} is the largest tried")
        elif value == min(values) and value != bounds.get("ge"):
            told.append(f"{option.name}={value} is the smallest tried")
    return told


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
