"""Copies of a sweep's report what a study keeps: ``runs.csv`` and ``summary.json``, both gzipped,
and the figures whose names begin as given.

    python experiments/keep.py multirun/x experiments/x/results accuracy critical-difference
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
from pathlib import Path


def keep(report: Path, folder: Path, prefixes: list[str]) -> None:
    """``report`` is the folder that a sweep's report was written to."""
    folder.mkdir(parents=True, exist_ok=True)
    # Where runs and data lay says nothing elsewhere.
    places = [report.resolve().parent.parent, os.environ.get("NNEXP_DATA", "../shared/data")]
    for name in ("runs.csv", "summary.json"):
        text = (report / name).read_text(encoding="utf-8")
        for place in places:
            text = text.replace(f"{place}/", "")
        packed = gzip.compress(text.encode(), mtime=0)  # the same bytes every time
        (folder / f"{name}.gz").write_bytes(packed)
    for prefix in prefixes:
        figures = sorted((report / "figures").glob(f"{prefix}*.png"))
        if not figures:
            raise SystemExit(f"{report}: no figure begins with {prefix}")
        for figure in figures:
            shutil.copyfile(figure, folder / figure.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("sweep", type=Path, help="a sweep's folder, or that of a report")
    parser.add_argument("folder", type=Path, help="where to keep it")
    parser.add_argument("figures", nargs="*", help="what the names of figures begin with")
    given = parser.parse_args()
    inner = given.sweep / "report"
    keep(inner if inner.is_dir() else given.sweep, given.folder, given.figures)
