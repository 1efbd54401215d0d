"""The page: well formed, self-contained, the comparison's own numbers, safe for any names."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import comparison_cases
import pytest
import report_cases as cases
from PIL import Image

from nnexp.analysis.compare import Options, compare
from nnexp.analysis.types import Comparison, Estimate, Interval, Verdict, VerdictKind
from nnexp.report import blocks
from nnexp.report.page import write_page

VOID = {"meta", "link", "br", "img", "hr", "input"}
MEGABYTES_5 = 5 * 2**20
# <rect/> and the like: inside an SVG these end themselves, elsewhere nothing may.
IN_SVG = {"svg", "path", "g", "use", "defs", "clippath", "rect", "text"}


@dataclass
class Node:
    tag: str
    attributes: dict[str, str]
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    def all(self, tag: str) -> list[Node]:
        found = []
        for child in self.children:
            if isinstance(child, Node):
                found += [child] if child.tag == tag else []
                found += child.all(tag)
        return found


class Strict(HTMLParser):
    """A tree of the page; complains of a tag that is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Node("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in IN_SVG
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> where <{self.open[-1].tag}> is open"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parsed(text: str) -> Node:
    parser = Strict()
    parser.feed(text)
    parser.close()
    assert len(parser.open) == 1, f"not closed: {[n.tag for n in parser.open[1:]]}"
    return parser.root


@dataclass
class Page:
    comparison: Comparison
    folder: Path
    source: str
    tree: Node

    @property
    def sections(self) -> list[str]:
        return [section.attributes["id"] for section in self.tree.all("section")]

    def table(self, caption: str) -> dict[str, list[str]]:
        """A table's rows by their first cell, each the other cells' texts and notes."""
        for table in self.tree.all("table"):
            if table.all("caption")[0].text == caption:
                rows = {}
                for row in table.all("tbody")[0].all("tr"):
                    name = row.all("th")[0].all("bdi")[0].text
                    rows[name] = [cell.text for cell in row.all("td")]
                return rows
        raise AssertionError(f"no table is called {caption!r}")


Pages = Callable[[str], Page]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    made: dict[str, Page] = {}

    def page(case: str) -> Page:
        if case not in made:
            made[case] = write(getattr(cases, case)(), tmp_path_factory.mktemp(case))
        return made[case]

    return page


def write(comparison: Comparison, folder: Path) -> Page:
    path = write_page(comparison, folder)
    assert path == folder / "index.html"
    source = path.read_text(encoding="utf-8")
    return Page(comparison, folder, source, parsed(source))


ALL = ["small", "full", "one_learner", "one_seed", "everything_failed", "thirty_learners",
       "odd_names"]  # fmt: skip


@pytest.mark.parametrize("case", ALL)
def test_a_page_is_well_formed_and_loads_nothing(pages: Pages, case: str) -> None:
    page = pages(case)
    tree = page.tree
    ids = re.findall(r'\sid="([^"]*)"', page.source)
    assert len(ids) == len(set(ids)), "an id is there twice"
    for link in tree.all("a"):
        assert link.attributes["href"].removeprefix("#") in page.sections
    for tag in ("script", "img", "iframe", "object", "embed", "video", "audio", "base"):
        assert not tree.all(tag)
    for use in tree.all("use"):
        assert use.attributes["href"].removeprefix("#") in ids
    for clipped in re.findall(r"url\(([^)]*)\)", page.source):
        assert clipped.removeprefix("#") in ids
    assert [link.attributes["href"] for link in tree.all("link")] == ["data:,"]
    assert "@import" not in page.source
    policy = next(m for m in tree.all("meta") if "http-equiv" in m.attributes)
    assert policy.attributes["content"].startswith("default-src 'none'")
    assert not re.search(r'\son\w+="', page.source), "something runs"
    assert len(page.source.encode()) < MEGABYTES_5


@pytest.mark.parametrize("case", ALL)
def test_headings_go_down_a_step_at_a_time_and_figures_have_words(pages: Pages, case: str) -> None:
    page = pages(case)
    levels = [int(level) for level in re.findall(r"<h([1-6])", page.source)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    pictures = [figure.all("svg")[0] for figure in page.tree.all("figure")]
    assert all(p.attributes["role"] == "img" for p in pictures)
    assert all(len(p.attributes["aria-label"]) > 20 for p in pictures)
    for table in page.tree.all("table"):
        assert table.all("caption")[0].text
        assert {head.attributes["scope"] for head in table.all("th")} == {"col", "row"}
        width = len(table.all("thead")[0].all("th"))
        for row in table.all("tbody")[0].all("tr"):
            assert len([c for c in row.children if isinstance(c, Node)]) == width


EVERYTHING = ["verdicts", "warnings", "results", "dots", "across", "pairs", "curves",
              "learning-curves", "sensitivity", "tuning", "cost", "probabilities", "ensembles",
              "failed", "protocol"]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "missing"),
    [
        ("full", set()),
        ("small", {"warnings", "across", "learning-curves", "sensitivity", "ensembles", "failed"}),
        ("one_learner", {"verdicts", "warnings", "across", "pairs", "learning-curves",
                         "sensitivity", "ensembles", "failed"}),
        ("everything_failed", set(EVERYTHING) - {"warnings", "results", "tuning", "failed"}),
    ],
)  # fmt: skip
def test_sections_are_there_when_their_data_are(pages: Pages, case: str, missing: set[str]) -> None:
    page = pages(case)
    if case == "one_learner":
        missing = missing - {"verdicts"}  # the case still says one against the absent KNN
    assert page.sections == [name for name in EVERYTHING if name not in missing]
    links = [link.attributes["href"] for link in page.tree.all("a")]
    assert links == [f"#{name}" for name in page.sections if name not in ("verdicts", "warnings")]


def test_a_section_goes_with_its_data(pages: Pages, tmp_path: Path) -> None:
    whole = cases.small()
    bare = replace(
        whole,
        verdicts=(), pairwise=(), results=tuple(
            replace(r, curves=None, test_clipped_loss=None, test_brier=None, reliability=None,
                    tried=())
            for r in whole.results
        ),
    )  # fmt: skip
    gone = {"verdicts", "pairs", "curves", "probabilities", "tuning"}
    kept = [name for name in pages("small").sections if name not in gone]
    assert write(bare, tmp_path).sections == kept


def test_numbers_are_those_of_the_comparison(pages: Pages) -> None:
    page = pages("full")
    by_name = {r.learner: r for r in page.comparison.results if r.task == "digits"}
    rows = page.table("Test accuracy on digits")
    assert list(rows) == sorted(by_name, key=lambda n: -by_name[n].test_score.mean)  # type: ignore[union-attr]
    for name, (accuracy, difference, better, p, verdict, *_) in rows.items():
        result = by_name[name]
        found = result.test_score
        assert found is not None
        assert found.interval is not None
        low, high = (f"{100 * v:.2f}" for v in (found.interval.low, found.interval.high))
        assert accuracy == f"{100 * found.mean:.2f}[{low}, {high}]"
        if name == "KNN":
            assert (difference, better, p, verdict) == ("reference", "–", "–", "–")
            continue
        lead = result.difference
        assert lead is not None
        assert lead.interval is not None
        signed = [f"{100 * v:+.2f}".replace("-", "−")
                  for v in (lead.mean, lead.interval.low, lead.interval.high)]  # fmt: skip
        assert difference == f"{signed[0]}[{signed[1]}, {signed[2]}]"
        assert lead.num_better is not None
        assert better == f"{lead.num_better:g} of 10"
        assert p == f"{lead.p_adjusted:.3f}"
        assert result.verdict is not None
        words = {"undecided": "inconclusive"}
        assert verdict.split()[1] == words.get(result.verdict.kind, result.verdict.kind)
    sgd = rows["deep · sgd"]
    assert sgd[5:] == ["508 diverged", "59.4 s", "lr=0.01in 7 of 10 splits, 1 other in the rest"]
    assert rows["deep · adagrad"][-1].endswith(
        "⚠ The best lr is at the edge of the grid (0.1, in 8 of 10 splits): widen the range"
    )
    assert rows["KNN"][5:] == ["–", "40.31 s", "k=1in 10 of 10 splits"]


def test_seeds_on_one_split_are_called_seeds(tmp_path: Path) -> None:
    on = cases.task("digits", 5, unit="seed", same_test_rows=True)
    seeds = write(cases.comparison(networks=cases.NETWORKS[:3], tasks=[on]), tmp_path / "seeds")
    text = seeds.tree.text
    for told in ("5 seeds on one split", "Mean over the seeds", "counts the seeds in which",
                 "All seeds", "A dot below is one seed",
                 "all configurations of a seed"):  # fmt: skip
        assert told in text
    assert (
        seeds.table("Test accuracy on digits, for this training set")["deep · adam"][-1]
        == "lr=0.01"
    )  # one choice
    both = [on, cases.task("iris", 5)]
    text = write(cases.comparison(networks=cases.NETWORKS[:3], tasks=both), tmp_path).tree.text
    assert "Mean over the seeds or splits" in text


def test_pairs_are_mirrored(pages: Pages) -> None:
    page = pages("full")
    rows = page.table("Differences between networks on digits")
    first, second = list(rows)[:2]
    pair = next(d for d in page.comparison.pairwise if d.task == "digits"
                and {d.learner, d.other} == {first[2:], second[2:]})  # fmt: skip
    sign = 1 if pair.learner == first[2:] else -1
    assert rows[first][0] == rows[second][1] == "·"
    for cell, way in ((rows[first][1], sign), (rows[second][0], -sign)):
        points, better = re.fullmatch(r"(?:[▲▼] )?([+−]\d+\.\d\d)([\d.]+) of 10", cell).groups()  # type: ignore[union-attr]
        assert points == f"{way * 100 * pair.mean:+.2f}".replace("-", "−")
        assert pair.num_better is not None
        assert float(better) == (pair.num_better if way > 0 else 10 - pair.num_better)


def test_learning_curves_tell_how_many_samples_select(tmp_path: Path) -> None:
    def told(num_val: int) -> str:
        tasks = [
            cases.task("digits", 4),
            cases.task("digits · 500 rows", 4, dataset="digits", num_train=500, num_val=num_val,
                       is_whole=False),
        ]  # fmt: skip
        made = cases.comparison(
            networks=cases.NETWORKS[:2], baselines=("KNN",), tasks=tasks, learning_sizes=(500, 1168)
        )
        return write(made, tmp_path / str(num_val)).tree.text

    assert "Only the training set shrinks: the validation set, which selects, has 270" in told(270)
    assert (
        "The validation set, which selects, shrinks with the training set: 116 to 270 samples."
    ) in told(116)


def test_an_inconclusive_verdict_tells_what_would_have_been_found(tmp_path: Path) -> None:
    """And the lead says by what the margin goes."""
    made = cases.comparison(networks=cases.NETWORKS[:2], tasks=[cases.task("digits", 4)])
    results = tuple(
        replace(r, verdict=replace(r.verdict, kind="undecided", detectable=0.0134))
        if r.verdict
        else r
        for r in made.results
    )
    page = write(replace(made, results=results, relative_equivalence=0.05), tmp_path)
    rows = page.table("Test accuracy on digits")
    assert rows["deep · adam"][4] == "?\N{NO-BREAK SPACE}inconclusive80 % power at 1.34 pp"
    assert "differences within 5 % of KNN's error are negligible" in page.tree.text


def test_costs_scores_ensembles_and_failures_are_told(pages: Pages) -> None:
    page = pages("full")
    cost = page.table("Cost on digits")
    assert cost["deep · adam"] == ["59,146", "1.91 †", "0.420 †", "0.00210", "9.40 †"]
    assert cost["KNN"] == ["–", "0.0310", "n/a", "0.0142", "0.310"]  # it has no epochs
    assert "The target is the mean validation accuracy of KNN, the reference." in page.tree.text
    assert "Not reached: in no epoch of at least half of the runs; n/a: not" in page.tree.text
    assert "no model has validation samples for its probabilities, and votes are smoothed" in (
        page.tree.text
    )
    scores = page.table("Scores of probabilities on digits")
    deep = next(r for r in page.comparison.results if r.learner == "deep · adam")
    assert scores["deep · adam"][0].startswith(f"{deep.test_clipped_loss.mean:.4f}[")  # type: ignore[union-attr]
    assert scores["deep · adam"][2] == "1.23"
    assert page.table("Ensembles on letter")["deep · adam"] == [
        "10", "98.70", "98.40+0.30", "98.30+0.40", "0.0700",
    ]  # fmt: skip
    failed = page.table("Runs that were not completed, by arm")
    assert failed["deep · sgd · lr=0.1"][1:] == [
        "diverged", "8", "0, 1, 2, 3, 4, 5, 6, 7", "the loss is nan in epoch 3",
    ]  # fmt: skip
    assert "the best model has 0 and the median model 1 (more than 2 counts as 2)" in page.tree.text
    assert "Networks of the same model, depth and optimizer count as one" in page.tree.text
    across = page.table("Models over the data sets")
    assert across["deep · adam"] == ["3", "0 / 1 / 1", "1.25", "0.20[−0.01, 0.41]",
                                     "descriptive only"]  # fmt: skip


def test_names_are_text_wherever_they_stand(pages: Pages) -> None:
    page = pages("odd_names")
    tree = page.tree
    assert tree.all("title")[0].text == page.comparison.title
    assert tree.all("h1")[0].text == page.comparison.title
    assert "<script>alert" not in page.source
    assert not tree.all("b")
    shown = [name.replace("\x07", "\N{REPLACEMENT CHARACTER}") for name in cases.ODD_NAMES]
    rows = page.table("Test accuracy on données $x$ 数据")
    assert set(shown) < set(rows)
    words = {text.text for text in tree.all("text")}
    assert {cases.ODD_NAMES[0], "a$b$c_{2}^{x}", "网络 🤖 深い", "שלום · رشبكة"} < words
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", page.source)


def test_tasks_whose_names_have_no_letters_keep_their_figures_apart(tmp_path: Path) -> None:
    comparison = cases.comparison(
        networks=cases.NETWORKS[:1], baselines=("KNN",), tuned=False,
        tasks=[cases.task("数据", 2), cases.task("网络", 2)],
    )  # fmt: skip
    page = write(comparison, tmp_path)
    files = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"accuracy.png", "accuracy-2.png"} < files
    assert len(files) == len(page.tree.all("figure"))


@pytest.mark.parametrize("case", ["full", "thirty_learners"])
def test_every_figure_is_a_file_too(pages: Pages, case: str) -> None:
    page = pages(case)
    files = sorted((page.folder / "figures").iterdir())
    assert len(files) == len(page.tree.all("figure")) > 10
    for file in files:
        with Image.open(file) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert picture.width == 800
            assert len(picture.getcolors(2**20) or ()) > 20, f"{file.name} is empty"


def test_thirty_learners_are_told_of_though_not_all_are_in_colour(pages: Pages) -> None:
    page = pages("thirty_learners")
    assert len(page.table("Test accuracy on digits")) == 30
    assert "8 models with the best validation accuracy in colour; 16 more in grey." in page.source
    assert "23 more</summary>" in page.source
    assert len(page.table("Differences between networks on digits")) == 12
    assert "12 more are in summary.json" in page.source


def test_the_same_comparison_gives_the_same_bytes(pages: Pages, tmp_path: Path) -> None:
    """Also in another process, where sets have another order."""
    code = "import sys, report_cases; from pathlib import Path; " \
        "from nnexp.report.page import write_page; " \
        "write_page(report_cases.small(), Path(sys.argv[1])); " \
        "assert 'torch' not in sys.modules and 'matplotlib.pyplot' not in sys.modules"  # fmt: skip
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path)],
        check=True, timeout=120, cwd=Path(__file__).parents[1] / "helpers", env={**os.environ,
                                                                 "PYTHONHASHSEED": "12345"},
    )  # fmt: skip
    page = pages("small")
    for file in sorted(page.folder.rglob("*.*")):
        again = tmp_path / file.relative_to(page.folder)
        assert again.read_bytes() == file.read_bytes(), file.name


def test_the_page_is_dark_where_the_reader_wants_it_and_light_on_paper(pages: Pages) -> None:
    source = pages("small").source
    dark = source.split("@media screen and (prefers-color-scheme:dark)", 1)[1]
    assert "--ink:#e8eaed" in dark.split("}", 1)[0]
    assert "--ink:#1b1f24" in source.split("@media", 1)[0]
    drawn = "".join(re.findall(r"<svg.*?</svg>", source, re.S))
    assert "#" not in re.sub(r'(href="#|url\(#)', "", drawn), "a colour that stays in the dark"


def test_matplotlib_is_imported_when_a_page_is_written(tmp_path: Path) -> None:
    code = "import sys, nnexp.report.page; print([m for m in ('matplotlib', 'jinja2', 'torch') " \
        "if m in sys.modules])"  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (blocks.percent(0.9749), "97.49"),
        (blocks.percent(None), "–"),
        (blocks.percent(float("nan")), "–"),
        (blocks.points(-0.00831), "−0.83"),
        (blocks.points(0.00831), "+0.83"),
        (blocks.points(-0.00001), "0.00"),
        (blocks.points_interval(Interval(low=-0.001, high=0.02)), "[−0.10, +2.00]"),
        (blocks.percent_interval(None), ""),
        (blocks.score(Estimate(mean=0.08124, interval=None, values=())), "0.0812"),
        (blocks.probability(0.0004), "<0.001"),
        (blocks.probability(0.0316), "0.032"),
        (blocks.seconds(0.004119), "0.00412"),
        (blocks.seconds(1.9149), "1.91"),
        (blocks.seconds(1240.4), "1,240"),
        (blocks.seconds(0.0), "0"),
        (blocks.counted(1, "class", "classes"), "1 class"),
        (blocks.counted(1000, "run"), "1,000 runs"),
        (blocks.setting({"optimizer.lr": 0.01, "optimizer.nesterov": True}),
         "lr=0.01, nesterov=true"),
        (blocks.setting({"a.lr": 1e-5, "b.lr": 2}), "a.lr=1e-05, b.lr=2"),
        (blocks.setting({"model.hidden": [64, 32], "gamma": None}), "hidden=[64,32], gamma=null"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_people_write_them(made: str, shown: str) -> None:
    assert made == shown


def test_each_kind_of_verdict_has_its_sign(tmp_path: Path) -> None:
    kinds = get_args(VerdictKind)
    verdicts = [Verdict(kind=kind, sentence=f"sentence {kind}", task="wine") for kind in kinds]
    whole = Verdict(kind="summary", sentence="over all")
    comparison = replace(cases.everything_failed(), verdicts=(whole, *verdicts))
    page = write(comparison, tmp_path)
    section = page.tree.all("section")[0]
    assert [h.text for h in section.all("h3")] == ["Over all data sets", "wine"]
    said = [(badge.text.split(" ", 1)[1], sentence.text) for badge, _, sentence in
            (item.all("span") for item in section.all("li"))]  # fmt: skip
    badges = {
        "undecided": "inconclusive",
        "not significant after correction": "not significant",
    }
    assert said == [
        ("summary", "over all"),
        *((badges.get(kind, kind), f"sentence {kind}") for kind in kinds),
    ]
    signs = {item.all("span")[1].text for item in section.all("li")}
    assert len(signs) == len(kinds)
    assert section.all("summary")[0].text == f"{len(kinds) - 6} more"


# ── the best network per split, and fixed test sets ───────────────────────────────────────────


def test_the_best_network_per_split_is_a_row_and_no_further_network(tmp_path: Path) -> None:
    records = comparison_cases.sweep(datasets=[comparison_cases.DIGITS], seeds=range(4))
    page = written(compare(records, Options()), tmp_path)
    row = page.table("Test accuracy on digits")["best network per split"]
    assert re.search(r"(inconclusive(80 % power at .*)?|better|worse|significant)$", row[-4])
    assert row[-3] == "481 diverged"
    assert re.fullmatch(r"12[\d.]+ s", row[-2])  # and the seconds
    assert "network=" in row[-1]
    assert "best network per split" in page.table("Cost on digits")
    assert "best network per split" not in page.table("Configurations tried on digits")
    assert "best network per split" not in page.source.split('id="pairs"')[1].split("</section>")[0]
    text = page.tree.text
    assert "the best of 4 networks, selected on each split by validation accuracy," in text
    assert "of 4 networks, by validation accuracy; p not adjusted" in text
    assert " · 6 models · " in text
    assert "for this training set" not in page.source.split('id="protocol"')[0]


def test_captions_say_what_intervals_on_a_fixed_test_set_hold_for(tmp_path: Path) -> None:
    mnist = replace(comparison_cases.MNIST, num_test=300)
    records = comparison_cases.sweep(tmp_path / "runs", datasets=[mnist], seeds=range(3))
    page = written(compare(records, Options()), tmp_path / "page")
    for caption in ("Test accuracy", "Differences between networks", "Scores of probabilities",
                    "Configurations tried"):  # fmt: skip
        assert page.table(f"{caption} on mnist, for this training set")
    assert (
        page.tree.text.count("Where the test set is fixed, intervals hold for this training") == 3
    )
    assert "selected on each split by validation accuracy" in page.tree.text
    held = comparison_cases.sweep(datasets=[mnist], seeds=range(3), split_seed=0)
    assert "networks, selected for each seed by validation accuracy, " in (
        compare(held, Options()).verdicts[0].sentence
    )


def written(comparison: Comparison, folder: Path) -> Page:
    folder.mkdir(exist_ok=True)
    source = write_page(comparison, folder).read_text(encoding="utf-8")
    return Page(comparison, folder, source, parsed(source))
