"""What damage is measured by: losses of single rows, averaged over parts of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from .costs import read_costs
from .dataset import Dataset
from .errors import CapabilityError, InputError
from .model import LinearModel
from .validation import Array, Codes, Mask


@dataclass(frozen=True)
class Measure:
    """A figure in [0, 1] of a model on some rows, greater is worse.

    ::

        M(model) = sum_p  share_p  sum_{i in p} w_i l_i / sum_{i in p} w_i

    with parts ``p`` of the rows, sample weights ``w`` and losses ``l`` of the rows, in [0, 1]. An attack that follows
    gradients or margins raises the error of rows that weigh ``share_p / sum_{i in p} w_i`` times as much; what it
    finds is ranked, and all figures are, by the measure itself.

    Parameters
    ----------
    argument : str
        What stands behind the colon of its name: a label value or a file.
    label : float, optional
        The label of that value among the rows, once they are known (`bound`).

    Examples
    --------
    >>> rows = Dataset([[0.0], [1.0], [2.0], [3.0]], [-1, -1, -1, 1])
    >>> missed = parse_measure("recall:1").bound(rows)
    >>> missed.of(LinearModel([0.0], -1.0), rows), ERROR.of(LinearModel([0.0], -1.0), rows), missed.words
    (1.0, 0.25, 'missed share of class 1')
    """

    argument: str = ""
    label: float | None = None

    kind: ClassVar[str]
    """The first word of its name."""
    takes: ClassVar[str] = ""
    """What has to stand behind the colon, in words."""
    of_rows: ClassVar[bool] = True
    """Whether it is, of two classes, the error on some of the rows, which a certificate can bound."""
    of_pairs: ClassVar[bool] = False
    """Whether it is a mean over pairs of rows, one of each part, and losses are shares of such pairs."""

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return self.kind + (f":{self.argument}" if self.argument else "")

    @property
    def words(self) -> str:
        """What a figure of it is, without an article."""
        return self.kind

    @property
    def facts(self) -> dict[str, Any]:
        """What figures depend on beside the name."""
        return {}

    def bound(self, rows: Dataset) -> Self:
        """The measure with its label looked up among those of the rows.

        Raises
        ------
        InputError
            If they have no such class.
        """
        return self

    def parts(self, rows: Dataset) -> list[tuple[float, Mask]]:
        """Shares that add up to 1, and which rows each is averaged over."""
        return [(1.0, np.ones(rows.n, dtype=bool))]

    def losses(self, model: LinearModel, rows: Dataset) -> Array:
        """The loss of each row."""
        return np.asarray(model.predict(rows.X) != rows.y, dtype=np.float64)

    def of(self, model: LinearModel, rows: Dataset) -> float:
        """The figure of a model on some rows; parts without rows count as 0."""
        losses = self.losses(model, rows)
        return sum(
            share * float(np.average(losses[part], weights=rows.weight[part]))
            for share, part in self.parts(rows)
            if rows.weight[part].sum() > 0
        )

    def weighted(self, rows: Dataset) -> Dataset:
        """The rows with the weights under which their error stands for this measure; some may be 0."""
        parts = [(share, rows.weight * part) for share, part in self.parts(rows) if rows.weight[part].sum() > 0]
        total = sum(float(own.sum()) for _, own in parts)
        weight = sum((share * own * (total / own.sum()) for share, own in parts), np.zeros(rows.n)) * self._worth(rows)
        return replace(rows, weight=weight * (total / weight.sum()) if weight.any() else weight)

    def searched(self, rows: Dataset) -> Dataset:
        """`weighted`, without the rows that count for nothing."""
        weighted = self.weighted(rows)
        return weighted if (weighted.weight > 0).all() else weighted.take(weighted.weight > 0)

    def counted(self, rows: Dataset) -> int:
        """Of how many rows the figure is a share: the inverse of the most by which one of them moves it."""
        least = min(int(part.sum()) / share for share, part in self.parts(rows))
        return round(least / 2 if self.of_pairs else least)

    def require(self, rows: Dataset, what: str) -> None:
        """Raise unless there are rows to measure on."""
        if any(not rows.weight[part].sum() > 0 for _, part in self.parts(rows)):
            raise InputError(f"{what} with rows for the metric {self.name}", "none", "Take more rows, or another one.")

    def _worth(self, rows: Dataset) -> Any:
        """The greatest loss of each row."""
        return 1.0


@dataclass(frozen=True)
class PlainError(Measure):
    """The share of misclassified rows, which every model states itself."""

    kind: ClassVar[str] = "error"

    def of(self, model: LinearModel, rows: Dataset) -> float:
        """See `Measure.of`."""
        return model.error(rows)

    def weighted(self, rows: Dataset) -> Dataset:
        """The rows as they are."""
        return rows


@dataclass(frozen=True)
class Balanced(Measure):
    """The mean over the classes of the error on each: 1 less the balanced accuracy."""

    kind: ClassVar[str] = "balanced"
    of_rows: ClassVar[bool] = False

    @property
    def words(self) -> str:
        """See `Measure.words`."""
        return "balanced error"

    def parts(self, rows: Dataset) -> list[tuple[float, Mask]]:
        """The classes that have rows."""
        inside = [rows.y == label for label in rows.labels]
        present = [mask for mask in inside if mask.any()]
        return [(1 / len(present), mask) for mask in present]


@dataclass(frozen=True)
class _OfClass(Measure):
    takes: ClassVar[str] = "a class"

    def bound(self, rows: Dataset) -> Self:
        """See `Measure.bound`."""
        known = dict(zip(map(str, rows.label_values(rows.labels)), rows.labels, strict=True))
        if self.argument not in known:
            raise InputError(
                f"a class of the metric {self.kind} among {', '.join(known)}", repr(self.argument),
                "Name it by its value in the label column.",
            )  # fmt: skip
        return replace(self, label=known[self.argument])


@dataclass(frozen=True)
class Missed(_OfClass):
    """The share of a class that is not recognised: 1 less its recall."""

    kind: ClassVar[str] = "recall"

    @property
    def words(self) -> str:
        """See `Measure.words`."""
        return f"missed share of class {self.argument}"

    def parts(self, rows: Dataset) -> list[tuple[float, Mask]]:
        """The rows of the class."""
        return [(1.0, rows.y == self.label)]


@dataclass(frozen=True)
class FalseCalls(_OfClass):
    """The share of the other rows that is taken for a class: its false positive rate."""

    kind: ClassVar[str] = "fpr"

    @property
    def words(self) -> str:
        """See `Measure.words`."""
        return f"share of the other rows taken for class {self.argument}"

    def parts(self, rows: Dataset) -> list[tuple[float, Mask]]:
        """The rows of the other classes."""
        return [(1.0, rows.y != self.label)]

    def losses(self, model: LinearModel, rows: Dataset) -> Array:
        """Whether a row is taken for the class."""
        return np.asarray(model.predict(rows.X) == self.label, dtype=np.float64)


@dataclass(frozen=True)
class Ranking(Measure):
    """1 less the area under the ROC curve: the chance that a row of class -1 scores above one of class +1.

    The loss of a row is the share of the rows of the other class that stand on its wrong side, ties by half, so that
    the mean over either class is the figure. Its variance is the sum of those of the two means (DeLong, DeLong and
    Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating characteristic curves",
    Biometrics 44, 1988).
    """

    kind: ClassVar[str] = "auc"
    of_rows: ClassVar[bool] = False
    of_pairs: ClassVar[bool] = True

    @property
    def words(self) -> str:
        """See `Measure.words`."""
        return "area above the ROC curve (1 - AUC)"

    def bound(self, rows: Dataset) -> Self:
        """Itself, for rows of two classes."""
        if rows.n_classes is not None:
            raise CapabilityError("two classes with the metric auc", f"{rows.k} classes", "Use balanced.")
        return self

    def parts(self, rows: Dataset) -> list[tuple[float, Mask]]:
        """The two classes."""
        return [(0.5, rows.y < 0), (0.5, rows.y > 0)]

    def losses(self, model: LinearModel, rows: Dataset) -> Array:
        """Of each row the share of the other class that is on its wrong side."""
        towards = rows.y * model.decision_function(rows.X)
        losses = np.zeros(rows.n)
        for _, mine in self.parts(rows):  # in the order of its own class a row of the other one has the score -towards
            losses[mine] = _share_above(towards[mine], -towards[~mine], rows.weight[~mine])
        return losses


def _share_above(values: Array, others: Array, weight: Array) -> Array:
    """The weight of the others that is above each value, ties by half, as a share of all."""
    order = np.argsort(others, kind="stable")
    upto = np.concatenate([[0.0], np.cumsum(weight[order])])
    below = upto[np.searchsorted(others, values, sorter=order)]
    up_to = upto[np.searchsorted(others, values, side="right", sorter=order)]
    return np.asarray(1 - (below + up_to) / (2 * max(float(upto[-1]), 1e-300)))


@dataclass(frozen=True)
class Costs(Measure):
    """The mean cost of a row in units of the greatest cost, of a matrix of costs by true and predicted label.

    Parameters
    ----------
    costs : tuple of tuple of float
        By the codes of true and predicted label, the greatest 1; none for right answers.
    """

    costs: tuple[tuple[float, ...], ...] = ()

    kind: ClassVar[str] = "cost"
    takes: ClassVar[str] = "a file of costs"
    of_rows: ClassVar[bool] = False

    @property
    def words(self) -> str:
        """See `Measure.words`."""
        return "mean cost (share of the greatest cost)"

    @property
    def facts(self) -> dict[str, Any]:
        """The costs."""
        return {"costs": [list(row) for row in self.costs]}

    def bound(self, rows: Dataset) -> Self:
        """With the costs that the file names for these classes."""
        return replace(self, costs=read_costs(self.argument, [str(value) for value in rows.label_values(rows.labels)]))

    def parts(self, rows: Dataset) -> list[tuple[float, Mask]]:
        """The classes, each with its share of the rows."""
        inside = [rows.y == label for label in rows.labels]
        total = max(rows.total, 1e-300)
        return [(float(rows.weight[mask].sum()) / total, mask) for mask in inside if rows.weight[mask].sum() > 0]

    def losses(self, model: LinearModel, rows: Dataset) -> Array:
        """The cost of what is said of each row."""
        said = model.predict(rows.X)
        codes = (said > 0) if rows.n_classes is None else said
        return np.asarray(self.costs)[rows.codes, _codes(codes)]

    def _worth(self, rows: Dataset) -> Any:
        return np.asarray(self.costs).max(axis=1)[rows.codes]


def _codes(values: Any) -> Codes:
    return np.asarray(values, dtype=np.intp)


ERROR = PlainError()
MEASURES: Mapping[str, type[Measure]] = {
    one.kind: one for one in (PlainError, Balanced, Missed, FalseCalls, Ranking, Costs)
}
"""Measures by the first word of their name."""
METRICS = ", ".join(
    f"{kind}:{'FILE' if kind == 'cost' else 'CLASS'}" if one.takes else kind for kind, one in MEASURES.items()
)


def parse_measure(text: Any) -> Measure:
    """A measure by name, before the classes of the rows are known.

    Raises
    ------
    InputError
        For any other name.

    Examples
    --------
    >>> parse_measure("fpr:spam").words
    'share of the other rows taken for class spam'
    """
    kind, colon, argument = text.partition(":") if isinstance(text, str) else ("", "", "")
    found = MEASURES.get(kind)
    if found is None or bool(argument) != bool(found.takes) or bool(colon) != bool(argument):
        raise InputError(f"a metric among {METRICS}", repr(text))
    return found(argument)
