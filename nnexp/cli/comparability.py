"""What keeps the rows of ``nnexp compare`` from being compared: other data, other splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from nnexp.cli.rows import Row

_SHOWN = 8  # letters of a fingerprint
_MOST = 4  # kinds of splits that are named


def warnings(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line if the data differ between rows, and one for each data set whose splits do."""
    data = Counter(row.data for row in rows)
    if len(data) > 1:
        named = ", ".join(
            f"{name} {(fingerprint or 'not read')[:_SHOWN]} ({_rows(count)})"
            for (name, fingerprint), count in data.items()
        )
        yield f"different data: {named}; their metrics are not comparable"
    for name, fingerprint in data:
        yield from _of_splits(name, [row for row in rows if row.data == (name, fingerprint)])


def _of_splits(name: str, rows: Sequence[Row]) -> Iterator[str]:
    splits = Counter(_splits(row) for row in rows if row.counted)
    if len(splits) < 2:
        return
    named = [f"{kind} ({_rows(count)})" for kind, count in splits.most_common(_MOST)]
    if len(splits) > _MOST:
        named.append(f"and {len(splits) - _MOST} more")
    is_official = all(run.dataset.official_test for row in rows for run in row.runs)
    metrics = "validation metrics" if is_official else "metrics"
    yield f"different splits of {name}: {', '.join(named)}; their {metrics} are not comparable"


def _splits(row: Row) -> str:
    """The split seeds of the runs that are averaged, and how many samples they hold out."""
    done = Row(row.folder, row.settings, tuple(row.counted))
    seeds = done.seeds("dataset.split_seed")
    sizes = {(run.dataset.num_val, run.dataset.num_test) for run in done.runs}
    held_out = " or ".join(f"{val}+{test}" for val, test in sorted(sizes, key=str))
    return f"{_seeds(seeds)} with {held_out} held out"


def _seeds(seeds: Sequence[int]) -> str:
    """Return split seeds in few letters: ``split seeds 0-9``."""
    if len(seeds) == 1:
        return f"split seed {seeds[0]}"
    if len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"split seeds {seeds[0]}-{seeds[-1]}"
    return f"split seeds {','.join(map(str, seeds))}"


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"
