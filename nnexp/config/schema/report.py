"""What a sweep ends in."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from nnexp.config.fields import Problems, ranged
from nnexp.config.schema.baseline import baselines_config
from nnexp.config.schema.groups import tunable_keys
from nnexp.errors import did_you_mean


@dataclass
class ReportConfig:
    """What a sweep ends in. Nothing of it touches a run."""

    enabled: bool = True  # write report/ after a sweep
    tuned: list[str] = field(default_factory=lambda: ["optimizer.lr"])  # chosen on validation rows
    reference: str = "knn"  # the learner that the others are compared with
    equivalence: float = ranged(0.5, ge=0, le=100)  # points of accuracy that do not matter
    tensorboard: bool = False  # mean curves of every arm, as TensorBoard runs of their own

    def check_rules(self) -> Problems:
        """What is tuned is an option of a network, and the reference a baseline or a network."""
        for key in self.tuned:
            if key not in tunable_keys():
                near = did_you_mean(key, tunable_keys())
                yield "tuned", f"{key} is no option that can be tuned{near}"
        baselines = [baseline.name for baseline in fields(baselines_config())]
        if self.reference not in baselines and "·" not in self.reference:
            near = did_you_mean(self.reference, baselines)
            known = ", ".join(baselines)
            yield "reference", f"must be {known} or a network such as 'deep · adam'{near}"
