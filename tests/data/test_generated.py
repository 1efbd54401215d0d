"""Generated points: counts, geometry, and scikit-learn's formulas where it has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import datasets

from nnexp.config.fields import check
from nnexp.config.schema import GENERATORS, GeneratedConfig
from nnexp.data import Source, load, load_source
from nnexp.errors import ConfigError

GRID = 2.0**-20  # coordinates are rounded to it
CLASSES = {"moons": 2, "circles": 2, "blobs": 3, "xor": 2, "spirals": 2, "checkerboard": 2}


def source(generator: str, rows: int = 1000, noise: float = 0.0, seed: int = 0) -> Source:
    return load_source(
        GeneratedConfig(name="g", generator=generator, rows=rows, noise=noise, seed=seed)
    )


@pytest.mark.parametrize("rows", [10, 999, 1000, 1001])
@pytest.mark.parametrize("generator", GENERATORS)
def test_exact_number_of_rows_and_balanced_classes(generator: str, rows: int) -> None:
    points = source(generator, rows, noise=0.1)
    counts = np.bincount(points.y)
    assert points.x.shape == (rows, 2)
    assert len(counts) == len(points.class_names) == CLASSES[generator]
    assert counts.sum() == rows
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    ("generator", "make"),
    [
        ("moons", lambda: datasets.make_moons(400, shuffle=False)),
        ("circles", lambda: datasets.make_circles(400, shuffle=False, factor=0.5)),
    ],
)
def test_without_noise_equal_to_scikit_learn(generator: str, make: object) -> None:
    x, y = make()  # type: ignore[operator]
    mine = source(generator, 400)
    assert np.array_equal(mine.y, y)
    np.testing.assert_allclose(mine.x, x, rtol=0, atol=GRID / 2 + 1e-12)


def test_blobs_are_gaussian_around_the_corners_of_a_triangle() -> None:
    points = source("blobs", 30_000, noise=0.5)
    for label in range(3):
        blob = points.x[points.y == label]
        angle = np.pi / 2 + 2 * np.pi * label / 3
        np.testing.assert_allclose(blob.mean(axis=0), [np.cos(angle), np.sin(angle)], atol=0.02)
        np.testing.assert_allclose(np.cov(blob.T), 0.25 * np.eye(2), atol=0.015)


def test_xor_is_the_sign_of_the_product() -> None:
    points = source("xor", 1000, noise=0.1)
    assert np.array_equal(points.y == 1, points.x.prod(axis=1) < 0)
    corners, counts = np.unique(np.sign(points.x), axis=0, return_counts=True)
    assert len(corners) == 4
    assert set(counts) == {250}


def test_spirals_are_archimedean_and_half_a_turn_apart() -> None:
    points = source("spirals", 1000)
    first, second = points.x[points.y == 0], points.x[points.y == 1]
    np.testing.assert_allclose(first, -second, atol=GRID)
    radius = np.hypot(*first.T)
    turns = np.unwrap(np.arctan2(first[:, 1], first[:, 0])) / (2 * np.pi)
    np.testing.assert_allclose(np.diff(turns), 2 * np.diff(radius), atol=1e-4)  # 2 turns a unit
    assert 0.95 < radius.max() <= 1
    # Even along the arm: steps between neighbours do not shrink outwards.
    steps = np.hypot(*np.diff(first, axis=0).T)
    assert steps[250:].max() / steps[250:].min() < 1.2


def test_checkerboard_alternates_and_is_uniform() -> None:
    points = source("checkerboard", 16_000)
    fields = np.floor(points.x).astype(int)
    assert np.array_equal(points.y, fields.sum(axis=1) % 2)
    places, counts = np.unique(fields, axis=0, return_counts=True)
    assert len(places) == 16
    assert places.min() == -2
    assert places.max() == 1
    assert ((counts - 1000) ** 2 / 1000).sum() < 36.1  # chi-square, 14 degrees, 0.1 %
    within = points.x - fields
    assert within.min() > 0
    assert within.max() < 1
    np.testing.assert_allclose(within.mean(axis=0), 0.5, atol=0.01)


@pytest.mark.parametrize("generator", GENERATORS)
def test_noise_is_the_standard_deviation_of_each_coordinate(generator: str) -> None:
    added = source(generator, 20_000, noise=0.3).x - source(generator, 20_000).x
    np.testing.assert_allclose(added.std(axis=0), 0.3, rtol=0.03)
    np.testing.assert_allclose(added.mean(axis=0), 0.0, atol=0.01)


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_seed_alone_decides(generator: str) -> None:
    one = source(generator, 100, noise=0.1)
    assert one.fingerprint == source(generator, 100, noise=0.1).fingerprint
    assert one.fingerprint != source(generator, 100, noise=0.1, seed=1).fingerprint
    assert one.fingerprint != source(generator, 100, noise=0.2).fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 1e308}, "dataset.noise=1e+308: must be at most 1000000.0"),
        ({"noise": -0.1}, "dataset.noise=-0.1: must be at least 0"),
        ({"rows": 10**9}, "dataset.rows=1000000000: must be at most 100000000"),
        ({"rows": 1}, "dataset.rows=1: must be at least 2"),
    ],
)
def test_bounds(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(GeneratedConfig(name="g", **options), "dataset")
    assert str(caught.value) == message


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_most_noise_is_still_drawn_on_the_grid(generator: str) -> None:
    config = GeneratedConfig(name="g", generator=generator, noise=1e6)
    check(config, "dataset")
    steps = load_source(config).x / GRID
    assert np.array_equal(steps, np.round(steps))
    assert load(config).x.isfinite().all()


def test_fingerprints_never_change() -> None:
    found = {name: source(name, 100, noise=0.1).fingerprint[:16] for name in GENERATORS}
    assert found == {
        "moons": "425d61f36d869045",
        "circles": "407ed8a84110a148",
        "blobs": "2ba3559c7251db68",
        "xor": "c75724d8fae5a840",
        "spirals": "949e287486575fa6",
        "checkerboard": "6eb2f96b6f67edc4",
    }


def test_the_split_seed_draws_other_rows_of_the_same_points() -> None:
    def config(split_seed: int) -> GeneratedConfig:
        return GeneratedConfig(name="g", generator="moons", split_seed=split_seed)

    a, b = load(config(0)), load(config(1))
    assert a.fingerprint == b.fingerprint
    assert not np.array_equal(a.train, b.train)
