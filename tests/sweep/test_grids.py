"""The jobs of a sweep: the union of several products, and what the command line does to them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from nnexp.config.compose import CONF, register
from nnexp.errors import ConfigError
from nnexp.sweeps.sweeper import about_baselines, checked, jobs_of, refuse_unexpanded

RATES = [
    {"optimizer": "sgd", "optimizer.lr": "0.1,1", "optimizer.nesterov": True},
    {"optimizer": "adam", "optimizer.lr": "0.01,0.1"},
]


@pytest.fixture(scope="module")
def loader() -> Iterator[ConfigLoader]:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def told(
    loader: ConfigLoader, grids: Any, *arguments: str, params: Mapping[str, str] | None = None
) -> list[str]:
    """A line a job."""
    return [" ".join(job) for job in jobs_of(loader, params or {}, checked(grids), arguments)]


# ── without grids: Hydra's own sweeper ────────────────────────────────────────────────────────


def by_hydra(loader: ConfigLoader, params: Mapping[str, str], arguments: Sequence[str]) -> Any:
    given = [*(f"{key}={value}" for key, value in params.items()), *arguments]
    parser = OverridesParser.create(config_loader=loader)
    (jobs,) = BasicSweeper.split_arguments(parser.parse_overrides(given), None)
    return jobs


def test_without_grids_the_jobs_are_hydras(loader: ConfigLoader) -> None:
    lines = [
        "seed=1,2", "seed=range(3)", "+new=a,b", "++new=c", "~seed", "~model", "seed=7",
        "optimizer=glob(a*)", "model.hidden=[1,2],[3]", "text='a,b','c d'", "optimizer@other=sgd",
        "trainer={epochs:3}", "null=null,1e-3,True", "seed=sort(3,1,2)",
    ]  # fmt: skip
    draw = random.Random(0)
    params_of = [{}, {"seed": "range(2)"}, {"optimizer": "sgd,adam", "trainer.epochs": "1"}]
    for _ in range(300):
        arguments = draw.sample(lines, draw.randrange(5))
        params = draw.choice(params_of)
        if {"~seed", "~model"} & set(arguments) and "seed" in params:
            continue  # Hydra deletes what it has set: the same, but for the lines
        assert jobs_of(loader, params, [], arguments) == by_hydra(loader, params, arguments)


def test_a_sign_makes_no_other_key(loader: ConfigLoader) -> None:
    """Hydra's sweeper trains the same run twice here."""
    params = {"seed": "0,1", "optimizer.lr": "0.1"}
    assert by_hydra(loader, params, ["++seed=5"]) == [
        ["seed=0", "optimizer.lr=0.1", "++seed=5"],
        ["seed=1", "optimizer.lr=0.1", "++seed=5"],
    ]
    assert told(loader, [], "++seed=5", params=params) == ["++seed=5 optimizer.lr=0.1"]


# ── unions ────────────────────────────────────────────────────────────────────────────────────


def test_the_jobs_are_the_union_of_the_grids_in_order(loader: ConfigLoader) -> None:
    assert told(loader, RATES, "model=deep", params={"seed": "range(2)"}) == [
        "seed=0 optimizer=sgd optimizer.lr=0.1 optimizer.nesterov=True model=deep",
        "seed=0 optimizer=sgd optimizer.lr=1 optimizer.nesterov=True model=deep",
        "seed=1 optimizer=sgd optimizer.lr=0.1 optimizer.nesterov=True model=deep",
        "seed=1 optimizer=sgd optimizer.lr=1 optimizer.nesterov=True model=deep",
        "seed=0 optimizer=adam optimizer.lr=0.01 model=deep",
        "seed=0 optimizer=adam optimizer.lr=0.1 model=deep",
        "seed=1 optimizer=adam optimizer.lr=0.01 model=deep",
        "seed=1 optimizer=adam optimizer.lr=0.1 model=deep",
    ]


def test_a_grid_overrides_params(loader: ConfigLoader) -> None:
    grids = [{"trainer.epochs": 9, "seed": "5"}, {}]
    assert told(loader, grids, params={"seed": "0,1"}) == [
        "seed=5 trainer.epochs=9", "seed=0", "seed=1",
    ]  # fmt: skip


def test_what_grids_share_is_trained_once(loader: ConfigLoader) -> None:
    grids = [
        {"model": "deep", "optimizer.lr": "0.1,0.2"},
        {"optimizer.lr": "0.20,0.3", "model": "deep"},
    ]
    assert told(loader, grids) == [
        "model=deep optimizer.lr=0.1",
        "model=deep optimizer.lr=0.2",
        "optimizer.lr=0.3 model=deep",
    ]
    assert told(loader, grids, "optimizer.lr=7") == ["model=deep optimizer.lr=7"]


def test_globs_ranges_and_choices(loader: ConfigLoader) -> None:
    grids = [{"model": "glob(*e*, exclude=deep*)", "seed": "range(2)"}, {"seed": "choice(7,8)"}]
    assert told(loader, grids) == [
        "model=linear seed=0", "model=linear seed=1", "seed=7", "seed=8",
    ]  # fmt: skip
    # What both grids have, the second does not have again.
    assert told(loader, grids, "seed=range(2)", "model=deep,linear") == [
        "model=linear seed=0", "model=linear seed=1", "seed=0 model=deep", "seed=1 model=deep",
    ]  # fmt: skip


def test_no_value_no_job(loader: ConfigLoader) -> None:
    assert told(loader, RATES, "seed=range(0)") == []


# ── the command line ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_the_command_line_replaces_values_of_grids(loader: ConfigLoader, sign: str) -> None:
    assert told(loader, RATES, f"{sign}optimizer.lr=5,6") == [
        f"optimizer=sgd {sign}optimizer.lr=5 optimizer.nesterov=True",
        f"optimizer=sgd {sign}optimizer.lr=6 optimizer.nesterov=True",
        f"optimizer=adam {sign}optimizer.lr=5",
        f"optimizer=adam {sign}optimizer.lr=6",
    ]


def test_grids_for_other_choices_are_left_out(loader: ConfigLoader) -> None:
    assert told(loader, RATES, "optimizer=adam") == [
        "optimizer=adam optimizer.lr=0.01", "optimizer=adam optimizer.lr=0.1",
    ]  # fmt: skip
    both = [job.split()[0] for job in told(loader, RATES, "optimizer=adam,sgd")]
    assert both == ["optimizer=sgd"] * 2 + ["optimizer=adam"] * 2
    assert told(loader, RATES, "optimizer=glob(sg*)", "optimizer.lr=1") == [
        "optimizer=sgd optimizer.lr=1 optimizer.nesterov=True"
    ]


def test_of_several_choices_of_a_grid_those_asked_for_stay(loader: ConfigLoader) -> None:
    grids = [{"optimizer": "sgd,adagrad", "optimizer.lr": "0.1"}, {"optimizer": "'adam'"}]
    assert told(loader, grids, "optimizer=adam,adagrad") == [
        "optimizer=adagrad optimizer.lr=0.1", "optimizer=adam",
    ]  # fmt: skip


def test_a_grid_that_names_no_choice_holds_for_all(loader: ConfigLoader) -> None:
    grids = [{"optimizer": "sgd", "optimizer.momentum": 0.5}, {"seed": 3}]
    assert told(loader, grids, "optimizer=sgd,adam") == [
        "optimizer=sgd optimizer.momentum=0.5",
        "seed=3 optimizer=sgd",
        "seed=3 optimizer=adam",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimizer=rmsprop"],
         "optimizer=rmsprop: hydra.sweeper.grids are for optimizer=sgd,adam; "
         "hydra.sweeper.grids=[] drops them"),
        (["optimizer=sgd,adma"],
         "optimizer=adma: hydra.sweeper.grids are for optimizer=sgd,adam (did you mean 'adam'?); "
         "hydra.sweeper.grids=[] drops them"),
    ],
)  # fmt: skip
def test_a_choice_that_no_grid_has(
    loader: ConfigLoader, arguments: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        told(loader, RATES, *arguments)
    assert str(caught.value) == message


def test_choices_that_no_grid_has_together(loader: ConfigLoader) -> None:
    grids = [{"model": "linear", "optimizer": "sgd"}, {"model": "deep", "optimizer": "adam"}]
    with pytest.raises(ConfigError) as caught:
        told(loader, grids, "model=linear", "optimizer=adam", "seed=1")
    assert str(caught.value) == (
        "model=linear with optimizer=adam: none of hydra.sweeper.grids has both"
    )


def test_what_cannot_be_multiplied_out(loader: ConfigLoader) -> None:
    with pytest.raises(HydraException, match="does not support sweep type"):
        told(loader, [{"optimizer.lr": "interval(0,1)"}])


# ── grids as they are written ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        ({"optimizer": "sgd"}, "hydra.sweeper.grids: must be a list of grids, each of them "
         "'key: values' as in hydra.sweeper.params"),
        (["optimizer=sgd"], "hydra.sweeper.grids: must be a list of grids, each of them "
         "'key: values' as in hydra.sweeper.params"),
        ([{"model.hidden": [1, 2]}], "hydra.sweeper.grids: model.hidden=[1,2]: must be text, as on "
         "the command line: 'a,b' for two values, '[a,b]' for a list"),
    ],
)  # fmt: skip
def test_grids_that_are_none(grids: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(OmegaConf.create(grids))
    assert str(caught.value) == message


def test_grids_hold_plain_values(loader: ConfigLoader) -> None:
    grids = OmegaConf.create([{"model.hidden": "[1,2],[3]", "trainer.grad_clip": None, "seed": 3}])
    assert told(loader, grids) == [
        "model.hidden=[1,2] trainer.grad_clip=null seed=3",
        "model.hidden=[3] trainer.grad_clip=null seed=3",
    ]
    assert told(loader, None) == [""]


# ── sweeps within sweeps ──────────────────────────────────────────────────────────────────────


def test_a_sweep_is_no_job_of_another(loader: ConfigLoader) -> None:
    """``experiment=a,b`` composes both as jobs, too late to multiply out what they say."""
    params = {"seed": "range(2)"}
    hydra = OmegaConf.create({"sweeper": {"params": params, "grids": RATES}})
    for job in jobs_of(loader, params, RATES, ["++optimizer.lr=1", "model=deep"]):
        refuse_unexpanded(hydra, job)
    for job, missing in (
        (["experiment=mine"], "seed"),
        (["experiment=mine", "seed=3"], "optimizer"),
        (["seed=3", "optimizer=adam"], "optimizer.lr"),
    ):
        with pytest.raises(ConfigError) as caught:
            refuse_unexpanded(hydra, job)
        assert str(caught.value) == (
            f"{missing}: this config is a sweep over it, and cannot be a job of another sweep; "
            "run it alone"
        )


def test_an_ordinary_job_passes(loader: ConfigLoader) -> None:
    composed = compose("config", ["seed=3"], return_hydra_config=True)
    refuse_unexpanded(composed.hydra, ["seed=3"])


@pytest.mark.parametrize(
    ("words", "count", "choices", "together"),
    [
        (["baseline=knn,svm", "seed=0,1"], 2, "knn,svm", "[knn,svm]"),
        (["baseline=[knn,svm],majority,[svm,forest]"], 3, "[knn,svm],majority,[svm,forest]",
         "[knn,svm,majority,forest]"),
    ],
)  # fmt: skip
def test_baselines_that_are_multiplied_out_are_told(
    loader: ConfigLoader, words: list[str], count: int, choices: str, together: str
) -> None:
    assert about_baselines(jobs_of(loader, {}, [], words)) == (
        f"baseline={choices} trains every network {count} times; "
        f"baseline={together} trains it once, beside them all"
    )


@pytest.mark.parametrize(
    "words", [["seed=0,1"], ["baseline=[knn,svm]", "seed=0,1"], ["baseline=none,knn"], []]
)
def test_else_there_is_nothing_to_tell_of_baselines(loader: ConfigLoader, words: list[str]) -> None:
    assert about_baselines(jobs_of(loader, {}, [], words)) == ""
