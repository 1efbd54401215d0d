"""Which learner a run is of, and with which setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnexp.baselines.labels import labels
from nnexp.comparison.config_keys import canonical, flatten, is_under
from nnexp.comparison.naming import NAMING, NOT_THE_LEARNER, component_names, unique_names
from nnexp.comparison.records import RunRecord
from nnexp.comparison.types import Setting


@dataclass(frozen=True, kw_only=True)
class BaselineLearner:
    """A baseline with one config; another list of values to try is another learner."""

    learner: str
    name: str  # in result.json


@dataclass(frozen=True, kw_only=True)
class Learners:
    """Of every run, by its place in the records."""

    networks: Mapping[int, str]
    settings: Mapping[int, Setting]
    baselines: Mapping[int, Mapping[str, BaselineLearner]]  # by name in result.json
    network_names: tuple[str, ...]  # sorted
    baseline_names: tuple[str, ...]
    num_without_config: int


def find_learners(
    records: Sequence[RunRecord], indices: Sequence[int], tuned: Sequence[str]
) -> Learners:
    """The learners of the runs at ``indices``.

    A run that was recorded without its config is of the learner that its arm names, with nothing
    tuned. A key of ``tuned`` stands for all below it; of these, a setting tells those that vary.
    """
    flat = {i: flatten(records[i].result.config) for i in indices}
    own = {
        i: {k: v for k, v in flat[i].items() if not is_under(k, (*NOT_THE_LEARNER, *tuned))}
        for i in indices
    }
    names = unique_names(
        {i: _network_key(records[i], own[i]) for i in indices},
        {i: _network_base(records[i], own[i]) for i in indices},
        {i: {k: v for k, v in own[i].items() if k not in NAMING} for i in indices},
    )
    baselines = _baselines(records, indices, flat)
    found = {learner.learner: learner for _, told in baselines for learner in told.values()}
    places = list(labels())
    return Learners(
        networks=names,
        settings=_settings(names, flat, tuned),
        baselines=dict(baselines),
        network_names=tuple(sorted(set(names.values()))),
        baseline_names=tuple(
            sorted(
                found,
                key=lambda n: (
                    places.index(found[n].name) if found[n].name in places else len(places),
                    n,
                ),
            )
        ),
        num_without_config=sum(not records[i].result.config for i in indices),
    )


def _network_key(record: RunRecord, own: Mapping[str, Any]) -> str:
    return canonical(own) if record.result.config else record.result.arm


def _network_base(record: RunRecord, own: Mapping[str, Any]) -> str:
    if not record.result.config:
        return record.result.arm
    return component_names(own) or "network"  # both are tuned


def _settings(
    names: Mapping[int, str], flat: Mapping[int, Mapping[str, Any]], tuned: Sequence[str]
) -> dict[int, Setting]:
    """Of each run what is tuned: keys that are named, and of those below a named one what varies
    among the runs of its learner."""
    values = {i: {k: v for k, v in keys.items() if is_under(k, tuned)} for i, keys in flat.items()}
    keys = {key for setting in values.values() for key in setting}
    seen: dict[tuple[str, str], set[str]] = {}
    for i, setting in values.items():
        for key in keys:
            text = canonical({"": setting[key]}) if key in setting else ""
            seen.setdefault((names[i], key), set()).add(text)
    return {
        i: {k: setting[k] for k in sorted(setting) if k in tuned or len(seen[names[i], k]) > 1}
        for i, setting in values.items()
    }


def _baselines(
    records: Sequence[RunRecord], indices: Sequence[int], flat: Mapping[int, Mapping[str, Any]]
) -> list[tuple[int, dict[str, BaselineLearner]]]:
    """Baselines by run; the config of each decides which learner it is."""
    told = list(_baseline_configs(records, indices, flat))
    learners: dict[tuple[int, str], str] = {}
    for name in dict.fromkeys(name for _, name, _ in told):
        mine = {i: config for i, other, config in told if other == name}
        unique = unique_names(
            {i: canonical(config) for i, config in mine.items()},
            dict.fromkeys(mine, labels().get(name, name.replace("_", " "))),
            mine,
        )
        learners |= {(i, name): learner for i, learner in unique.items()}
    found: dict[int, dict[str, BaselineLearner]] = {i: {} for i in indices}
    for i, name, _ in told:
        found[i][name] = BaselineLearner(learner=learners[i, name], name=name)
    return list(found.items())


def _baseline_configs(
    records: Sequence[RunRecord], indices: Sequence[int], flat: Mapping[int, Mapping[str, Any]]
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    for i in indices:
        for name in records[i].result.baselines:
            prefix = f"baseline.{name}."
            yield (
                i,
                name,
                {
                    key.removeprefix(prefix): value
                    for key, value in flat[i].items()
                    if key.startswith(prefix) and not key.endswith(".memory_mb")
                },
            )
