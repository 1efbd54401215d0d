"""The main process has the data of a sweep looked at, a source at a time and by all workers."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from nnexp.sweep import messages as say
from nnexp.sweep.keys import source_key
from nnexp.sweep.processes import Crew, Gone, Worker
from nnexp.sweep.tasks import Absent, Entry, Machine, Prospect, Refused

log = logging.getLogger(__name__)

_ATTEMPTS = 2  # at a source whose worker died


@dataclass(frozen=True)
class Outlook:
    """For each entry what was found, and the GPUs."""

    found: tuple[Prospect | Refused | Absent, ...]
    machine: Machine


@dataclass(eq=False)
class _Source:
    places: list[int] = field(default_factory=list)  # of its entries
    attempt: int = 1


def survey(crew: Crew, entries: Sequence[Entry], *, fetch: bool) -> Outlook:
    """Look at the data of all entries; a source that costs two workers their life is refused."""
    by_key: dict[str, _Source] = {}
    for place, entry in enumerate(entries):
        by_key.setdefault(source_key(entry.config.dataset), _Source()).places.append(place)
    waiting = deque(by_key.values())
    busy: dict[Worker, _Source] = {}
    found: dict[int, Prospect | Refused | Absent] = {}
    machine = Machine()
    try:
        while waiting or busy:
            if not crew.workers:
                found |= {n: Refused(crew.problem) for s in waiting for n in s.places}
                break
            for worker in crew.workers:
                if waiting and worker.ready and worker not in busy:
                    busy[worker] = waiting.popleft()
                    its = tuple(entries[place] for place in busy[worker].places)
                    worker.send(say.Survey(its, fetch))
            for worker, message in crew.listen(1.0, busy):
                match message:
                    case say.Surveyed(answers, seen):
                        found |= zip(busy.pop(worker).places, answers, strict=True)
                        machine = machine.joined(seen)
                    case Gone(how) if worker in busy:
                        source = busy.pop(worker)
                        if source.attempt < _ATTEMPTS:
                            source.attempt += 1
                            waiting.append(source)
                        else:
                            why = f"a worker process that looked at the data {how}, twice"
                            found |= dict.fromkeys(source.places, Refused(why))
                    case Gone():
                        pass
                    case _:
                        raise RuntimeError(f"a worker said {message!r}")
    except BaseException:
        for worker in busy:
            worker.kill()  # it would read its data to the end, and nothing is lost
        raise
    return Outlook(tuple(found[place] for place in range(len(entries))), machine)
