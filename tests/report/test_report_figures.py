"""The report's figures: what stands where, in which colour, and that nothing else leaks in."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
import report_cases as cases
from matplotlib.colors import to_rgb
from PIL import Image

from nnexp.analysis.types import CriticalDifference, Interval
from nnexp.report.figures import canvas, palette
from nnexp.report.figures.canvas import (
    Drawing,
    Panel,
    drawing,
    plain,
    short_number,
    swatch,
    thinned,
    window,
)
from nnexp.report.figures.dots import Row, draw_dots, draw_ranks
from nnexp.report.figures.lines import RatePoint, draw_bands, draw_rates, draw_reliability
from nnexp.report.figures.palette import COLOURS, MIXED_BASELINES, MIXED_NETWORKS, Looks


@pytest.fixture
def style() -> Iterator[None]:
    with drawing():
        yield


def looks() -> Looks:
    return Looks(cases.small())


def texts(picture: Drawing) -> dict[str, tuple[float, float]]:
    """Where each text stands."""
    root = ElementTree.fromstring(picture.svg)
    return {t.text or "": (float(t.attrib["x"]), float(t.attrib["y"])) for t in root.iter("text")}


def marks(picture: Drawing, colour: str) -> list[tuple[float, float]]:
    """Where the markers are whose outline has a colour of the palette."""
    root = ElementTree.fromstring(picture.svg)
    outlines = {p.attrib["id"]: p.attrib.get("class", "") for p in root.iter("path")
                if "id" in p.attrib}  # fmt: skip
    return [(float(u.attrib["x"]), float(u.attrib["y"])) for u in root.iter("use")
            if f"s-{colour}" in outlines[u.attrib["href"][1:]]]  # fmt: skip


def value_at(x: float, ticks: Sequence[tuple[float, float]]) -> float:
    """The number on an axis at a place, from two of its ticks (place, number)."""
    (x1, v1), (x2, v2) = ticks[0], ticks[-1]
    return v1 + (x - x1) / (x2 - x1) * (v2 - v1)


def axis_ticks(picture: Drawing) -> list[tuple[float, float]]:
    """Place and number of the ticks of the horizontal axis."""
    placed = {text: xy for text, xy in texts(picture).items() if re.fullmatch(r"[−\d.]+", text)}
    return sorted((x, float(text.replace("−", "-"))) for text, (x, _) in placed.items())


ROWS = [
    Row(learner="deep · adam", look=looks().of("deep · adam"), is_network=True, mean=97.5,
        interval=Interval(low=97.0, high=98.0), values=(97.2, 97.8)),
    Row(learner="KNN", look=looks().of("KNN"), is_network=False, mean=96.0, interval=None,
        values=(95.5, 96.5)),
]  # fmt: skip


@pytest.mark.usefixtures("style")
def test_dots_stand_at_their_numbers() -> None:
    picture = draw_dots("d", "Dots", ROWS, axis="%", at=96.0, label="two learners")
    ticks = axis_ticks(picture)
    (network,) = marks(picture, "c0")
    (baseline,) = marks(picture, "muted")
    assert value_at(network[0], ticks) == pytest.approx(97.5, abs=0.02)
    assert value_at(baseline[0], ticks) == pytest.approx(96.0, abs=0.02)
    names = texts(picture)
    assert names["deep · adam"][1] < network[1] < names["KNN"][1] < baseline[1]


@pytest.mark.usefixtures("style")
def test_what_lies_far_off_is_told_at_the_edge() -> None:
    guess = Row(learner="majority class", look=looks().of("x"), is_network=False, mean=10.0,
                interval=None, values=(9.0, 11.0))  # fmt: skip
    lapse = replace(ROWS[0], learner="lapse", values=(97.2, 97.5, 97.8, 97.4, 10.0), mean=79.98)
    many = [replace(ROWS[i % 2], learner=f"learner {i}") for i in range(8)]
    picture = draw_dots("d", "Dots", [*many, guess, lapse], axis="%", at=None, label="ten")
    assert "◂ mean 10" in texts(picture)
    assert "◂ 10" in texts(picture)
    assert min(number for _, number in axis_ticks(picture)) > 90


@pytest.mark.usefixtures("style")
def test_rates_that_fail_are_counted_in_their_learners_row() -> None:
    points = {
        "deep · adam": [
            RatePoint(lr=0.01, best=97.0, others=(), num_runs=10, num_failed=0),
            RatePoint(lr=0.1, best=95.0, others=(94.0,), num_runs=20, num_failed=3),
        ],
        "deep · sgd": [
            RatePoint(lr=0.01, best=96.0, others=(), num_runs=10, num_failed=0),
            RatePoint(lr=0.1, best=None, others=(), num_runs=10, num_failed=10),
        ],
    }
    picture = draw_rates("r", "Rates", points, looks(), label="two networks")
    found = texts(picture)
    adam, sgd, tick = found["× 3/20"], found["× 10/10"], found["0.1"]
    assert adam[0] == sgd[0] == pytest.approx(tick[0], abs=0.2)
    rows = {colour: marks(picture, looks().of(name).colour)[-1][1] for name, colour in
            (("deep · adam", "adam"), ("deep · sgd", "sgd"))}  # fmt: skip
    assert abs(adam[1] - rows["adam"]) < 6
    assert abs(sgd[1] - rows["sgd"]) < 6


@pytest.mark.usefixtures("style")
def test_ranks_stand_in_order_with_their_bars() -> None:
    ranks = CriticalDifference(
        learners=("a", "b", "c"), mean_ranks=(1.2, 2.0, 2.8), cliques=((0, 1),),
        critical_difference=1.1, p_friedman=0.01,
    )  # fmt: skip
    picture = draw_ranks("ranks", "Ranks", ranks, looks(), label="three learners")
    found = texts(picture)
    assert found["a"][1] < found["b"][1] < found["c"][1]
    assert found["1.20"][0] < found["2.00"][0] < found["2.80"][0]
    assert "critical difference 1.10" in found


@pytest.mark.usefixtures("style")
def test_lines_follow_their_numbers() -> None:
    bands = {"deep · adam": cases.band([90.0, 95.0, 97.0], 0.5),
             "deep · sgd": cases.band([80.0, 90.0, 94.0], 0.5)}  # fmt: skip
    picture = draw_bands("b", "Bands", bands, looks(), axis="epochs", label="two networks")
    root = ElementTree.fromstring(picture.svg)
    colour = looks().of("deep · adam").colour
    line = next(p.attrib["d"] for p in root.iter("path")
                if p.attrib.get("class", "").split() == [f"s-{colour}"]
                and p.attrib.get("fill") == "none" and "id" not in p.attrib)  # fmt: skip
    corners = [(float(a), float(b)) for a, b in re.findall(r"[ML] ?([\d.]+) ([\d.]+)", line)]
    numbers = {text: xy for text, xy in texts(picture).items() if re.fullmatch(r"\d+", text)}
    # A tick's text stands a little below its line, all by the same.
    ticks = sorted((y, float(text)) for text, (x, y) in numbers.items() if x < 46)
    steps = [value_at(y, ticks) for _, y in corners]
    assert steps[1] - steps[0] == pytest.approx(5, abs=0.1)
    assert steps[2] - steps[1] == pytest.approx(2, abs=0.1)


@pytest.mark.usefixtures("style")
def test_reliability_leaves_out_learners_without_a_look() -> None:
    diagrams = {"KNN": ((0.5, 0.9), (0.4, 0.8), (10, 100)), "unknown": ((0.2,), (0.1,), (5,))}
    picture = draw_reliability("r", "Reliability", diagrams, looks(), label="two learners")
    assert picture.svg.count("f-paper s-ink") == 2  # the hollow marks of KNN


def test_the_learners_in_colour_are_chosen_by_validation_and_differ_in_more_than_colour() -> None:
    comparison = cases.thirty_learners()
    found = Looks(comparison)
    first = {r.learner: r.val_score.mean for r in comparison.results
             if r.task == "digits" and r.val_score and r.is_network}  # fmt: skip
    worst = min(first, key=lambda name: first[name])
    assert found.of(worst).is_grey
    legend = found.legend(found.networks)
    assert len(legend) == 8
    assert len({look.marker for _, look in legend}) == 8
    assert len({look.colour for _, look in legend}) == 8
    mixed = found.legend(comparison.learners, "mixed")
    assert len(mixed) == MIXED_NETWORKS + MIXED_BASELINES
    assert "KNN" in dict(mixed)
    looks_of_baselines = [look for name, look in mixed if name in cases.BASELINES]
    assert len({(look.marker, look.dashes) for look in looks_of_baselines}) == MIXED_BASELINES
    assert all(look.dashes and look.hollow for look in looks_of_baselines)
    # Test accuracy has no say in it.
    upside_down = replace(comparison, results=tuple(
        replace(r, test_score=cases.estimate([1 - v for v in r.test_score.values]) if r.test_score
                else None) for r in comparison.results))  # fmt: skip
    assert Looks(upside_down).networks == found.networks


@pytest.mark.parametrize("dark", [False, True])
def test_colours_can_be_seen(dark: bool) -> None:
    """WCAG 2.1: 3:1 for graphics, 4.5:1 for text."""

    def luminance(name: str) -> float:
        channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
                    for c in to_rgb(COLOURS[name][dark])]  # fmt: skip
        return float(np.dot(channels, (0.2126, 0.7152, 0.0722)))

    def contrast(name: str) -> float:
        pair = sorted((luminance(name), luminance("paper")))
        return (pair[1] + 0.05) / (pair[0] + 0.05)

    assert all(contrast(f"c{i}") >= 3 for i in range(8))
    assert contrast("ink") >= 7
    assert contrast("muted") >= 4.5
    assert len({pair[dark] for pair in COLOURS.values()}) == len(COLOURS)


@pytest.mark.usefixtures("style")
def test_a_colour_outside_the_palette_is_refused() -> None:
    panel = Panel("p", "Panel")
    panel.axes.plot([0, 1], [0, 1], color="#123456")
    with pytest.raises(ValueError, match="#123456"):
        panel.finish("a line")


def test_settings_of_the_user_neither_matter_nor_change() -> None:
    with drawing():
        expected = draw_dots("d", "Dots", ROWS, axis="%", at=96.0, label="two learners")
    with mpl.rc_context({"font.size": 40.0, "axes.facecolor": "red", "text.usetex": False}):
        with drawing():
            found = draw_dots("d", "Dots", ROWS, axis="%", at=96.0, label="two learners")
            assert mpl.rcParams["svg.fonttype"] == "none"
        assert mpl.rcParams["font.size"] == 40.0
        assert mpl.rcParams["axes.facecolor"] == "red"
        assert mpl.rcParams["svg.fonttype"] == "path"
    assert found == expected


@pytest.mark.usefixtures("style")
def test_two_figures_share_no_ids_and_keep_coordinates_short() -> None:
    one, two = (draw_dots(name, "Dots", ROWS, axis="%", at=96.0, label="l") for name in "ab")
    ids = [set(re.findall(r'id="([^"]+)"', picture.svg)) for picture in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert not re.search(r"\d\.\d\d", re.sub(r">[^<]*<|opacity=\"[^\"]*\"|aria-label=\"[^\"]*\"",
                                             "><", one.svg))  # fmt: skip
    assert 'viewBox="0 0 400 140"' in one.svg


@pytest.mark.usefixtures("style")
def test_the_file_has_title_and_legend_beside_what_the_page_shows() -> None:
    bands = {"deep · adam": cases.band([90.0, 95.0], 0.5)}
    picture = draw_bands("b", "Title", bands, looks(), axis="epochs", label="one")
    assert "Title" not in texts(picture)
    with Image.open(io.BytesIO(picture.png)) as image:
        assert image.size == (800, 2 * (270 + 30 + 19 + 8))
        title = np.asarray(image.convert("L"))[:56, :200]
        legend = np.asarray(image.convert("L"))[-52:, :300]
    assert title.min() < 80
    assert legend.min() < 80


def test_labels_are_attributes_and_names_are_text() -> None:
    document = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><g id="x"/></svg>'
    element = palette.for_page(document, "p", 'a "quoted" <b> & co')
    root = ElementTree.fromstring(element)
    assert root.attrib["aria-label"] == 'a "quoted" <b> & co'


def test_swatches_are_small_drawings_of_the_look() -> None:
    root = ElementTree.fromstring(swatch(looks().of("KNN")))
    line, marker = list(root)
    assert line.attrib["class"] == "s-ink"
    assert line.attrib["stroke-dasharray"] == "10 4"
    assert marker.attrib["class"] == "s-ink f-paper"
    grey = ElementTree.fromstring(swatch(looks().of("nobody")))
    assert [path.attrib["class"] for path in grey] == ["s-faint"]


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([0.96, 0.97, 0.98], 0.96, 0.98),
        ([0.1, 0.961, 0.962, 0.963, 0.964, 0.965, 0.966], 0.961, 0.966),  # one guesses
        ([0.5, 0.6, 0.7, 0.8, 0.9], 0.5, 0.9),
        ([0.1, 0.2, 0.9, float("nan"), float("inf")], 0.1, 0.9),
    ],
)
def test_an_axis_shows_all_but_what_is_far_off(
    values: list[float], low: float, high: float
) -> None:
    assert window(values, pad=0.0) == pytest.approx((low, high))


def test_an_axis_has_some_width_whatever_its_values() -> None:
    for values in ([], [0.5], [0.0, 0.0], [float("nan")]):
        low, high = window(values)
        assert low < high


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01, "0.01"), (0.003, "0.003"), (1e-5, "1e-5".replace("-", "−")), (1000, "1,000"),
     (-2.5, "−2.5"), (0.30000000000000004, "0.3"), (0, "0"), (98.0, "98"), (2e7, "2e7"),
     (2.5e-5, "2.5e−5")],
)  # fmt: skip
def test_ticks_are_plain_numbers(value: float, text: str) -> None:
    assert short_number(value) == text


def test_long_curves_are_thinned_from_end_to_end() -> None:
    long = cases.band([float(i) for i in range(1001)], 1.0)
    short = thinned(long)
    assert len(short.x) == len(short.mean) == len(short.low) == len(short.high) == 100
    assert (short.x[0], short.x[-1], short.mean[-1]) == (1, 1001, 1000.0)
    assert all(m - low == pytest.approx(1) for m, low in zip(short.mean, short.low, strict=True))
    assert thinned(short) is short


@pytest.mark.parametrize(
    ("name", "length", "shown"),
    [("deep\t·\nadam", 20, "deep · adam"), ("a\x00b\ud800", 9, "a\ufffdb\ufffd"),
     ("abcdefghij", 5, "ab…ij"), ("$x$ <b>", 20, "$x$ <b>")],
)  # fmt: skip
def test_names_in_a_figure_are_one_plain_line(name: str, length: int, shown: str) -> None:
    assert plain(name, length) == shown
    assert canvas.WIDTH == 400


@pytest.mark.usefixtures("style")
@pytest.mark.parametrize(
    ("ends", "labels"),
    [((2.0, 4.0), {"1", "2", "3", "4"}), ((0.1, 10.0), {"0.01", "0.1", "1", "10"})],
)
def test_seconds_that_lie_far_apart_have_a_logarithmic_axis(
    ends: tuple[float, float], labels: set[str]
) -> None:
    names = ("deep · adam", "deep · sgd")
    bands = {
        name: cases.band([90.0, 95.0, 97.0], 0.5, [end / 10, end / 2, end])
        for name, end in zip(names, ends, strict=True)
    }
    picture = draw_bands("b", "B", bands, looks(), axis="seconds", label="two", log_x=True)
    below = max(y for _, y in texts(picture).values())
    ticks = {t for t, (_, y) in texts(picture).items() if below - 30 < y < below - 4}
    assert ticks >= labels
