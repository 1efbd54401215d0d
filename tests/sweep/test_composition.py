"""Sweep jobs composed the quick way, beside Hydra's own way: trees, errors and files."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import pickle
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, run_job
from hydra.test_utils import configs as foreign_configs
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, ListConfig, Node, OmegaConf, open_dict, read_write

from nnexp.config import compose as compose_module
from nnexp.config.compose import CONF, register, to_config
from nnexp.config.errors import error_line
from nnexp.errors import ConfigError
from nnexp.sweeps.composition import Composer
from nnexp.sweeps.config_trees import copied, plain, selected, without_hydra
from nnexp.sweeps.job_folders import as_yaml, hydra_files
from nnexp.sweeps.jobs import LazyJobReturn

FOREIGN = Path(next(iter(foreign_configs.__path__)))


class App:
    """What a launcher is given: Hydra with the config of a sweep."""

    def __init__(self, folder: Path, config_name: str | None, *arguments: str) -> None:
        self.hydra = Hydra.create_main_hydra2("app", create_config_search_path(str(folder)))
        self.loader = self.hydra.config_loader
        self.master = self.hydra.compose_config(
            config_name,
            ["hydra.mode=MULTIRUN", *arguments],
            RunMode.MULTIRUN,
            with_log_configuration=False,
        )
        str(self.master.hydra.sweep.dir)  # as sweepers do, which fixes ${now:...}
        self.composer = Composer(self.loader, self.master)

    def expected(self, overrides: Sequence[str], num: int) -> DictConfig:
        """As BasicLauncher.launch and run_job go about it."""
        tree = self.loader.load_sweep_config(self.master, list(overrides))
        with open_dict(tree):
            tree.hydra.job.id = num
            tree.hydra.job.num = num
        before = HydraConfig.instance().cfg
        try:
            HydraConfig.instance().set_config(tree)
            folder = Path(str(OmegaConf.select(tree, "hydra.sweep.dir")))
            subfolder = str(OmegaConf.select(tree, "hydra.sweep.subdir"))
        finally:
            HydraConfig.instance().cfg = before
        with read_write(tree.hydra.runtime), open_dict(tree.hydra.runtime):
            tree.hydra.runtime.output_dir = str((folder / subfolder).absolute())
        return tree

    def assert_same(self, overrides: Sequence[str], num: int = 3) -> DictConfig | None:
        """Composed both ways: the same tree, or the same error. The tree."""
        expected = outcome(lambda: self.expected(overrides, num))
        got = outcome(lambda: self.composer.compose(overrides, num))
        if isinstance(expected, Exception) or isinstance(got, Exception):
            assert type(got) is type(expected), (overrides, got, expected)
            assert error_line(got) == error_line(expected)
            assert str(got) == str(expected)
            return None
        assert_same_tree(got, expected)
        return got


def outcome(compose: Any) -> Any:
    try:
        return compose()
    except Exception as error:
        return error


def assert_same_tree(got: Node, expected: Node) -> None:
    """Node by node: class, value, types, flags, keys in order, parents; and what it resolves to."""
    assert details(got) == details(expected)
    assert resolved(got) == resolved(expected)


def details(node: Node, parent: Node | None = None) -> Any:
    assert node._get_parent() is parent
    metadata = dict(vars(node._metadata))
    content = vars(node)["_content"] if "_content" in vars(node) else node._value()
    inherited = (node._get_flag("struct"), node._get_flag("readonly"))
    if isinstance(content, dict):
        content = [(key, details(child, node)) for key, child in content.items()]
    elif isinstance(content, list):
        content = [details(child, node) for child in content]
    return type(node), metadata, inherited, type(content), content


def resolved(tree: Node) -> Any:
    before = HydraConfig.instance().cfg
    HydraConfig.instance().cfg = tree  # type: ignore[assignment]
    try:
        return OmegaConf.to_container(tree, resolve=True)
    except Exception as error:
        return type(error), str(error)
    finally:
        HydraConfig.instance().cfg = before


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Hydra's singletons as they were."""
    name = JobRuntime.instance().get("name")
    version.setbase("1.3")
    register()
    yield
    GlobalHydra.instance().clear()
    JobRuntime.instance().set("name", name)


@pytest.fixture
def app() -> App:
    return App(CONF, "config")


# ── random override lists ─────────────────────────────────────────────────────────────────────


CHOICES = [
    "model=shallow", "model=deep", "model=linear", "optimizer=sgd", "optimizer=adagrad",
    "optimizer=adam", "scheduler=cosine", "scheduler=step", "dataset=iris", "dataset=moons",
    "dataset=mnist", "trainer=early_stopping", "baseline=none", "baseline=svm", "baseline=all",
    "baseline=[knn,svm]", "baseline=[svm,forest,majority]", "baseline=[]", "experiment=deep_sgd",
    "experiment=shallow_adagrad", "experiment=mnist", "debug=fast", "debug=overfit",
    "hydra/job_logging=disabled",
]  # fmt: skip
VALUES = [
    "seed=1", "seed=7", "optimizer.lr=1e-3", "optimizer.lr=0.03", "optimizer.lr=${seed}",
    "++optimizer.momentum=0.5", "model.hidden=[64,32]", "model.hidden=[]", "model.dropout=0.25",
    "model.hidden=[${seed},8]", "model.name='quoted, text'", 'model.name="a=b"',
    "trainer.epochs=${seed}", "trainer.grad_clip=null", "trainer.grad_clip=1",
    "trainer.drop_last=true", "trainer.early_stopping.patience=4", "++trainer.epochs=5",
    "+trainer.threads=1", "trainer.early_stopping.metric=val/acc", "dataset.split_seed=7",
    "dataset.val_fraction=0.3", "++baseline.knn.k=[1,3]", "++baseline.knn.k=5",
    "baseline.knn=null", "++baseline.knn.metric=[cosine,manhattan]", "++baseline.svm.C=[1,2]",
    "++baseline.svm.gamma=0.5", "dataset.name='${model.name}-${hydra:job.num}'",
    "dataset.name=${oc.env:HOME}", "trainer.device=cuda:1", "model.name=${now:%Y}",
    "++extra.nested.value=1", "++extra.nested.other=text",
]  # fmt: skip
ODD = [
    "~baseline.knn", "~dataset", "+added.deep.value=3", "++extra={a:1,b:[2]}", "++extra=5",
    "+alias=${trainer}", "++alias.epochs=2", "trainer.early_stopping={patience:3}",
    "trainer.early_stopping=${trainer}", "+hydra.job.env_set.A=${seed}",
    "hydra.job.config.override_dirname.kv_sep=:", "hydra.sweep.subdir='${now:%Y}/${seed}'",
    "hydra.sweep.subdir=${hydra.job.override_dirname}", "hydra.job.name=${model.name}",
    "hydra.job.config.override_dirname.exclude_keys=[seed]", "hydra.overrides.task=[a]",
    "hydra.job.env_copy=[HOME]", "++hydra.overrides.task=${model.hidden}",
]  # fmt: skip
WRONG = [
    "seed=one", "optimzer.lr=3", "modle=deep", "model=shalow", "model.hidden=3", "+seed=3",
    "~nothing", "~seed=99", "seed=1,2", "seed=range(3)", "hydra.verbose=true,false", "model=3",
    "model=null", "trainer.epochs=[1]", "a=[", "=3", "model.hidden.x=3", "model.hidden.9=3",
    "seed=", "++model=deep", "optimizer.lr@x=3", "model.=3", "model.name='${'",
    "hydra.job.env_copy=[NNEXP_NO_SUCH_NAME]", "hydra.nothing=1", "+trainer.epochs=5",
    "hydra.sweep.subdir='${nothing}'", "trainer.early_stopping=3", "experiment=nothing",
    "schema/trainer@other=trainer", "+schema/optimizer@second=sgd", "~trainer.device",
    "+model@inner=deep", "hydra.job.env_set.A=1", "baseline=[knn,svn]",
]  # fmt: skip


def override_lists(seed: int, count: int) -> Iterator[list[str]]:
    """Two in a row have the same choices, so that the second shares the base of the first."""
    generator = random.Random(seed)
    for num in range(count):
        if num % 2 == 0:
            choices = generator.sample(CHOICES, generator.choice([0, 1, 1, 2, 3]))
        lines = choices + generator.choices(VALUES, k=generator.choice([0, 1, 2, 3, 4]))
        lines += generator.sample(ODD, generator.choice([0, 0, 0, 0, 1, 2]))
        lines += generator.sample(WRONG, generator.choice([0] * 7 + [1]))
        generator.shuffle(lines)
        yield lines


def assert_all_same(app: App, lists: Iterator[list[str]]) -> None:
    trees, errors = 0, 0
    for num, lines in enumerate(lists):
        if app.assert_same(lines, num) is None:
            errors += 1
        else:
            trees += 1
    assert trees > errors > len(WRONG) / 10


def test_random_overrides_compose_as_hydra_composes_them(app: App) -> None:
    assert_all_same(app, override_lists(0, 30))


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["hydra.sweep.subdir='${hydra.job.override_dirname}'", "hydra.sweep.dir=out"],
        ["hydra.job.config.override_dirname.exclude_keys=[seed]", "hydra/job_logging=none"],
    ],
)
def test_many_random_overrides_compose_as_hydra_composes_them(arguments: list[str]) -> None:
    app = App(CONF, "config", *arguments)
    assert_all_same(app, override_lists(len(arguments) + 1, 30))


def test_an_experiments_values_go_with_its_choices(app: App) -> None:
    """Whether they are chosen for the whole sweep, by the experiment or by a job."""
    rates = {}
    for experiment in ("experiment=deep_adam", "experiment=shallow_sgd"):
        for choice in ("optimizer=sgd", "optimizer=adam", "model=linear", "optimizer.lr=0.5"):
            tree = app.assert_same([experiment, choice])
            assert tree is not None
            rates[experiment, choice] = tree.optimizer.lr
            app.assert_same([choice, "optimizer.lr=0.7", experiment])
    assert list(rates.values()) == [0.05, 2e-3, 2e-3, 0.5, 0.2, 1e-3, 0.2, 0.5]
    GlobalHydra.instance().clear()
    sweep = App(CONF, "config", "experiment=deep_adam", "optimizer=sgd,adam")
    for choice, rate in (("sgd", 0.05), ("adam", 2e-3)):
        tree = sweep.assert_same(["experiment=deep_adam", f"optimizer={choice}"])
        assert tree is not None
        assert tree.optimizer.lr == rate


def test_errors_are_those_of_hydra(app: App) -> None:
    """Those of the first job, and those that are kept for a job with the same choices."""
    for override in WRONG:
        lines = ["model=shallow", "seed=3", override, "optimizer.lr=1"]
        expected = outcome(lambda lines=lines: app.expected(lines, 3))
        assert isinstance(expected, Exception)
        for _ in range(2):
            got = outcome(lambda lines=lines: app.composer.compose(lines, 3))
            assert type(got) is type(expected), (override, got, expected)
            assert error_line(got) == error_line(expected)
            assert str(got) == str(expected)


# ── what could go wrong with trees that share a base ──────────────────────────────────────────


def test_no_job_leaves_a_trace_in_another(app: App) -> None:
    first = ["model=shallow", "optimizer.lr=0.5", "model.hidden=[3]", "++extra.value=1"]
    second = ["model=shallow", "seed=4"]
    tree = app.assert_same(first)
    assert tree is not None
    with read_write(tree.hydra), open_dict(tree):
        tree.model.hidden.append(7)
        tree.hydra.overrides.task.append("more")
        tree.hydra.runtime.choices.model = "none"
        del tree["dataset"]
    OmegaConf.set_readonly(tree.model, True)
    OmegaConf.get_cache(tree)["now"][("%Y",)] = "never"
    app.assert_same(second)
    app.assert_same(first, 4)


def test_hydra_composes_once_for_each_choice(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnexp.sweeps.config_trees import CachingLoader

    composed: list[list[str]] = []
    whole = CachingLoader.load_sweep_config

    def load(self: CachingLoader, master: DictConfig, overrides: list[str]) -> DictConfig:
        composed.append(overrides)
        return whole(self, master, overrides)

    monkeypatch.setattr(CachingLoader, "load_sweep_config", load)
    product = itertools.product(["shallow", "deep"], ["sgd", "adam"], [0.1, 0.2], range(3))
    for num, (model, optimizer, lr, seed) in enumerate(product):
        lines = [f"seed={seed}", f"model={model}", f"optimizer.lr={lr}", f"optimizer={optimizer}"]
        app.composer.compose(lines, num)
    assert sorted(composed) == sorted(
        [f"model={model}", f"optimizer={optimizer}"]
        for model in ("shallow", "deep")
        for optimizer in ("sgd", "adam")
    )
    for num in range(3):
        with pytest.raises(Exception, match="shalow"):
            app.composer.compose(["model=shalow", f"seed={num}"], num)
    assert len(composed) == 5


def test_bases_are_bounded(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnexp.sweeps.composition._BASES_KEPT", 2)
    for optimizer in ("sgd", "adam", "adagrad", "sgd"):
        app.assert_same([f"optimizer={optimizer}", "optimizer.lr=2"])
    assert list(app.composer._bases) == [
        (str(Path.cwd()), "optimizer=adagrad"),
        (str(Path.cwd()), "optimizer=sgd"),
    ]


def test_the_working_directory_is_that_of_composing(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.assert_same(["seed=1"])
    monkeypatch.chdir(tmp_path)
    tree = app.assert_same(["seed=1"])
    assert tree is not None
    assert tree.hydra.runtime.cwd == str(tmp_path)


# ── other applications ────────────────────────────────────────────────────────────────────────


FOREIGN_JOBS: dict[str | None, list[list[str]]] = {
    "compose": [
        [], ["group1=file2"], ["foo=3"], ["group1=file2", "foo=3", "+x.y=1"], ["~group2"],
        ["group1=abc.cde"], ["bar=1", "~group2=file1"], ["nothing=1"], ["group1={a:1}"],
        ["+db@inner=mysql", "inner.user=me"], ["+db@inner=mysql,postgresql"], ["foo=[1,{a:2}]"],
        ["+db@a=mysql", "+db@b=mysql", "a.user=me"], ["+group1=file1"], ["+db=[mysql,postgresql]"],
        ["group1@other=file1"], ["group1=null"], ["foo=${bar}", "bar=${foo}"],
    ],
    "db_conf": [
        [], ["db=postgresql"], ["db=postgresql", "db.timeout=3"], ["db.timeout=3"], ["db=mysqli"],
        ["db={user:me}"], ["~db"], ["+db.extra=1"], ["~db.user", "+db.user=me"], ["db.user='a: b'"],
        ["db@x=postgresql"], ["++db.user.name=x"], ["db.driver=postgresql", "db=postgresql"],
    ],
    "accessing_hydra_config": [[], ["job_name=x"], ["hydra.job.name=x"], ["+cwd=a"]],
    None: [[], ["+a=1"], ["+a.b=1", "a.b=2"], ["a=1"]],
}  # fmt: skip


@pytest.mark.parametrize("config_name", FOREIGN_JOBS)
@pytest.mark.filterwarnings("ignore:In '.*'. Defaults list is missing `_self_`")
def test_other_applications(config_name: str | None) -> None:
    app = App(FOREIGN, config_name)
    for num, overrides in enumerate(FOREIGN_JOBS[config_name]):
        app.assert_same(overrides, num)


@dataclasses.dataclass
class Far:
    """Of a type, a mapping stays one where it is an interpolation: what is put in goes beyond."""

    choices: dict[str, Any] = dataclasses.field(default_factory=dict)
    hidden: dict[str, str] = dataclasses.field(default_factory=dict)
    lines: list[str] = dataclasses.field(default_factory=list)


TUNNELS = """
defaults:
  - test_composition_far
  - choice: a
  - dependent: ${choice}
  - optional absent: nothing
  - _self_
target: {x: 1, y: 2}
alias: ${target}
far: {hidden: "${hydra.job.env_set}", choices: "${hydra.runtime.choices}"}
here: ${hydra.runtime.cwd}
lines: [one]
separator: ":"
folder: ${hydra:job.override_dirname}
names: [NNEXP_TEST_NAME]
hydra:
  job:
    env_copy: ENV_COPY
    config: {override_dirname: {kv_sep: KV_SEP}}
  sweep: {subdir: "${folder}/${target.x}"}
"""


@pytest.mark.parametrize(
    ("env_copy", "kv_sep"),
    [
        ("[]", "_"),
        ("[NNEXP_TEST_NAME]", "_"),
        ("['${names.0}']", "_"),
        ("[]", "'${separator}'"),
    ],
)
def test_interpolations_that_reach_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env_copy: str, kv_sep: str
) -> None:
    """Values that end up elsewhere, in places that Hydra fills in itself before or afterwards."""
    monkeypatch.setenv("NNEXP_TEST_NAME", "value")
    text = TUNNELS.replace("ENV_COPY", env_copy).replace("KV_SEP", kv_sep)
    (tmp_path / "config.yaml").write_text(text)
    for name, text in {"choice/a": "v: 1", "choice/b": "v: 2", "dependent/a": "w: 1",
                       "dependent/b": "w: 2"}.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text)
    ConfigStore.instance().store(name="test_composition_far", node=Far, package="far")
    app = App(tmp_path, "config")
    for overrides in (
        [], ["choice=b"], ["choice=b", "dependent.w=7"], ["alias.x=3"], ["+alias.z=3"],
        ["far.hidden.x=3"], ["+far.hidden.x=3"], ["far.choices.choice=3"], ["+far.choices.new=3"],
        ["separator=_"],
        ["here=1"], ["+here=1"], ["++here=1"],
        ["far.lines=${hydra.overrides.task}", "far.lines.0=b"],
        ["target.x=5", "alias.x=6"], ["alias={x:7}"], ["alias=1"], ["names=[HOME]"], ["~alias.x"],
        ["~far.choices.choice"], ["folder=x"], ["folder=${now:%f}"], ["target=${hydra.job}"],
        ["target=${lines}", "alias.0=two"], ["hydra.overrides.task=${lines}", "separator=3"],
        ["alias.x=1", "hydra.job.env_set={a:b}"], ["target=null", "target.x=1"],
        ["+folder=x"], ["target.x=???"], ["+target.x=${lines}"], ["lines=${target}", "lines.x=1"],
    ):  # fmt: skip
        if "folder=${now:%f}" in overrides:
            OmegaConf.get_cache(app.master)["now"][("%f",)] = "000001"
        app.assert_same(overrides)


def test_a_searchpath_of_a_job_is_hydras_affair(app: App, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    text = (CONF / "model" / "deep.yaml").read_text().replace("[128, 128, 128, 128]", "[9]")
    (tmp_path / "model" / "mine.yaml").write_text(text)
    app.assert_same([f"hydra.searchpath=[file://{tmp_path}]", "model=mine", "seed=4"])
    app.assert_same(["model=mine"])


# ── files ─────────────────────────────────────────────────────────────────────────────────────


def test_files_are_as_omegaconf_writes_them(app: App) -> None:
    for num, lines in enumerate([*override_lists(9, 20), [f"model.name='{'long words ' * 30}'"]]):
        tree = outcome(lambda lines=lines, num=num: app.composer.compose(lines, num))
        if isinstance(tree, Exception):
            continue
        assert hydra_files(tree) == {
            "config.yaml": OmegaConf.to_yaml(without_hydra(tree)),
            "hydra.yaml": OmegaConf.to_yaml(OmegaConf.masked_copy(tree, "hydra")),
            "overrides.yaml": OmegaConf.to_yaml(tree.hydra.overrides.task),
        }


SCALARS: list[Any] = [
    "", "a", "y", "No", "NULL", "nan", "inf", "Infinity", "1", "1.0", "1e3", "0x1f", "1_000", "~",
    "=", "<<", "a=b", "a.b", "/abs/path", "./rel", "/", "a/", "a=1,b=2", "a: b", "a #b", "- a",
    "k=v " * 40, "x" * 200, "x/" * 150, "two\nlines", "tab\t", " lead", "trail ", "é.x", "日本/語",
    "\u2028", "\x07.", "${a.b}", "???", "2020-01-01", "12:30:45", "true.", "e.5", "_", "_1.5",
    "'", '"', "a'b", "@x", "`x`", "%x", "!x", "&x", "*x", "?", ":", "-", "...", "---", "a\\b/c",
    0, 1, -1, 10**30, True, False, None, 0.0, -0.0, 1e-3, 1e22, float("inf"), float("nan"), 0.1,
]  # fmt: skip
KEYS: list[Any] = [
    "a", "key_2", "y", "Yes", "null", "nan", "1", "_", "with space", "é", "a.b", "k" * 99,
    "k" * 128, "k" * 300, "", "a: b", 1, 2.5, True, "multi\nline",
]  # fmt: skip


def test_any_tree_is_written_as_omegaconf_writes_it() -> None:
    generator = random.Random(0)

    def value(depth: int) -> Any:
        kind = generator.random()
        if depth > 4 or kind < 0.5:
            return generator.choice(SCALARS)
        if kind < 0.65:
            return [value(depth + 1) for _ in range(generator.randrange(4))]
        keys = generator.sample(KEYS, generator.randrange(5))
        return {key: value(depth + 1) for key in keys}

    trees: list[Any] = [{"a": scalar} for scalar in SCALARS] + [{key: {"b": 1}} for key in KEYS]
    trees += [[scalar] for scalar in SCALARS] + [{}, [], {"a": {}}, {"a": []}]
    trees += [tree for tree in (value(0) for _ in range(600)) if isinstance(tree, dict | list)]
    flags = {"allow_objects": True}
    for tree in trees:
        config = DictConfig(tree, flags=flags) if isinstance(tree, dict) else ListConfig(tree)
        assert as_yaml(plain(config)) == OmegaConf.to_yaml(config)


def really_run(app: App, overrides: list[str], num: int, folder: Path) -> JobReturn:
    tree = app.loader.load_sweep_config(app.master, overrides)
    with open_dict(tree):
        tree.hydra.job.id = num
        tree.hydra.job.num = num
    return run_job(
        hydra_context=HydraContext(config_loader=app.loader, callbacks=Callbacks()),
        task_function=lambda config: config.seed,
        config=tree,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        configure_logging=False,
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=shallow", "seed=3", "trainer.epochs=${seed}"],
        ["optimizer=sgd", "model.hidden=[3,4]", "hydra.sweep.subdir=${hydra.job.override_dirname}"],
    ],
)
def test_files_and_returns_are_those_of_a_real_job(tmp_path: Path, overrides: list[str]) -> None:
    app = App(CONF, "config", f"hydra.sweep.dir={tmp_path}")
    real = really_run(app, overrides, 5, tmp_path)
    tree = app.composer.compose(overrides, 5)
    folder = Path(tree.hydra.runtime.output_dir)
    written = {path.name: path.read_text() for path in (folder / ".hydra").iterdir()}
    assert hydra_files(tree) == written

    lazy = LazyJobReturn(app.composer, overrides, 5)
    lazy.working_dir, lazy.task_name = real.working_dir, real.task_name
    lazy.return_value, lazy.status = 3, JobStatus.COMPLETED
    assert isinstance(lazy, JobReturn)
    assert lazy.cfg is not None
    assert lazy.hydra_cfg is not None
    assert_same_tree(lazy.cfg, real.cfg)
    assert_same_tree(lazy.hydra_cfg, real.hydra_cfg)
    assert lazy.cfg is lazy.cfg
    assert lazy.overrides == real.overrides
    assert lazy.return_value == 3
    loaded = pickle.loads(pickle.dumps(lazy))
    assert type(loaded) is JobReturn
    assert (loaded.cfg, loaded.hydra_cfg, loaded.overrides) == (
        real.cfg,
        real.hydra_cfg,
        real.overrides,
    )
    assert (loaded.status, loaded.return_value) == (JobStatus.COMPLETED, 3)


def test_a_return_composes_nothing_until_it_is_asked(app: App) -> None:
    lazy = LazyJobReturn(app.composer, ["model=shalow"], 0)
    assert lazy.status == JobStatus.UNKNOWN
    assert app.composer._bases == {}
    with pytest.raises(Exception, match="shalow"):
        lazy.cfg  # noqa: B018


# ── the typed config ──────────────────────────────────────────────────────────────────────────


def test_the_quick_conversion_is_that_of_omegaconf(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = 0
    lists = [*override_lists(21, 40), ["model=linear", "dataset=csv"], ["seed=${seed}"],
             ["dataset.split_seed=${model.name}"], ["trainer=early_stopping", "++trainer.x=1"],
             ["seed=${model}"], ["dataset.name='${model}'"], ["baseline.knn.k=${model.hidden}"],
             ["trainer.grad_clip=${trainer.epochs}"], ["trainer.device=???"]]  # fmt: skip
    for lines in lists:
        tree = outcome(lambda lines=lines: without_hydra(app.composer.compose(lines, 0)))
        if isinstance(tree, Exception):
            continue
        got = compose_module._converted(tree)
        expected = outcome(lambda tree=tree: compose_module._converted_in_full(tree))
        if got is not None:
            quick += 1
            assert repr(got) == repr(expected)
        elif isinstance(expected, ConfigError):
            with pytest.raises(ConfigError) as raised:
                to_config(tree)
            assert str(raised.value) == str(expected)
    assert quick > 15


# ── trees ─────────────────────────────────────────────────────────────────────────────────────


def test_a_copy_is_a_deep_copy(app: App) -> None:
    tree = app.composer.compose(["dataset=mnist", "+extra=[1,{a:null}]"], 0)
    assert_same_tree(copied(tree), copy.deepcopy(tree))
    nodes = {id(part) for part in parts(tree)}
    assert len(nodes) > 400
    assert not nodes & {id(part) for part in parts(copied(tree))}


def parts(node: Any) -> Iterator[Any]:
    metadata = node._metadata
    yield from (node, metadata, metadata.flags, metadata.resolver_cache)
    content = vars(node).get("_content")
    if isinstance(content, dict | list):
        yield content
        for child in content.values() if isinstance(content, dict) else content:
            yield from parts(child)


def test_a_selection_is_that_of_omegaconf() -> None:
    tree = OmegaConf.create(
        {"a": {"b": 1, "c": "${.b}", "d": "x${a.b}", "n": None, "m": "???", "l": [1], "t": "${a}"},
         "s": "${a}", "w": "${nothing}", "u": "${s.b}"}
    )  # fmt: skip
    for key in ("a.b", "a.c", "a.d", "a.n", "a.m", "a.l", "a.l.0", "s.b", "s", "u", "x", "x.y",
                "a.b.c", "w", "a.t", "a.t.b"):  # fmt: skip
        expected = outcome(lambda key=key: OmegaConf.select(tree, key))
        got = outcome(lambda key=key: selected(tree, key))
        assert (type(got), str(got)) == (type(expected), str(expected)), key
