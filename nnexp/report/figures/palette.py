"""Colours of the page and its figures, in light and in dark, and how each learner is drawn.

A figure is drawn in the light colours. In its SVG each of them becomes a CSS class, so that the
same drawing is right in the dark: therefore no two names may share a light colour.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from nnexp.comparison.ordering import lacking
from nnexp.comparison.types import Comparison

# Each as (light, dark). The eight hues are told apart in the common forms of colour blindness
# (Okabe and Ito's, darkened to at least 3:1 on white), and no learner is told by hue alone.
COLOURS: dict[str, tuple[str, str]] = {
    "ink": ("#1b1f24", "#e8eaed"),
    "muted": ("#59626c", "#a3adb8"),
    "faint": ("#b9c0c8", "#55606b"),
    "grid": ("#e4e7eb", "#2b3138"),
    "paper": ("#ffffff", "#14171b"),
    "c0": ("#0072b2", "#58aef0"),
    "c1": ("#d1540f", "#ff8f52"),
    "c2": ("#00805d", "#37c79c"),
    "c3": ("#b0418e", "#ea90cd"),
    "c4": ("#9c6f00", "#e6b93d"),
    "c5": ("#1f8ba3", "#74d6ec"),
    "c6": ("#5d45b8", "#ab9aff"),
    "c7": ("#7a4a2b", "#cfa585"),
}
NETWORKS_SHOWN = 8  # in colour in one figure
MIXED_NETWORKS, MIXED_BASELINES = 5, 4  # the same where networks and baselines share it

_NETWORK_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
_BASELINE_MARKERS = ("s", "o", "^", "D", "v", "P")
_BASELINE_DASHES: tuple[tuple[float, ...], ...] = (
    (5, 2), (1.5, 1.5), (6, 2, 1.5, 2), (3, 1.5), (8, 2), (6, 2, 1.5, 2, 1.5, 2),
)  # fmt: skip

Group = Literal["networks", "mixed"]


def light(name: str) -> str:
    """The colour that a figure is drawn in."""
    return COLOURS[name][0]


@dataclass(frozen=True)
class Look:
    """How a learner is drawn, the same in all figures: networks solid, baselines dashed."""

    colour: str  # its name in COLOURS
    marker: str  # matplotlib's letter; "" for none
    dashes: tuple[float, ...] = ()  # on, off, ... in multiples of the line's width; () is solid
    hollow: bool = False

    @property
    def hex(self) -> str:
        return light(self.colour)

    @property
    def face(self) -> str:
        """The colour inside a marker."""
        return light("paper") if self.hollow else self.hex

    @property
    def is_grey(self) -> bool:
        """Whether it is one of many in the background, without a place in the legend."""
        return not self.marker


GREY = Look("faint", "")


class Looks:
    """The learners of a comparison, how each is drawn, and which stand out in a figure.

    Those with the best validation accuracy stand out (mean rank over the tasks), so that what is
    shown is not chosen by the test rows; the reference always does.
    """

    def __init__(self, comparison: Comparison) -> None:
        ranks = _mean_ranks(comparison)
        known = {r.learner: r.is_network for r in comparison.results}
        by_rank = sorted(
            (name for name in comparison.learners if name in known),
            key=lambda name: (
                name != comparison.reference,
                ranks.get(name, float("inf")),
                comparison.learners.index(name),
            ),
        )
        self.networks = [name for name in by_rank if known[name]]
        self.baselines = [name for name in by_rank if not known[name]]
        self._looks = {name: _network(i) for i, name in enumerate(self.networks)}
        self._looks |= {
            name: _baseline(i, name == comparison.reference)
            for i, name in enumerate(self.baselines)
        }

    def of(self, learner: str, group: Group = "networks") -> Look:
        """How ``learner`` is drawn in a figure of networks alone, or of both kinds."""
        if group == "mixed" and len(self._looks) > MIXED_NETWORKS + MIXED_BASELINES:
            shown = self.networks[:MIXED_NETWORKS] + self.baselines[:MIXED_BASELINES]
            if learner not in shown:
                return GREY
        return self._looks.get(learner, GREY)

    def back_to_front(self, learners: Iterable[str], group: Group = "networks") -> list[str]:
        """The order in which to draw: grey ones first, the best last and on top."""
        order = {name: i for i, name in enumerate(self.networks + self.baselines)}
        return sorted(learners, key=lambda n: (not self.of(n, group).is_grey, -order.get(n, 0)))

    def legend(self, learners: Iterable[str], group: Group = "networks") -> list[tuple[str, Look]]:
        """Those with a look of their own, networks first, best first."""
        wanted = set(learners)
        names = [name for name in self.networks + self.baselines if name in wanted]
        return [(n, self.of(n, group)) for n in names if not self.of(n, group).is_grey]


def _mean_ranks(comparison: Comparison) -> dict[str, float]:
    """Mean over the tasks of the rank by validation accuracy; 0 is best. Learners that lack splits
    of a task rank below those that have all."""
    ranks: dict[str, list[int]] = {}
    for task in comparison.tasks:
        rows = [r for r in comparison.results if r.task == task.name and r.val_acc is not None]
        rows.sort(key=lambda r: (lacking(r, task) > 0, -r.val_acc.mean if r.val_acc else 0.0))
        for rank, row in enumerate(rows):
            ranks.setdefault(row.learner, []).append(rank)
    return {name: sum(places) / len(places) for name, places in ranks.items()}


def _network(i: int) -> Look:
    return Look(f"c{i}", _NETWORK_MARKERS[i]) if i < NETWORKS_SHOWN else GREY


def _baseline(i: int, is_reference: bool) -> Look:
    """Baselines share two greys and differ in marker and dashes; the reference is the darkest."""
    i %= len(_BASELINE_MARKERS)
    colour = "ink" if is_reference else "muted"
    return Look(colour, _BASELINE_MARKERS[i], _BASELINE_DASHES[i], hollow=True)


def css_classes() -> str:
    """Rules that give the classes of an SVG (``f-ink``, ``s-c0``) the page's colours."""
    return "".join(
        f".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}" for name in COLOURS
    )


def css_variables(dark: bool) -> str:
    """``--ink:#1b1f24;...``"""
    return "".join(f"--{name}:{pair[dark]};" for name, pair in COLOURS.items())
