"""What an analysis is asked for and what it says: the numbers of page, JSON and terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from nnexp.analysis.measure import OF_ACCURACY, Measure

# --------------------------------------------------------------------------------------------------
# What a comparison is asked for.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Options:
    """The report's options, as the comparison takes them."""

    tuned: tuple[str, ...] = ("optimizer.lr",)
    """Keys of a config that a learner chooses on the validation rows. A key stands for all under
    it: ``optimizer`` for ``optimizer.lr`` and the rest."""
    reference: str = "knn"  # a baseline's name, or a learner's as the comparison calls it
    measure: Measure = OF_ACCURACY  # what selects and judges
    equivalence: float = 0.005
    """A share of all that there can be between two values of the metric: less than this does not
    matter. Where a metric has no bounds, ``relative_equivalence`` takes its place."""
    relative_equivalence: float | None = None
    """A share of the reference's mean test error on a task (``Measure.error``), which takes the
    place of ``equivalence`` there; None, or a task without the reference: that holds."""
    title: str = "Comparison"


# --------------------------------------------------------------------------------------------------
# What a comparison says: the numbers that the page, ``summary.json`` and the terminal all show.
#
# Scores are values of the primary metric (``Comparison.metric``), and differences are in its unit;
# accuracies are shares (0.973), never points of per cent; times are in seconds. A *task* is a data
# set with a number of training rows and a preprocessing. A *learner* is a family of networks (all
# of a config but seed, data and what is tuned) or a baseline. A *setting* is one choice of the
# tuned hyperparameters. A *split* is one draw of train, validation and test rows.
# --------------------------------------------------------------------------------------------------

Setting = dict[str, Any]
"""Tuned hyperparameters by key: ``{"optimizer.lr": 0.01}``, or a baseline's: ``{"k": 3}``."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over splits."""

    mean: float
    interval: Interval | None  # None: too few values
    values: tuple[float, ...]  # one a split, in the order of the learner's choices


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A learner minus another, on the same splits."""

    learner: str
    other: str
    task: str
    mean: float
    interval: Interval | None
    num_pairs: int
    num_better: float | None
    """Of these pairs, in how many the learner is better, ties counted half: a count, see
    ``statistics.num_better``. None where there is no pair, or one fit of each, which says nothing
    of others."""
    p_value: float | None  # two-sided
    p_adjusted: float | None  # Holm, over the comparisons of the same family on this task
    method: str  # how the interval was made, in words
    level: float = 0.05  # below which p counts, at its place in Holm's correction
    one_fit: bool = False
    """A side, or both, is a baseline that was fitted once, against all seeds of the other."""


VerdictKind = Literal[
    "better",
    "worse",
    "equivalent",
    "undecided",
    "not significant after correction",
    "too few",
    "summary",  # of several differences: the best network of a task, or a learner over all tasks
    "chance",  # on a task no learner is shown to beat guessing, or none does
]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What may be said about a difference, by rule."""

    kind: VerdictKind
    sentence: str
    seeds_needed: int | None = None  # to decide, where more of them would
    detectable: float | None = None
    """Of one that is inconclusive: the smallest true difference that this comparison finds with
    80 % power. None where that would be more than there can be."""
    task: str | None = None  # that it is about; None: about all
    learner: str | None = None  # that it is about; None: about all


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a learner chose on one split, by its validation rows, and what came of it."""

    split: str
    setting: Setting
    val_score: float | None
    test_score: float
    folders: tuple[str, ...]  # of the chosen runs; () for a baseline
    failed: bool = False  # no setting was completed; test_score is what a failure counts as


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How often predictions of a confidence are right; one number a bin that is not empty."""

    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    count: tuple[int, ...]
    expected_calibration_error: float


TargetStatus = Literal["reached", "not reached", "no epochs", "unknown"]
"""Of the chosen runs' median; "unknown" where there is no target, or no record of the metric by
epochs."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Medians over the chosen runs."""

    num_parameters: int | None
    train_seconds: float | None  # of runs that trained together, each run's share, as below
    target_seconds: float | None
    """Until the task's target score on the validation rows; None unless it is reached."""
    predict_seconds: float | None  # for the test rows
    tune_seconds: float | None  # of all settings tried, a split
    shared: bool  # times of runs that trained together with others
    largest_group: int = 1  # how many at most
    target: TargetStatus = "unknown"


@dataclass(frozen=True, kw_only=True)
class TriedSetting:
    """One setting of a learner on a task, over all splits."""

    setting: Setting
    num_runs: int
    num_failed: int
    val_score: Estimate | None  # over splits on which it was completed
    times_chosen: int


@dataclass(frozen=True, kw_only=True)
class Band:
    """A curve over runs: mean, and the range between the 2.5 and 97.5 % points of its interval."""

    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Training of the chosen runs, by tag: train/loss, val/loss, train/acc, val/acc, and the
    primary metric on the validation samples where epochs have it."""

    by_epoch: dict[str, Band]
    by_second: dict[str, Band]  # of runs that trained together, each run's share


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """The mean of the probabilities of a learner's chosen runs, all with the same test rows."""

    num_members: int
    test_score: float
    test_clipped_loss: float | None  # None of numbers, which have no probabilities
    best_member_score: float
    """Test score of the member with the best validation score."""
    mean_member_score: float


@dataclass(frozen=True, kw_only=True)
class LearnerOnTask:
    """All about one learner on one task."""

    learner: str
    task: str
    is_network: bool
    num_runs: int
    num_failed: dict[str, int]  # by status: diverged, failed, interrupted
    num_settings: int
    tried: tuple[TriedSetting, ...]
    choices: tuple[Choice, ...]
    """One a split; of a baseline where the split stays and seeds vary one, as it is fitted once."""
    edges: tuple[str, ...]  # sentences: "The best lr is at the edge of the grid (0.1, ...)"
    val_score: Estimate | None
    test_score: Estimate | None
    test_clipped_loss: Estimate | None  # log-loss in nats; see nnexp.scoring_rules
    test_brier: Estimate | None
    reliability: Reliability | None
    difference: Difference | None  # to the reference
    verdict: Verdict | None
    cost: Cost
    curves: Curves | None
    expected_best: Band | None
    """Expected best validation score (y) against the number of settings tried (x)."""
    ensemble: Ensemble | None
    test_metrics: Mapping[str, Estimate | None] = field(default_factory=dict)
    """Metrics beside the primary one by name, ``accuracy`` among them; None where a split has no
    value. Left out of ``summary.json`` if there are none."""
    notes: tuple[str, ...] = ()  # "trained on 20,000 of 60,000 rows"; why it was left out
    is_selection: bool = False
    """The best network, selected on each split by its validation score there: no network of its
    own, and none of ``Comparison.learners``. ``Choice.setting["network"]`` names the selected."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A data set as it was used."""

    name: str  # unique: "digits", "digits · 500 rows", "digits · scaling=none"
    dataset: str
    num_train: int
    num_val: int
    num_test: int
    num_features: int
    num_classes: int
    splits: tuple[str, ...]
    unit: Literal["split", "seed"] = "split"
    """What one of the splits is: where a split stays, its seeds stand for splits."""
    same_test_rows: bool  # an official test set, or one split_seed
    is_whole: bool  # as many training rows as any task of this data set
    target_score: float | None  # for Cost.target_seconds
    target_of: str | None = None
    """Whose mean validation score the target is: the reference's. None: a little less than the
    best."""
    equivalence: float = 0.005  # a difference of less than this does not matter here


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """One learner's scores of each class, from counts that are summed over its splits."""

    learner: str
    precision: tuple[float | None, ...]  # None: never predicted
    recall: tuple[float | None, ...]  # None: not among the labels
    f1: tuple[float | None, ...]  # None: neither


@dataclass(frozen=True, kw_only=True)
class MajorityClass:
    """What is reached without a look at the features, by the labels of the test rows: the most
    frequent class is predicted, and the shares of the classes are the probabilities. Means over
    splits."""

    name: str  # of the class
    test_acc: float
    balanced_accuracy: float
    macro_f1: float
    log_loss: float  # in nats: the entropy of the classes
    test_metrics: Mapping[str, float | None]  # further ones, where runs asked for some


@dataclass(frozen=True, kw_only=True)
class ByClass:
    """The test rows of one task by class: of its best network, and of what it is compared with."""

    task: str
    names: tuple[str, ...]  # of the classes
    support: tuple[float, ...]  # test rows of each class, the mean over splits
    learners: tuple[ClassScores, ...]
    left_out: tuple[str, ...]  # learners of which a run failed, or its predictions are not there
    majority: MajorityClass


@dataclass(frozen=True, kw_only=True)
class AcrossTasks:
    """One learner over the data sets, each at its most training rows."""

    learner: str
    num_tasks: int
    wins: int  # over the reference, by verdict
    ties: int
    losses: int
    mean_rank: float  # 1 is best, ties share
    normalised_error: Estimate | None
    """Mean over data sets of the test score scaled so that on each the best learner has 0 and the
    median learner 1, at most 2; bootstrap over data sets. None for fewer than three."""
    p_value: float | None  # Wilcoxon signed-rank against the reference, over task means
    p_adjusted: float | None  # Holm
    descriptive_only: str | None  # why no test is shown


@dataclass(frozen=True, kw_only=True)
class CriticalDifference:
    """Mean ranks and which of them may not be told apart (Demšar 2006)."""

    learners: tuple[str, ...]  # best first
    mean_ranks: tuple[float, ...]
    cliques: tuple[tuple[int, int], ...]  # first and last place of each bar
    critical_difference: float | None
    p_friedman: float | None


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """Test score against training rows, of one learner on one data set."""

    dataset: str
    learner: str
    num_train: tuple[int, ...]
    test_score: tuple[Estimate, ...]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the numbers came about, in lines of a name and a text."""

    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """A run that was not completed."""

    folder: str
    arm: str
    task: str
    seed: int
    status: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that the report shows."""

    title: str
    reference: str | None  # the learner that the others are compared with
    equivalence: float
    """A difference of less than this share of the metric's range does not matter, unless
    ``relative_equivalence`` says otherwise."""
    verdicts: tuple[Verdict, ...]  # the most important first
    warnings: tuple[str, ...]  # budgets that differ, edges of ranges, one seed only
    tasks: tuple[Task, ...]
    learners: tuple[str, ...]  # networks first
    results: tuple[LearnerOnTask, ...]
    pairwise: tuple[Difference, ...]  # between networks, on each task
    across: tuple[AcrossTasks, ...]  # () for one data set
    critical_difference: CriticalDifference | None
    learning_curves: tuple[LearningCurve, ...]
    failed: tuple[FailedRun, ...]
    protocol: Protocol
    num_runs: int = 0
    by_class: tuple[ByClass, ...] = ()  # of tasks whose predictions are there
    relative_equivalence: float | None = None  # a share of the reference's error: Task.equivalence
    metric: Measure = OF_ACCURACY  # whose values scores are
