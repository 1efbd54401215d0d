"""``python -m nnexp.report`` as a user meets it: what it prints, writes, replaces and refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import comparison_cases as cases
import programs
import pytest
import report_cases

from nnexp.analysis.types import FailedRun
from nnexp.report import blocks, page
from nnexp.report.__main__ import main
from nnexp.report.inputs import listed
from nnexp.report.terminal import bullets, print_report

Report = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up runs: two networks and KNN on one data set, three splits, three learning rates."""
    folder = tmp_path_factory.mktemp("swept") / "s"
    cases.sweep(folder, optimizers=("adam",), seeds=range(3), datasets=(cases.DIGITS,),
                baselines=("knn",))  # fmt: skip
    return folder


@pytest.fixture
def sweep(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(swept, tmp_path / "s")).relative_to(tmp_path)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Report:
    """The program in this process: its exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nnexp.report", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def joined(text: str) -> str:
    return " ".join(text.split())


def summary_of(folder: Path) -> dict[str, object]:
    found = json.loads((folder / "summary.json").read_text())
    assert isinstance(found, dict)
    return found


def test_the_program_prints_verdicts_and_a_table_and_writes_the_rest(sweep: Path) -> None:
    done = programs.run(
        [sys.executable, "-W", "error", "-m", "nnexp.report", "s"],
        env={**os.environ, "COLUMNS": "80", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "report       s/report/index.html"
    written = {path.name for path in Path("s/report").iterdir()}
    assert written == {"index.html", "runs.csv", "summary.json", "figures"}
    page = Path("s/report/index.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)  # all is in the one file
    summary = summary_of(Path("s/report"))
    assert summary["schema"] == 1
    figures = sorted(path.name for path in Path("s/report/figures").iterdir())
    assert summary["figures"] == figures
    sentences = [verdict["sentence"] for verdict in summary["verdicts"]]  # type: ignore[attr-defined]
    assert sentences
    for sentence in sentences:
        assert joined(sentence) in joined(done.stdout)
    table = done.stdout.partition("\n model")[2]
    for result in summary["results"]:  # type: ignore[attr-defined]
        assert f"{100 * result['test_score']['mean']:.2f}" in table
    assert Path("s/report/runs.csv").read_bytes().count(b"\r\n") == 1 + 2 * 3 * 3


def test_a_report_is_replaced_and_nothing_else(sweep: Path, report: Report) -> None:
    assert report("s")[0] == 0
    place = Path("s/report")
    first = summary_of(place)
    (place / "mine.txt").write_text("notes")
    (place / "figures" / "mine.png").write_bytes(b"mine")
    (place / "figures" / "former.png").write_bytes(b"of the report before")
    former = {**first, "figures": [*first["figures"], "former.png", "../mine.txt"]}  # type: ignore[misc]
    (place / "summary.json").write_text(json.dumps(former))
    assert report("s", "--title", "Another <title>")[0] == 0
    assert summary_of(place) == {**first, "title": "Another <title>"}
    assert "Another &lt;title&gt;" in (place / "index.html").read_text()
    assert (place / "mine.txt").read_text() == "notes"
    assert (place / "figures" / "mine.png").exists()
    assert not (place / "figures" / "former.png").exists()
    assert not list(place.glob(".new-*"))


def test_a_report_that_fails_leaves_the_one_before(
    sweep: Path, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report("s")[0] == 0
    before = {path: path.read_bytes() for path in Path("s/report").rglob("*") if path.is_file()}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "index.html")

    monkeypatch.setattr(page, "write_page", fail)
    assert report("s") == (1, "", "nnexp: index.html: No space left on device\n")
    after = {path: path.read_bytes() for path in Path("s/report").rglob("*") if path.is_file()}
    assert after == before
    assert report("s", "--out", "elsewhere")[0] == 1
    assert not Path("elsewhere").exists()


def test_several_folders_are_reported_together(sweep: Path, report: Report) -> None:
    code, out, _ = report("s/0", "s/1", "s/2")
    assert code == 0
    assert out.splitlines()[-1] == "report       report/index.html"
    assert summary_of(Path("report"))["num_runs"] == 3
    code, out, _ = report("s", "s/0", "--out", "both")
    assert out.splitlines()[-1] == "report       both/index.html"
    assert summary_of(Path("both"))["num_runs"] == 18


def test_options_of_the_command_line_come_first(sweep: Path, report: Report) -> None:
    reference = "deep · adam · lr=0.01"  # nothing is tuned: each rate is a learner
    arguments = ["--reference", reference.upper(), "--equivalence", "2.5", "--tensorboard"]
    assert report(*arguments, "--tuned", "none", "s")[0] == 0
    summary = summary_of(Path("s/report"))
    assert summary["equivalence"] == 0.025
    settings = {result["learner"]: result["num_settings"] for result in summary["results"]}  # type: ignore[attr-defined]
    assert summary["reference"] == reference
    assert settings[reference] == 1
    arms = sorted(path.name for path in Path("s/report/curves").iterdir())
    assert arms == sorted(
        f"mean of {model} · adam · lr={lr}"
        for model in ("deep", "shallow")
        for lr in (0.001, 0.01, 0.1)
    )


# ── what is wrong ─────────────────────────────────────────────────────────────────────────────


def test_what_cannot_be_read_is_told_beside_the_rest(sweep: Path, report: Report) -> None:
    Path("s/3/result.json").write_text("{", encoding="utf-8")
    shutil.move("s/4/result.json", "s/4/metrics.jsonl")
    code, out, err = report("s")
    assert (code, err) == (0, "")
    notes = joined(out.partition("warnings")[2])
    assert "• s/3/result.json: " in notes
    assert "1 run without a result.json, killed or still training, left out: s/4" in notes
    assert "s/3/result.json" in Path("s/report/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["knn", "KNN", "kNN"])
def test_a_reference_is_named_as_tables_or_configs_do(
    sweep: Path, report: Report, name: str
) -> None:
    assert report("s", "--reference", name)[0] == 0
    assert summary_of(Path("s/report"))["reference"] == "KNN"


def test_keys_are_listed_with_commas_or_again() -> None:
    assert listed(None) is None
    assert listed(["none"]) == listed([""]) == ()
    keys = ("optimizer.lr", "model.hidden", "trainer.epochs")
    assert listed(["optimizer.lr, model.hidden", "trainer.epochs", "optimizer.lr"]) == keys


def test_problems_of_files_are_all_shown(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [f"s/{i}/result.json: not a JSON object; left out" for i in range(8)]
    comparison = replace(
        report_cases.small(), warnings=(*problems, *(f"warning {i}" for i in range(3)))
    )
    print_report(comparison, problems)
    out = joined(capsys.readouterr().out)
    assert all(problem in out for problem in problems)
    assert "warning 0" not in out
    assert "and 3 more, in the report" in out


def test_a_sweep_without_results_says_so_first(capsys: pytest.CaptureFixture[str]) -> None:
    told = report_cases.everything_failed()
    failed = FailedRun(folder="s/0", arm="a", task="t", seed=0, status="interrupted", error="")
    nothing = "no run was completed: there is nothing to compare"
    comparison = replace(
        told, results=(), verdicts=(), warnings=(nothing,), failed=(failed,) * 60, num_runs=60
    )
    print_report(comparison)
    assert joined(capsys.readouterr().out) == (
        "No run was completed (60 interrupted): there are no results to compare."
    )


def test_many_verdicts_of_a_kind_are_one_sentence() -> None:
    comparison = report_cases.full()  # 13 or 14 verdicts on each of three tasks
    told, hidden = bullets(comparison, 8)
    better, inconclusive, worse, *rest = told
    assert better == comparison.verdicts[0].sentence
    leads = {
        r.learner: r.difference for r in comparison.results if r.task == "digits" and r.difference
    }
    names = [v.learner for v in comparison.verdicts if (v.task, v.kind) == ("digits", "undecided")]
    assert inconclusive.startswith("inconclusive against KNN on digits, in pp [95 % CI]: ")
    assert [name for name in leads if f"{name} " in inconclusive.partition(": ")[2]] == names
    lead = leads[names[0] or ""]
    assert f"{names[0]} {blocks.points(lead.mean)} {blocks.points_interval(lead.interval)}, " in (
        inconclusive
    )
    assert worse.startswith("worse than KNN on digits, in pp [95 % CI]: ")
    assert worse.endswith(" and 3 more")  # of 9
    assert (len(rest), hidden) == (4, 0)
    few, left = bullets(comparison, 3)  # the first of every task, whatever the room
    assert [told.index(sentence) for sentence in few] == [0, 3, 5]
    assert left == len(comparison.verdicts) - 1 - 3 - 3


def test_a_damaged_value_costs_its_run_alone(sweep: Path, report: Report) -> None:
    path = Path("s/3/result.json")
    told = json.loads(path.read_text(encoding="utf-8"))
    told["config"]["report"]["tuned"] = 5
    path.write_text(json.dumps(told), encoding="utf-8")
    code, out, err = report("s")
    assert (code, err) == (0, "")
    message = "s/3/result.json: config.report.tuned is 5, which is no list"
    assert f"• {message}" in joined(out.partition("warnings")[2])
    assert summary_of(Path("s/report"))["num_runs"] == 17
    assert report("s/3") == (1, "", f"nnexp: {message}\n")


def test_one_seed_says_what_it_cannot_say(sweep: Path, report: Report) -> None:
    for folder in Path("s").iterdir():
        seed = json.loads((folder / "result.json").read_text())["seed"]
        if seed != 0:
            shutil.rmtree(folder)
    code, out, _ = report("s")
    assert code == 0
    kinds = {verdict["kind"] for verdict in summary_of(Path("s/report"))["verdicts"]}  # type: ignore[attr-defined]
    assert kinds == {"too few", "summary"}
    assert (
        "one split, hyperparameters selected on the validation set; better in: ties count half "
        in joined(out)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "absent: no such folder"),
        (["empty"], "empty: holds no result.json; give a run's folder, a sweep's or the output "
         "root"),
        (["damaged"], "damaged/result.json: Expecting value: line 1 column 1 (char 0)"),
        (["s", "--out", "file"], "file: is a file where the folder of the report is to be"),
        (["s", "--tuned", "optimiser.lr"], "--tuned optimiser.lr: optimiser.lr is no option that "
         "can be tuned (did you mean 'optimizer.lr'?)"),
        (["--tuned", "lr", "s"], "--tuned lr: lr is no option that can be tuned (did you mean "
         "'optimizer.lr'?)"),
        (["s", "--reference", "Knm"], "--reference Knm: no model of that name (did you mean "
         "'KNN'?); there are deep · adam, shallow · adam, KNN"),
        (["s", "--equivalence", "-3"], "--equivalence -3: must be from 0 to 100 pp"),
        (["s", "--reference", "deep · adm"], "--reference deep · adm: no model of that name "
         "(did you mean 'deep · adam'?); there are deep · adam, shallow · adam, KNN"),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_one_line(
    sweep: Path, report: Report, arguments: list[str], message: str
) -> None:
    Path("empty").mkdir()
    Path("file").touch()
    Path("damaged").mkdir()
    Path("damaged/result.json").touch()
    assert report(*arguments) == (1, "", f"nnexp: {message}\n")
    assert not Path("s/report").exists()


def test_full_error_shows_the_traceback(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="no such folder"):
        report(str(tmp_path / "absent"))


# ── the terminal ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("columns", [60, 80, 104, 200])
@pytest.mark.parametrize("case", ["small", "full", "one_seed", "everything_failed", "odd_names"])
def test_nothing_is_wider_than_the_terminal(
    case: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.cells import cell_len

    monkeypatch.setenv("COLUMNS", str(columns))
    comparison = getattr(report_cases, case)()
    print_report(comparison)
    out = capsys.readouterr().out
    assert max(map(cell_len, out.splitlines())) <= columns
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", out)
    assert "…" not in out  # no number is cut
    for result in comparison.results[:3]:
        if result.test_score is not None and columns >= 80:
            assert f"{100 * result.test_score.mean:.2f}" in out


@pytest.mark.parametrize("name", ["index.html", "runs.csv", "summary.json"])
def test_somebodys_file_in_the_folder_is_not_replaced(
    sweep: Path, report: Report, name: str
) -> None:
    Path("mine").mkdir()
    Path("mine", name).write_text("mine", "utf-8")
    line = f"nnexp: mine/{name}: was not written by nnexp, which would replace it; move it, or give"
    assert report(str(sweep), "--out", "mine") == (1, "", f"{line} another folder\n")
    assert [(path.name, path.read_text()) for path in Path("mine").iterdir()] == [(name, "mine")]
