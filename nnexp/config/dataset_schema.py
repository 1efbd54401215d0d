"""Where rows come from, and how they are split and scaled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from omegaconf import MISSING

from nnexp.config.fields import Problems, choice, ranged, texts
from nnexp.errors import ConfigError, did_you_mean
from nnexp.registry import components, register_class
from nnexp.scalers import SCALERS
from nnexp.tasks import CLASSIFICATION, REGRESSION

if TYPE_CHECKING:
    from nnexp.data.source import Source

DatasetT = TypeVar("DatasetT", bound="DatasetConfig")

BUNDLED = ("digits", "iris", "wine", "breast_cancer", "diabetes")
_LARGEST = 4096  # height or width of an image
GENERATORS = ("moons", "circles", "blobs", "xor", "spirals", "checkerboard")
TASKS = ("auto", CLASSIFICATION, REGRESSION)
HOLDOUTS = ("independent", "names", "templates", "pairs", "people")
_MOST_ONE_HOT = 100_000  # features of characters at their places
_MOST_PEOPLE = 5  # in a puzzle
_MOST_VALIDATED = 100_000  # rows of it, which every epoch goes through


@dataclass
class DatasetConfig:
    """What every data set has."""

    name: str = MISSING
    scaling: str = choice("standard", SCALERS)  # fitted on the training rows alone
    num_train: int | None = ranged(None, ge=1)  # a nested stratified subset; null takes all rows
    train_fraction: float = ranged(1.0, gt=0, le=1)  # the same as a share of the training rows
    fraction: float = ranged(1.0, gt=0, le=1)  # of training and of validation rows alike
    # Of the rows that are not official test rows; 0 where nothing has to be chosen.
    val_fraction: float = ranged(0.15, ge=0, lt=1)
    split_seed: int = ranged(0, ge=0)  # conf/ sets ${seed}

    @property
    def own_task(self) -> str | None:
        """The task of the data, classification or regression; None: as the run says."""
        return CLASSIFICATION

    def check_rules(self) -> Problems:
        """The number of training rows is said once."""
        if self.num_train is not None and self.train_fraction != 1:
            yield "train_fraction", f"must be 1 beside dataset.num_train={self.num_train}"
        if self.fraction != 1:
            if self.num_train is not None:
                yield "fraction", f"must be 1 beside dataset.num_train={self.num_train}"
            elif self.train_fraction != 1:
                yield "fraction", f"must be 1 beside dataset.train_fraction={self.train_fraction}"

    def read(self) -> Source:
        """Read all rows as they are; the options of the split are not looked at.

        Raises:
            ConfigError: an option that does not fit the data.
            DataError: a file that is missing, damaged or not what the config says.
        """
        raise ConfigError(
            f"dataset={self.name}: its file must begin with one of the schemas "
            f"{', '.join(components('dataset'))} in its defaults, as in "
            "'- /schema/dataset@_here_: csv'"
        )

    def is_here(self) -> bool:
        """Return whether the data can be read without fetching anything.

        Raises:
            DataError: a folder that cannot be looked through.
        """
        return True


@dataclass
class DrawnDatasetConfig(DatasetConfig):
    """A data set without official test rows: they are drawn, stratified, or given row by row."""

    test_fraction: float = ranged(0.2, gt=0, lt=1)  # of all rows
    folds: int | None = ranged(None, ge=2)  # K-fold: every row is tested in one of so many folds
    fold: int | None = ranged(None, ge=0)  # the one that is tested, from 0
    fold_file: str | None = None  # a file with the fold of each row, a line each
    split_file: str | None = None  # a file that says train, val or test of each row

    def check_rules(self) -> Problems:
        """One way to split, which is complete and leaves something to train on."""
        yield from super().check_rules()
        given = [name for name in _SPLITS if getattr(self, name, None) is not None]
        by_folds = [name for name in given if name in _FOLDS]
        if len(by_folds) == 2 and by_folds[0] == "folds":  # how many a file or a column has
            given.remove("folds")
        if len(given) > 1:
            yield given[1], f"the split is given by dataset.{given[0]}={getattr(self, given[0])}"
        if by_folds and self.fold is None:
            yield (
                by_folds[0],
                "which of the folds is tested: dataset.fold=0, or in a sweep all of them, "
                "'dataset.fold=range(5)' of 5",
            )
        if self.fold is not None and not by_folds:
            yield "fold", "goes with dataset.folds, which says how many there are"
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            yield "fold", f"must be less than dataset.folds={self.folds}"
        if given in ([], ["time"]) and self.val_fraction + self.test_fraction >= 1:
            problem = (
                f"leaves no training samples beside dataset.test_fraction={self.test_fraction}"
            )
            yield "val_fraction", problem


_FOLDS = ("folds", "fold_file", "fold_column")
_SPLITS = ("test_path", "split_column", "split_file", "time", *_FOLDS)
"""Options of which each says which rows are tested."""


@dataclass
class UserDataset(DrawnDatasetConfig):
    """Base of the data sets of other packages: fields of their own, and ``load``."""

    task: str = choice("auto", TASKS)  # follows that of the run

    @property
    def own_task(self) -> str | None:
        """See ``DatasetConfig.own_task``."""
        return None

    def load(self) -> Any:
        """Return ``(X, y)``, or with official test rows ``(X, y, test_X, test_y)``.

        X is an array [M, D] of finite numbers, or a DataFrame, which is read as a table is with
        the options of ``ColumnsConfig`` at their defaults; y holds M labels, integers, booleans or
        text, or where ``self.task`` is regression M numbers. A sweep loads once for all its runs
        with the same fields.
        """
        raise NotImplementedError

    def read(self) -> Source:
        """See ``DatasetConfig.read``."""
        from nnexp.data.sources.arrays import source_of

        return source_of(self.name, self.load(), f"dataset={self.name}: load()", self.task)


def dataset(name: str) -> Callable[[type[DatasetT]], type[DatasetT]]:
    """Register a data set, a dataclass derived from ``Dataset``, as ``dataset=<name>``.

    Raises:
        ConfigError: the class is no such dataclass, lacks ``load``, or the name is taken.
    """

    def decorate(cls: type[DatasetT]) -> type[DatasetT]:
        base = UserDataset if issubclass(cls, UserDataset) else DatasetConfig
        needs = ("load",) if base is UserDataset else ("read",)
        return register_class("dataset", name, cls, base, needs=needs)

    return decorate


@dataset("bundled")
@dataclass
class BundledConfig(DrawnDatasetConfig):
    """Real data that come with scikit-learn."""

    source: str = choice("digits", BUNDLED)

    @property
    def own_task(self) -> str | None:
        """See ``DatasetConfig.own_task``."""
        return REGRESSION if self.source == "diabetes" else CLASSIFICATION

    def read(self) -> Source:
        """See ``DatasetConfig.read``."""
        from nnexp.data.sources.builtin import load_bundled

        return load_bundled(self)


@dataset("generated")
@dataclass
class GeneratedConfig(DrawnDatasetConfig):
    """Points in the plane, drawn from ``seed``; every class has as many, to within one."""

    generator: str = choice("moons", GENERATORS)
    rows: int = ranged(1000, ge=2, le=100_000_000)
    noise: float = ranged(0.1, ge=0, le=1e6)  # standard deviation, of each coordinate
    seed: int = ranged(0, ge=0)  # another seed is another data set, with its own fingerprint

    def read(self) -> Source:
        """See ``DatasetConfig.read``."""
        from nnexp.data.sources.builtin import load_generated

        return load_generated(self)


@dataclass
class IDXFile:
    """One file of an IDX data set, as published."""

    file: str = MISSING
    sha256: str | None = None  # of the published file; null: not checked, and not fetched
    sha256_unpacked: str | None = None  # of the same file without its gzip; null: not checked


@dataset("idx")
@dataclass
class IDXConfig(DrawnDatasetConfig):
    """Arrays in the IDX format of MNIST: images of any size, or rows of numbers, and labels.

    Bytes are pixels and divided by 255; numbers of other types are taken as they are.
    """

    root: str = MISSING  # the folder of the files, or one above it
    download: bool = True  # fetch what is absent
    urls: list[str] = field(default_factory=list)  # folders to fetch from, tried in this order
    train_images: IDXFile = field(default_factory=IDXFile)
    train_labels: IDXFile = field(default_factory=IDXFile)
    # Official test rows; without these files, test rows are drawn.
    test_images: IDXFile = field(default_factory=lambda: IDXFile(file=""))
    test_labels: IDXFile = field(default_factory=lambda: IDXFile(file=""))
    class_names: list[str] = field(default_factory=list)  # of labels 0, 1, ...; []: their numbers

    @property
    def has_test_files(self) -> bool:
        """Return whether the test rows are official ones."""
        return bool(self.test_images.file)

    def check_rules(self) -> Problems:
        """Both files of test rows, or none, of which some must then be drawn."""
        if bool(self.test_labels.file) != self.has_test_files:
            absent, given = ("images", "labels") if self.test_labels.file else ("labels", "images")
            yield f"test_{absent}.file", f"is required beside dataset.test_{given}.file"
        if self.has_test_files:
            yield from DatasetConfig.check_rules(self)
        else:
            yield from super().check_rules()

    def read(self) -> Source:
        """See ``DatasetConfig.read``."""
        from nnexp.data.sources.images import load_images

        return load_images(self)

    def is_here(self) -> bool:
        """See ``DatasetConfig.is_here``."""
        from nnexp.data.sources.images import has_images

        return has_images(self)


@dataset("image_folder")
@dataclass
class ImageFolderConfig(DrawnDatasetConfig):
    """Images in a folder for each class, or in folders train, test and perhaps val of such.

    Pixels are bytes from 0 to 255, and divided by 255.
    """

    name: str = ""  # left empty: the folder's name
    root: str = MISSING  # the folder of the classes, or of train, val and test
    size: Any = 32  # to which images are resized: a number of pixels, or [height, width]
    mode: str = choice("rgb", ("rgb", "grey"))
    on_corrupt: str = choice("error", ("error", "skip"))  # files that are no images, or damaged

    @property
    def height_and_width(self) -> tuple[int, int]:
        """``size`` as two numbers."""
        height, width = self.size if isinstance(self.size, list | tuple) else (self.size,) * 2
        return height, width

    def check_rules(self) -> Problems:
        """A size is one or two whole numbers."""
        yield from super().check_rules()
        sizes = list(self.size) if isinstance(self.size, list | tuple) else [self.size] * 2
        if len(sizes) != 2 or any(
            not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= _LARGEST for n in sizes
        ):
            yield "size", f"must be a number of pixels from 1 to {_LARGEST}, or [height, width]"

    def read(self) -> Source:
        """See ``DatasetConfig.read``."""
        from nnexp.data.sources.image_folder import load_image_folder

        return load_image_folder(self)


@dataset("arrays")
@dataclass
class ArraysConfig(DrawnDatasetConfig):
    """Arrays in an .npz file: ``x`` [M, D] and the labels ``y`` [M], integers, booleans or text, or
    numbers to predict.

    It may also hold ``test_x`` and ``test_y``, the official test rows, and ``feature_names`` [D].
    """

    name: str = "arrays"
    path: str = MISSING
    task: str = choice("auto", TASKS)  # what the numbers in y are: classes or a quantity

    @property
    def own_task(self) -> str | None:
        """See ``DatasetConfig.own_task``."""
        return None

    def read(self) -> Source:
        """See ``DatasetConfig.read``."""
        from nnexp.data.sources.arrays import load_arrays

        return load_arrays(self)


COLUMN_ROLES = ("numeric", "categorical", "date", "drop")


@dataclass
class ColumnsConfig(DrawnDatasetConfig):
    """What every table has, wherever it comes from: one row an example, a column of labels.

    A column is given by its name or, where no column has that name, by its number: 0 is the first,
    -1 the last. What a column holds is found out where it is not declared; the data card says what
    was found.
    """

    name: str = ""  # left empty: the file's name without its endings
    target: str = MISSING  # the column of the labels, or of the quantity to predict
    task: str = choice("auto", TASKS)  # what the target's numbers are: classes or a quantity
    split_column: str | None = None  # a column that says train, val or test
    group: str | None = None  # rows with the same value here go to the same part of the split
    weight: str | None = None  # a column of numbers: how much each row counts in training
    time: str | None = None  # the earliest rows are trained on, later ones validated, then tested
    fold_column: str | None = None  # a column that holds the fold of each row, from 0
    columns: dict[Any, str] = field(default_factory=dict)  # roles by column
    drop: list[Any] = field(default_factory=list)  # columns to leave out
    numeric: list[Any] = field(default_factory=list)  # columns of numbers
    categorical: list[Any] = field(default_factory=list)  # columns to one-hot encode
    date: list[Any] = field(default_factory=list)  # columns of dates or times
    dates: str = choice("use", ("use", "drop"))  # what becomes of columns of dates
    index_column: str | None = None  # a column that names the rows, which is left out
    decimal: str | None = None  # in numbers; null: found out for each column
    thousands: str | None = None  # between groups of digits; null: found out for each column
    day_first: bool | None = None  # whether 5/1/2024 is in January; null: found out
    missing: list[Any] = texts("", "?")  # cells that mean no value
    impute_numeric: str = choice("mean", ("error", "mean", "median"))  # of the training rows
    impute_categorical: str = choice("category", ("error", "most_frequent", "category"))
    missing_indicator: bool = False  # a feature that says where a number was missing
    target_strip: str = ""  # characters taken off both ends of a label, as the "." of adult.test

    @property
    def own_task(self) -> str | None:
        """See ``DatasetConfig.own_task``."""
        return None

    @property
    def has_official_test(self) -> bool:
        """Whether the test rows are set apart by the data."""
        return self.split_column is not None

    def check_rules(self) -> Problems:
        """Roles that there are, separators that can separate, and a split that can be drawn."""
        for option in ("decimal", "thousands"):
            value = getattr(self, option)
            if value is not None and (len(value) != 1 or value.isalnum()):
                yield option, "must be one character between digits, or null"
        if self.decimal is not None and self.decimal == self.thousands:
            yield "thousands", f"must not be dataset.decimal={self.decimal}"
        for name, role in self.columns.items():
            if role not in COLUMN_ROLES:
                allowed = ", ".join(COLUMN_ROLES)
                near = did_you_mean(role, COLUMN_ROLES)
                yield "columns", f"{name}: {role} is no role{near}; must be one of {allowed}"
        if self.group is not None and self.has_official_test:
            yield "group", "goes with a split that is drawn, not with official test rows"
        if self.group is not None and self.time is not None:
            yield "group", f"goes with a split that is drawn, not with dataset.time={self.time}"
        yield from super().check_rules()


@dataset("table")
@dataclass
class TableConfig(ColumnsConfig):
    """A table in a file: separated text, Parquet, Arrow, JSON lines, ARFF, SVMlight or .npy."""

    path: str = MISSING
    test_path: str | None = None  # official test rows in a file of their own
    # Of separated text:
    header: bool | None = None  # null: found out
    separator: str | None = None  # a character or tab; null: found out among tab ; | , and space
    quote: str | None = '"'  # around a cell that holds a separator; null: quotes mean nothing
    escape: str | None = None  # before a quote that is part of a cell, if it is not doubled
    comment: str | None = None  # lines that start so are left out
    encoding: str = "utf-8"
    skip_rows: Any = 0  # lines to leave out: how many at the beginning, or a list of their numbers
    skip_footer: int = ranged(0, ge=0)  # lines to leave out at the end

    @property
    def has_official_test(self) -> bool:
        """See ``ColumnsConfig.has_official_test``."""
        return self.test_path is not None or self.split_column is not None

    def check_rules(self) -> Problems:
        """A separator that can separate."""
        if self.separator not in (None, "tab", "\\t") and (
            len(self.separator) != 1 or self.separator in '"\r\n'
        ):
            yield "separator", "must be one character, or tab"
        if self.quote is not None and (len(self.quote) != 1 or self.quote == self.separator):
            yield "quote", "must be one character and not the separator, or null"
        if self.escape is not None and (len(self.escape) != 1 or self.escape == self.quote):
            yield "escape", "must be one character and not the quote, or null"
        if self.comment == "":
            yield "comment", "must be the text that a comment starts with, or null"
        yield from self._check_skip_rows()
        yield from super().check_rules()

    def _check_skip_rows(self) -> Problems:
        skip = self.skip_rows
        numbers = skip if isinstance(skip, list) else [skip]
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in numbers)
        if not whole or min(numbers, default=0) < (1 if isinstance(skip, list) else 0):
            yield (
                "skip_rows",
                "must be how many lines at the beginning, or a list of numbers of lines, from 1",
            )

    def read(self) -> Source:
        """See ``DatasetConfig.read``."""
        from nnexp.data.tabular import load_table

        return load_table(self)


TEXT_OPTIONS = (
    "header", "separator", "quote", "escape", "comment", "encoding", "skip_rows", "skip_footer",
)  # fmt: skip
"""Of ``TableConfig``: what goes with separated text alone."""


@dataset("openml")
@dataclass
class OpenMLConfig(ColumnsConfig):
    """A table of openml.org, downloaded once, checked by its MD5 and kept in a cache."""

    target: str = ""  # left empty: the target that OpenML names
    openml: str | None = None  # its name there
    version: int | None = ranged(None, ge=1)  # null: the oldest that is active
    data_id: int | None = ranged(None, ge=1)  # or its number there
    cache: str | None = None  # a folder; null: nnexp's in the user's cache folder

    def check_rules(self) -> Problems:
        """A name or a number."""
        if (self.openml is None) == (self.data_id is None):
            yield "openml", "give the data set's name, or dataset.data_id"
        if self.version is not None and self.openml is None:
            yield "version", "goes with dataset.openml; a data_id says it all"
        yield from super().check_rules()

    def read(self) -> Source:
        """See ``DatasetConfig.read``."""
        from nnexp.data.tabular import load_openml

        return load_openml(self)


@dataset("csv")
@dataclass
class CSVConfig(TableConfig):
    """The same as ``table``, under the name that it had when it read separated text alone."""


@dataset("puzzle")
@dataclass
class PuzzleConfig(DatasetConfig):
    """Questions about people's ages, computed from ``seed`` as they are read; none is stored.

    The official test rows have what ``holdout`` keeps from the rows that train and validate.
    """

    name: str = "puzzle"
    scaling: str = choice("none", SCALERS)  # symbols are 0 or 1
    rows: int = ranged(100_000, ge=10, le=2**40)  # to train and validate on
    epoch_rows: int | None = ranged(
        None, ge=1
    )  # what an epoch takes of the training rows; null: all
    test_rows: int = ranged(10_000, ge=1, le=_MOST_VALIDATED)
    min_people: int = ranged(2, ge=2, le=_MOST_PEOPLE)
    max_people: int = ranged(3, ge=2, le=_MOST_PEOPLE)
    max_age: int = ranged(40, ge=20, le=99)  # ages, the answers, are 1 to max_age
    encoding: str = choice("words", ("chars", "words"))  # what is one-hot at each place
    holdout: str = choice("independent", HOLDOUTS)  # what the test rows have and no other row has
    seed: int = ranged(0, ge=0)  # another seed is another data set, with its own fingerprint

    def check_rules(self) -> Problems:
        """People to choose from, and numbers of rows that an epoch can go through."""
        yield from super().check_rules()
        yield from _only_unscaled(self.scaling)
        if self.min_people > self.max_people:
            yield "min_people", f"must be at most dataset.max_people={self.max_people}"
        if self.holdout == "people" and self.max_people == _MOST_PEOPLE:
            yield "max_people", f"must be below {_MOST_PEOPLE}, for the test rows have more people"
        if round(self.val_fraction * self.rows) > _MOST_VALIDATED:
            yield (
                "val_fraction",
                f"leaves {round(self.val_fraction * self.rows)} of {self.rows} rows to validate on "
                f"after every epoch; at most {_MOST_VALIDATED} are: use "
                f"dataset.val_fraction={_MOST_VALIDATED / 10 / self.rows:.0e}",
            )

    def read(self) -> Source:
        """See ``DatasetConfig.read``."""
        from nnexp.data.sources.puzzle import PuzzleSource

        return PuzzleSource.of(self)


@dataset("text")
@dataclass
class TextConfig(DrawnDatasetConfig):
    """Lines of text with a label each, from files that are read as a stream, plain, gzip or bzip2.

    Of each label the lines are kept that a hash of (seed, line) draws, equal ones once. Symbols and
    n-grams are those of the training rows.
    """

    name: str = ""  # left empty: the first file's name without its endings
    scaling: str = choice("none", SCALERS)  # features are 0, 1 or counts
    paths: list[str] = field(default_factory=list)  # files, folders, patterns of files
    format: str = choice("auto", ("auto", "lines", "tsv", "wet", "wikipedia"))  # auto: by its name
    label: str = "file"  # its name; or in tsv a column's number, in wet a header, title or language
    text_column: int = ranged(-1, ge=-1)  # in tsv; 0 is the first, -1 the last
    missing: list[str] = field(default_factory=lambda: ["", "\\N"])  # labels that mean none
    rows_per_label: int | None = ranged(1000, ge=1)  # lines kept of each at most; null: all
    min_rows_per_label: int = ranged(1, ge=1)  # a label of fewer lines is left out
    min_length: int = ranged(1, ge=1)  # characters; shorter lines are left out
    max_length: int = ranged(120, ge=1, le=10_000)  # characters of a line that are read
    encoding: str = choice("counts", ("counts", "chars"))  # of n-grams; or chars at their places
    ngrams: int = ranged(3, ge=1, le=5)  # characters of the longest that are counted
    vocabulary: int = ranged(2000, ge=1, le=60_000)  # n-grams or characters, the most frequent
    lower: bool = True  # upper case is read as lower case
    seed: int = ranged(0, ge=0)  # which lines are kept

    def check_rules(self) -> Problems:
        """Something to read, and no scaling of counts."""
        yield from super().check_rules()
        yield from _only_unscaled(self.scaling)
        if not self.paths:
            yield "paths", "must name a file, a folder or a pattern of files"
        num_features = self.max_length * self.vocabulary
        if self.encoding == "chars" and num_features > _MOST_ONE_HOT:
            yield (
                "vocabulary",
                f"one-hot at each of dataset.max_length={self.max_length} places would be "
                f"{num_features} features, at most {_MOST_ONE_HOT} are: use "
                f"dataset.vocabulary={max(1, _MOST_ONE_HOT // self.max_length)}",
            )

    def read(self) -> Source:
        """See ``DatasetConfig.read``."""
        from nnexp.data.sources.text import load_text

        return load_text(self)


def _only_unscaled(scaling: str) -> Problems:
    if scaling != "none":
        yield "scaling", "must be none: features of text are 0, 1 or counts, and are not scaled"
