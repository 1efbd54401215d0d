"""How the jobs of a sweep ended that a launcher, such as Joblib's, ran in other processes.

The exit code follows from it, so the program looks itself: callbacks can be switched off.
"""

from __future__ import annotations

from nnexp.failures import add_completed, add_divergence, add_failed_elsewhere, have_ended
from nnexp.output_folder import claimed_sweeps


def note_ends_elsewhere() -> None:
    """Note how the runs of this program's sweep ended, unless their ends were noted here."""
    for sweep, before in claimed_sweeps():
        if have_ended():
            return
        from nnexp.errors import DataError
        from nnexp.results.record import read_result
        from nnexp.results.record.earlier import stamps

        own = [run for run, stamp in stamps(sweep).items() if before.get(run) != stamp]
        for place, run in enumerate(sorted(own, key=lambda run: (len(run.name), run.name))):
            try:
                result = read_result(run)
            except DataError:  # the report says so
                continue
            if result.status == "diverged":
                num = int(run.name) if run.name.isdecimal() else place
                add_divergence(num, [result.arm, f"seed={result.seed}"], result.error or "")
            elif result.status == "completed":
                add_completed()
            elif result.status == "failed":
                add_failed_elsewhere()
