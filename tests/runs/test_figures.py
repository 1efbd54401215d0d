"""The pictures: what is where in which colour, for any names, settings and number of classes."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nnexp.runs import confusion_matrix
from nnexp.runs import decision_boundary as boundaries
from nnexp.runs.confusion_matrix import confusion_matrix_picture, confusion_matrix_png
from nnexp.runs.decision_boundary import GRID, PALETTE, ROWS_SHOWN, decision_boundary_picture
from nnexp.runs.figures import Picture, drawn


def area(picture: Picture, colour: Any) -> int:
    """How many pixels have the colour, given as fractions, to within rounding."""
    wanted = 255 * np.array(colour[:3])
    return int((np.abs(picture.astype(float) - wanted).max(axis=-1) <= 1.5).sum())


def blue(share: float) -> Any:
    return mpl.colormaps["Blues"](np.sqrt(share))


def half_planes(axis: int) -> Any:
    """A network that is sure: class 1 where coordinate ``axis`` is positive, else class 0."""

    def predict(points: Tensor) -> Tensor:
        positive = (points[:, axis] > 0).to(points.dtype)
        return torch.stack([1 - positive, positive], dim=1)

    return predict


def region(c: int) -> tuple[float, ...]:
    """The colour of a region whose class is sure: 45 % of the class's colour on white."""
    return tuple(1 + 0.45 * (part - 1) for part in to_rgb(PALETTE[c]))


CORNERS = torch.tensor([[-1.0, -2.0], [-1.0, 2.0], [1.0, -2.0], [1.0, 2.0]])


def boundary(axis: int = 0, x: Tensor = CORNERS, **changes: Any) -> Picture:
    arguments = {
        "predict": half_planes(axis),
        "x": x,
        "y": (x[:, axis] > 0).long(),
        "class_names": ["no", "yes"],
        "title": "half planes",
        "axis_names": ("width", "height"),
        **changes,
    }
    return decision_boundary_picture(**arguments)


@pytest.fixture(autouse=True)
def nothing_drawn_before() -> None:
    """What the runs of a process share is drawn anew in each test."""
    confusion_matrix._plate.cache_clear()
    confusion_matrix._ink.cache_clear()
    boundaries._frame.cache_clear()


# Confusion matrix


def test_a_cell_is_coloured_by_its_share_of_its_row() -> None:
    counts = torch.tensor([[300, 0, 0], [10, 30, 0], [1, 1, 8]])
    picture = confusion_matrix_picture(counts, ["a", "b", "c"], "three")
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    cell = area(picture, blue(0.75))  # the only cell of this share
    assert cell > 2000
    for share, cells in [(1.0, 1), (0.0, 3), (0.25, 1), (0.1, 2), (0.8, 1)]:
        assert area(picture, blue(share)) == pytest.approx(cells * cell, rel=0.1)


def test_the_true_class_goes_down_and_the_predicted_across() -> None:
    picture = confusion_matrix_picture(torch.tensor([[2, 0], [1, 1]]), ["a", "b"], "two")
    (whole_rows, whole_columns), (half_rows, half_columns) = (
        np.nonzero((np.abs(picture - 255 * np.array(blue(share)[:3])) <= 1.5).all(axis=-1))
        for share in (1.0, 0.5)
    )
    assert np.median(half_rows) > np.median(whole_rows) + 100
    assert abs(half_columns.min() - whole_columns.min()) < 5


def drawn_by_matplotlib(counts: Tensor, names: list[str], title: str) -> Picture:
    """The picture as matplotlib draws it from the first line to the last, counts and all."""
    table = counts.numpy()
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    with confusion_matrix._figure_of(len(names)) as figure:
        axes = confusion_matrix._draw(figure, shares, names, title).axes
        size = min(9.0, 26 / len(str(table.max())))
        for (row, column), count in np.ndenumerate(table):
            if count and len(names) <= 20:
                colour = "white" if shares[row, column] > 0.35 else "#222222"
                place = {"ha": "center", "va": "center", "fontsize": size, "color": colour}
                axes.text(column, row, str(count), **place)
        return drawn(figure)[..., :3]


def some_counts(classes: int, largest: int) -> Tensor:
    generator = torch.Generator().manual_seed(classes)
    counts = torch.randint(-largest, largest, (classes, classes), generator=generator)
    return counts.clamp(min=0) + torch.diag(torch.full((classes,), largest))


@pytest.mark.parametrize("classes", [2, 3, 10, 26, 61, 130])
def test_cells_are_painted_as_matplotlib_draws_them(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confusion_matrix, "_ink", lambda *_: np.zeros((2, 6), np.float32))
    counts, names = some_counts(classes, 9), [f"class {n}" for n in range(classes)]
    painted = confusion_matrix_picture(counts, names, "painted")
    monkeypatch.setattr(Axes, "text", lambda *_, **__: None)
    wanted = drawn_by_matplotlib(counts, names, "painted")
    difference = np.abs(painted.astype(int) - wanted).max(axis=-1)
    assert difference.max() <= 8  # of 255, where lines cross
    assert (difference > 2).mean() < 0.001


def ink(cell: NDArray[np.uint8]) -> tuple[float, NDArray[np.float64]]:
    """How much of what is no background there is in a cell, and where its centre lies."""
    strength = np.abs(cell - np.median(cell, axis=(0, 1))).sum(axis=-1)
    total = strength.sum()
    places = np.stack(np.indices(strength.shape), axis=-1)
    return total, (places * strength[..., None]).sum(axis=(0, 1)) / max(total, 1)


@pytest.mark.parametrize(("classes", "largest"), [(2, 400), (5, 98_000), (10, 40), (20, 3)])
def test_counts_are_written_where_matplotlib_writes_them(classes: int, largest: int) -> None:
    counts, names = some_counts(classes, largest), [f"class {n}" for n in range(classes)]
    painted = confusion_matrix_picture(counts, names, "counted")
    wanted = drawn_by_matplotlib(counts, names, "counted")
    plate = confusion_matrix._plate(tuple(names), "counted")
    for row, column in np.ndindex(classes, classes):
        inside = (
            slice(plate.down[row] + 3, plate.down[row + 1] - 3),
            slice(plate.across[column] + 3, plate.across[column + 1] - 3),
        )
        (amount, place), (right_amount, right_place) = ink(painted[inside]), ink(wanted[inside])
        assert (amount > 0) == (counts[row, column] > 0)
        assert amount == pytest.approx(right_amount, rel=0.1)
        np.testing.assert_allclose(place, right_place, atol=0.75)  # pixels


def test_of_many_classes_no_counts_are_written() -> None:
    picture = confusion_matrix_picture(torch.eye(21).long(), [str(n) for n in range(21)], "many")
    plate = confusion_matrix._plate(tuple(str(n) for n in range(21)), "many")
    for n in range(21):
        cell = picture[plate.down[n] + 3 : plate.down[n + 1] - 3,
                       plate.across[n] + 3 : plate.across[n + 1] - 3]  # fmt: skip
        assert np.ptp(cell, axis=(0, 1)).max() == 0


@pytest.mark.parametrize("classes", [2, 10, 26, 70])
def test_the_file_holds_the_picture(classes: int) -> None:
    """Whichever rows it shares with an empty matrix, and whatever was packed before it."""
    names = [f"class {n}" for n in range(classes)]
    files = []
    for counts in (some_counts(classes, 9), torch.zeros(classes, classes).long(),
                   torch.eye(classes).long(), some_counts(classes, 9)):  # fmt: skip
        files.append(confusion_matrix_png(counts, names, "packed"))
        zlib.decompress(files[-1][41:-16])  # checks the checksum of the one chunk of data
        with Image.open(io.BytesIO(files[-1])) as image:
            wanted = confusion_matrix_picture(counts, names, "packed")
            np.testing.assert_array_equal(np.asarray(image), wanted)
    assert files[0] == files[-1]
    confusion_matrix._plate.cache_clear()
    assert confusion_matrix_png(some_counts(classes, 9), names, "packed") == files[0]


def test_what_runs_share_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    for module in (confusion_matrix, boundaries):
        real = module.empty_figure  # type: ignore[attr-defined]
        monkeypatch.setattr(
            module, "empty_figure", lambda *size, real=real: figures.append(size) or real(*size)
        )
    pictures = []
    for n in (1, 2, 1):
        counts = torch.tensor([[n, 0], [1, 1]])
        pictures.append((confusion_matrix_picture(counts, ["a", "b"], "shared"), boundary(n % 2)))
    assert len(figures) == 1 + 2 + 2  # the plate, the inks of 1 and 2, the frames of two sets of y
    for first, again in zip(pictures[0], pictures[2], strict=True):
        np.testing.assert_array_equal(first, again)
    for first, other in zip(pictures[0], pictures[1], strict=True):
        assert (first != other).any()


def test_a_class_without_rows_stays_pale() -> None:
    picture = confusion_matrix_picture(torch.tensor([[4, 0], [0, 0]]), ["a", "b"], "no b")
    assert area(picture, blue(0.0)) == pytest.approx(3 * area(picture, blue(1.0)), rel=0.1)


@pytest.mark.parametrize("classes", [2, 10, 26, 100, 300])
def test_any_number_of_classes_gives_a_picture_of_bearable_size(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels: list[str] = []
    set_ticks = Axes.set_yticks

    def spy(self: Axes, ticks: Any, names: Any = None, **rest: Any) -> Any:
        labels.extend(names or [])
        return set_ticks(self, ticks, names, **rest)

    monkeypatch.setattr(Axes, "set_yticks", spy)
    names = [f"a class of a long name, number {i}" for i in range(classes)]
    picture = confusion_matrix_picture(torch.eye(classes).long(), names, "many")
    assert max(picture.shape) < 1500
    assert len(set(labels)) == len(labels) == (classes if classes <= 120 else 100)
    assert max(map(len, labels)) == 16
    assert area(picture, blue(1.0)) > 0.3 * area(picture, blue(0.0)) / classes


ODD_NAMES = ["$a_{$", "_hidden", "two\nlines", "日本語", "", "x" * 500, "\\frac{", "%&#"]


def test_odd_names_are_drawn_as_they_are() -> None:
    counts = torch.arange(64).view(8, 8)
    picture = confusion_matrix_picture(counts, ODD_NAMES, "$odd_{$")
    plain = confusion_matrix_picture(counts, list("abcdefgh"), "plain")
    assert picture.shape == plain.shape
    spots = torch.randn(80, 2, generator=torch.Generator().manual_seed(0))
    boundary(
        x=spots,
        y=torch.arange(80) % 8,
        predict=lambda points: torch.full((len(points), 8), 1 / 8),
        class_names=ODD_NAMES,
        axis_names=("$x_{$", "_" * 500),
    )


# Decision boundary


@pytest.mark.parametrize("axis", [0, 1])
def test_regions_lie_where_the_network_says(axis: int) -> None:
    picture = boundary(axis)
    centres = []
    for c in (0, 1):
        wanted = 255 * np.array(region(c))
        rows, columns = np.nonzero((np.abs(picture - wanted) <= 1.5).all(axis=-1))
        assert len(rows) > 0.2 * picture.shape[0] * picture.shape[1]
        centres.append((columns.mean(), -rows.mean()))  # to the right, and up
    (right, up), (right_1, up_1) = centres
    moved, stayed = (right_1 - right, up_1 - up) if axis == 0 else (up_1 - up, right_1 - right)
    assert moved > 200
    assert abs(stayed) < 5


def test_an_unsure_network_gives_pale_colours() -> None:
    unsure = boundary(predict=lambda points: torch.full((len(points), 2), 0.5))
    mixed = (np.array(to_rgb(PALETTE[0])) + np.array(to_rgb(PALETTE[1]))) / 2
    assert area(unsure, 1 + 0.1 * (mixed - 1)) > 0.4 * unsure.shape[0] * unsure.shape[1]


def test_rows_are_drawn_in_the_colours_of_their_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    picture = boundary(x=torch.randn(200, 2, generator=generator))
    none = boundary(x=torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    for c in (0, 1):
        assert area(picture, to_rgb(PALETTE[c])) > area(none, to_rgb(PALETTE[c])) + 300


def test_the_network_is_asked_on_a_grid_around_the_rows() -> None:
    asked: list[Tensor] = []

    def predict(points: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        asked.append(points)
        return half_planes(0)(points)

    boundary(predict=predict)
    (points,) = asked
    assert points.dtype == torch.float32
    assert points.shape == (GRID * GRID, 2)
    assert points.min(0).values.tolist() == pytest.approx([-1.16, -2.32])
    assert points.max(0).values.tolist() == pytest.approx([1.16, 2.32])
    assert len(points.unique(dim=0)) == GRID * GRID


@pytest.mark.parametrize(
    ("rows", "title"),
    [
        (ROWS_SHOWN, "class"),
        (ROWS_SHOWN + 1, "class (1 row in 2)"),
        (50_000, "class (1 row in 50)"),
    ],
)
def test_of_many_rows_some_are_drawn_and_the_legend_says_so(
    rows: int, title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    legend = Figure.legend

    def spy(self: Figure, *args: Any, **options: Any) -> Any:
        titles.append(options["title"])
        return legend(self, *args, **options)

    monkeypatch.setattr(Figure, "legend", spy)
    boundary(x=torch.randn(rows, 2, generator=torch.Generator().manual_seed(0)))
    assert titles == [title]


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(torch.ones(3, 2), id="one point"),
        pytest.param(torch.tensor([[1e9, 0.0], [-1e9, 1e-9]]), id="scales far apart"),
    ],
)
def test_any_rows_can_be_drawn(x: Tensor) -> None:
    assert boundary(x=x).ndim == 3


# What surrounds them


def test_the_same_picture_whatever_the_users_settings() -> None:
    before = confusion_matrix_picture(torch.eye(3).long(), list("abc"), "x"), boundary()
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "text.usetex": True}):
        settings = dict(mpl.rcParams)
        confusion_matrix._plate.cache_clear()
        confusion_matrix._ink.cache_clear()
        boundaries._frame.cache_clear()
        after = confusion_matrix_picture(torch.eye(3).long(), list("abc"), "x"), boundary()
        assert dict(mpl.rcParams) == settings
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


def test_neither_pyplot_nor_the_global_random_numbers_are_touched() -> None:
    script = """
import random, sys
import numpy as np, torch
from nnexp.runs.decision_boundary import *
from nnexp.runs.confusion_matrix import *
states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
confusion_matrix_picture(torch.eye(3).long(), list("abc"), "x")
decision_boundary_picture(
    lambda p: p.softmax(1), torch.eye(2), torch.arange(2), ["a", "b"], "x", ["0", "1"]
)
assert torch.equal(states[0], torch.get_rng_state())
assert (states[1] == np.random.get_state()[1]).all()
assert states[2] == random.getstate()
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
