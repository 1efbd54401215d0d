"""The primary metric: where it stands in ``result.json``, which way is better, how it is told.

A metric whose values lie between 0 and 1 is told in per cent, and differences of it in percentage
points, as accuracies are; any other as plain numbers, with the digits that tell the ends of an
interval apart.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.lazy import np
from nnexp.metrics import (
    ACCURACY,
    METRICS,
    greater_is_better,
    is_known,
    metric_bounds,
    metric_key,
    metric_label,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnexp.analysis.types import Interval

RELATIVE_MARGIN = 0.01
"""What does not matter of a metric without bounds, as a share of the reference's error."""
_DIGITS = 4  # of a plain number
_MOST_DECIMALS = 12
_NOTHING = "–"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """The metric by which hyperparameters are selected and learners are compared."""

    name: str
    label: str
    greater_is_better: bool
    bounds: tuple[float, float]  # between which all values lie; may be infinite

    @property
    def is_accuracy(self) -> bool:
        """Whether the score is a mean over samples, each of which is right or wrong."""
        return self.name == ACCURACY

    @property
    def val_key(self) -> str:
        """Of the value on the validation samples, in ``result.json`` and ``metrics.jsonl``."""
        return metric_key(self.name, "val")

    @property
    def test_key(self) -> str:
        """Of the value on the test samples, in ``result.json``."""
        return metric_key(self.name, "test")

    def of_rows(self, outputs: NDArray[Any], labels: NDArray[Any]) -> float | None:
        """The metric of samples; None where it is undefined or fails.

        Args:
            outputs: probabilities [N, C], or what else the metric takes.
            labels: the right classes [N], or numbers.
        """
        if self.is_accuracy:
            return float((outputs.argmax(1) == labels).mean())
        is_regression = labels.dtype.kind == "f"
        right = labels.astype(np.float64 if is_regression else np.int64)
        if is_regression and outputs.ndim == 2:
            outputs = outputs[:, 0]
        value = math.nan
        with contextlib.suppress(Exception):  # a metric may be of two classes alone
            value = float(METRICS[self.name].compute(outputs.astype(np.float64), right))
        return value if math.isfinite(value) else None

    # ── which way is better ───────────────────────────────────────────────────────────────────

    @property
    def sign(self) -> int:
        """1, or -1 where less is better: of two values the better one is greater by it."""
        return 1 if self.greater_is_better else -1

    @property
    def worst(self) -> float:
        """The end of the bounds than which nothing is worse."""
        return self.bounds[0] if self.greater_is_better else self.bounds[1]

    @property
    def span(self) -> float:
        """The largest difference that there can be."""
        return self.bounds[1] - self.bounds[0]

    @property
    def is_bounded(self) -> bool:
        """Whether both bounds are finite."""
        return math.isfinite(self.span)

    def badness(self, value: float | None) -> float:
        """What to sort by, the best first; what is not known comes last."""
        return math.inf if value is None else -self.sign * value

    def error(self, value: float) -> float:
        """How far a value is from the best that there can be, or from 0 where that is infinite."""
        best = self.bounds[1] if self.greater_is_better else self.bounds[0]
        return abs(best - value) if math.isfinite(best) else abs(value)

    @property
    def error_name(self) -> str:
        """What ``error`` is called: ``test error``, ``test RMSE``."""
        if self.is_accuracy:
            return "test error"
        best = self.bounds[1] if self.greater_is_better else self.bounds[0]
        told = f"{best:g} − {self.label}" if best and math.isfinite(best) else self.label
        return f"test {told}"

    def step(self, num_rows: int) -> float:
        """By how much one sample of so many moves a value; 0 where there are no bounds."""
        return self.span / num_rows if num_rows and self.is_bounded else 0.0

    # ── how values are told: in sentences ─────────────────────────────────────────────────────

    @property
    def is_share(self) -> bool:
        """Whether values are told in per cent."""
        return self.bounds == (0.0, 1.0)

    @property
    def lead(self) -> str:
        """What a difference is of, before it; accuracy goes without saying."""
        return "" if self.is_accuracy else f"{self.label} "

    def value(self, value: float) -> str:
        """``95.1 %``; ``0.5123``."""
        return f"{points(value)} %" if self.is_share else plain(value, _decimals(value))

    def amount(self, difference: float) -> str:
        """The size of a difference: ``1.3 pp``; ``0.012``."""
        if self.is_share:
            return f"{points(difference, 1 if difference >= 0.002 else 2)} pp"
        return plain(difference, _decimals(difference, 2))

    def signed(self, difference: float) -> str:
        """``+0.8 pp``; ``RMSE −0.012``."""
        if self.is_share:
            return f"{self.lead}{signed_points(difference)} pp"
        return f"{self.lead}{signed(difference, _decimals(difference, 2))}"

    def gap(self, mean: float, low: float, high: float, over: str = "") -> str:
        """``+0.8 pp (95 % CI +0.3 to +1.2)``; ``RMSE −0.05 (95 % CI −0.08 to −0.02)``: with the
        decimals that show that an end is not 0, and that the ends are not one.

        Args:
            over: what else is to be said of the interval.
        """
        if self.is_share:
            decimals = 1
            if low * high > 0:
                nearest = 100 * min(abs(low), abs(high))
                decimals = min(max(1, math.ceil(-math.log10(2 * nearest))), 3)
            elif high - low < 0.002:
                decimals = 2
            told = [signed_points(value, decimals) for value in (mean, low, high)]
            unit = " pp"
        else:
            decimals, unit = _decimals_between(mean, low, high), ""
            told = [signed(value, decimals) for value in (mean, low, high)]
        return f"{self.lead}{told[0]}{unit} (95 % CI{over} {told[1]} to {told[2]})"

    def margin(self, equivalence: float) -> str:
        """What a difference lies within that does not matter: ``±0.5 pp``; ``±0.0051``."""
        if self.is_share:
            return f"±{100 * equivalence:.3g} pp"
        return f"±{plain(equivalence, _decimals(equivalence, 2))}"

    # ── in tables and figures ─────────────────────────────────────────────────────────────────

    @property
    def short(self) -> str:
        """What a narrow column is called."""
        return "acc" if self.is_accuracy else self.label

    @property
    def unit(self) -> str:
        """Behind the name of a column or an axis of values: ``, %``; nothing."""
        return ", %" if self.is_share else ""

    @property
    def unit_of_differences(self) -> str:
        """The same of differences: ``pp``; the label."""
        return "pp" if self.is_share else self.label

    @property
    def factor(self) -> float:
        """What values are multiplied by to be drawn or listed."""
        return 100.0 if self.is_share else 1.0

    def cell(self, mean: float, interval: Interval | None = None) -> tuple[str, str]:
        """A value and its interval in a table: ``97.49`` and ``[96.90, 98.08]``, or nothing."""
        if self.is_share:
            mean, ends, decimals = 100 * mean, _ends(interval, 100), 2
        else:
            ends = _ends(interval, 1)
            decimals = _decimals(mean)
            if ends and ends[0] < ends[1]:
                decimals = max(decimals, _decimals((ends[1] - ends[0]) / 2, 2))
        between = ", ".join(plain(end, decimals) for end in ends)
        return plain(mean, decimals), f"[{between}]" if ends else ""

    def lead_cell(self, mean: float | None, interval: Interval | None = None) -> tuple[str, str]:
        """A difference and its interval in a table: ``+0.83`` and ``[+0.31, +1.24]``."""
        if mean is None or not math.isfinite(mean):
            return _NOTHING, ""
        if self.is_share:
            mean, ends, decimals = 100 * mean, _ends(interval, 100), 2
        else:
            ends = _ends(interval, 1)
            decimals = _decimals_between(mean, *ends) if ends else _decimals(mean, 3)
        between = ", ".join(signed(end, decimals) for end in ends)
        return signed(mean, decimals), f"[{between}]" if ends else ""


def measure_of(name: str) -> Measure:
    """Accuracy, or a registered metric.

    Raises:
        KeyError: no module has registered it: its direction is not known.
    """
    if not is_known(name):
        raise KeyError(name)
    return Measure(
        name=name,
        label=metric_label(name),
        greater_is_better=greater_is_better(name),
        bounds=metric_bounds(name),
    )


OF_ACCURACY = measure_of(ACCURACY)


# ── numbers as texts ──────────────────────────────────────────────────────────────────────────


def points(share: float, decimals: int = 1) -> str:
    """A share in per cent, without a sign of nothing."""
    return plain(100 * share, decimals, thousands=False)


def signed_points(share: float, decimals: int = 1) -> str:
    """A difference of shares in percentage points, with its sign: ``+0.8``."""
    return signed(100 * share, decimals, thousands=False)


def plain(value: float, decimals: int, *, thousands: bool = True) -> str:
    """``0.5123``, ``−12,345``; no sign of nothing."""
    if not math.isfinite(value):
        return _NOTHING if math.isnan(value) else ("∞" if value > 0 else "−∞")
    text = f"{value:{',' if thousands else ''}.{decimals}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def signed(value: float, decimals: int, *, thousands: bool = True) -> str:
    """The same with its sign: ``+0.012``."""
    text = plain(value, decimals, thousands=thousands)
    return text if text.startswith("−") or not text.strip("0.,") else f"+{text}"


def _decimals(value: float, digits: int = _DIGITS) -> int:
    """After which a number has so many digits that matter."""
    if not value or not math.isfinite(value):
        return digits - 1
    return min(max(0, digits - 1 - math.floor(math.log10(abs(value)))), _MOST_DECIMALS)


def _decimals_between(mean: float, low: float, high: float) -> int:
    """Two digits of the half-width, and more where an end would read as 0."""
    decimals = _decimals((high - low) / 2, 2) if high > low else _decimals(mean, 2)
    if low * high > 0:
        nearest = min(abs(low), abs(high))
        decimals = max(decimals, math.ceil(-math.log10(2 * nearest)))
    return min(decimals, _MOST_DECIMALS)


def _ends(interval: Interval | None, factor: float) -> tuple[float, ...]:
    return () if interval is None else (factor * interval.low, factor * interval.high)
