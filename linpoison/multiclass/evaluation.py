"""Errors of a defender of k classes, with and without sanitisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.dataset import Dataset
from ..core.errors import InputError
from ..core.model import MultiModel
from ..core.poison import Poison
from ..core.results import UNDEFENDED
from ..core.validation import Array, Matrix, check_number
from ..defenses import DEFENSES, make_defense
from ..defenses.base import Codes, Defense, keep_least
from ..sets import FeasibleSet, intersect
from .learners import MultiLearner
from .regions import loss_halfspaces

ABLE = tuple(name for name, kind in DEFENSES.items() if kind.many_classes or kind.caps_loss)
"""Defences of more than two classes; the loss is that of `MultiLossDefense`."""
CHEAP = tuple(name for name in ABLE if DEFENSES[name].cheap)
"""Those that are run by default."""


class MultiLossDefense(Defense):
    """Score the loss of a model of k classes that was trained on all the rows.

    The hinge is scored without its clip at zero, ``1 - (s_y - max_{j != y} s_j)``, so that rows that
    are fitted well have no ties; cross-entropy is scored as it is.

    Parameters
    ----------
    remove : float, default 0.05
    variant : {"paper", "reference"}, default "paper"
        The same in both.
    learner : MultiLearner
        How the model is trained, and with which loss.

    Attributes
    ----------
    model_ : MultiModel

    References
    ----------
    Koh, Steinhardt and Liang (2022), section 2.2, "loss defense"; equation (34) for the loss.
    """

    def __init__(self, remove: float = 0.05, variant: str = "paper", learner: Any = None) -> None:
        super().__init__(remove, variant)
        self.learner = learner

    def fit_from_model(self, data: Dataset, model: MultiModel) -> MultiLossDefense:
        """Like `fit`, with a model that has been trained on these very rows already."""
        self._check()
        rows, codes = self._begin(data.X, data.codes)
        self.model_ = model
        return self._finish(rows, codes)

    def _check(self) -> None:
        if not isinstance(self.learner, MultiLearner):
            raise InputError("a MultiLearner for the loss defence", repr(self.learner))

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        self._check()
        self.model_ = self.learner.fit(Dataset.coded(X, codes, n_classes=self.classes_.size))

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        loss = self.learner.problem.loss
        return np.asarray(loss.rank(self.model_.scores(X), codes))

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        """Of the hinge; for cross-entropy the set of rows whose hinge allows no more than that loss."""
        if self.learner.problem.loss.name != "crammer_singer":
            raise InputError("Crammer and Singer's loss for a set made of half-spaces", self.learner.problem.loss.name)
        return intersect(*loss_halfspaces(self.model_, code, threshold))


@dataclass(frozen=True, eq=False)
class MultiEvaluation:
    """Outcome of one poison.

    Parameters
    ----------
    error : dict of str to float
        Error on the rows asked for, by defence; "none" is no defence.
    kept : dict of str to float
        Share of the poison copies that a defence keeps.
    models : dict of str to MultiModel
    """

    error: dict[str, float]
    kept: dict[str, float]
    models: dict[str, MultiModel] = field(repr=False)

    @property
    def worst(self) -> float:
        """The least error over the defences."""
        defended = [value for name, value in self.error.items() if name != UNDEFENDED]
        return min(defended) if defended else self.error[UNDEFENDED]


@dataclass(frozen=True, eq=False)
class MultiEvaluator:
    """Clean rows, a learner and the defences that one poison after another is scored under.

    Each defence is fitted on clean rows and poison copies, drops a share of each class, and the
    learner is trained on the rest.

    Parameters
    ----------
    train : Dataset
        Clean rows of weight one.
    learner : MultiLearner
    defenses : sequence of str
        Among `linpoison.defenses.DEFENSES`; the slab needs two classes.
    remove : float, default 0.05

    References
    ----------
    Koh, Steinhardt and Liang (2022), sections 2 and 5.
    """

    train: Dataset
    learner: MultiLearner
    defenses: Sequence[str] = CHEAP
    remove: float = 0.05

    def __post_init__(self) -> None:
        check_number(self.remove, "remove", at_least=0, below=1)
        for name in self.defenses:
            if name not in ABLE:
                raise InputError(f"a defence among {', '.join(ABLE)}", repr(name), "Others need two classes.")

    def score(self, poison: Poison | None, rows: Dataset) -> MultiEvaluation:
        """Errors on `rows` after training on the clean rows and a poison of whole copies (or none)."""
        data = self.train if poison is None else self.train.mix(poison.expanded())
        models = {UNDEFENDED: self.learner.fit(data)}
        kept: dict[str, float] = {}
        planted = data.n - self.train.n
        for name in self.defenses:
            chosen = self._keep(name, data, models[UNDEFENDED])
            models[name] = self.learner.fit(data.take(chosen))
            kept[name] = float((chosen >= self.train.n).sum() / planted) if planted else float("nan")
        return MultiEvaluation({name: model.error(rows) for name, model in models.items()}, kept, models)

    def _keep(self, name: str, data: Dataset, undefended: MultiModel) -> Codes:
        defense = make_defense(name, remove=self.remove)
        if defense.caps_loss:
            scores = self.learner.problem.loss.rank(undefended.scores(data.X), data.codes)
            return keep_rows(scores, data.codes, data.k, self.remove)
        return np.asarray(defense.fit(data.X, data.codes).sample_indices_)


def keep_rows(scores: Array, y: Any, k: int, remove: float) -> Codes:
    """The rows that a defence with these scores keeps, ascending."""
    kept = [keep_least(scores, np.flatnonzero(y == label), remove, label) for label in range(k)]
    return np.sort(np.concatenate(kept))
