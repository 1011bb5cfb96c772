"""Learners as this room sees them: rows and a seed in, something that predicts out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sklearn.base import clone

from ..core import InputError
from ..learners import make_learner
from ..losses import Problem
from ..risk import Sample
from .parts import counted


class Predictor(Protocol):
    """A trained model."""

    def predict(self, X: Any) -> Any:
        """Labels, shape (n,)."""


class SubpopulationTrainer(Protocol):
    """Learns from scratch."""

    def fit(self, rows: Sample, seed: int) -> Predictor:
        """Train on rows; the seed stands for all that training draws at random."""


@dataclass(frozen=True)
class EstimatorTrainer:
    """Any scikit-learn classifier; every parameter called `random_state` takes the seed.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> rows = Sample([[-1.0], [1.0]], ["no", "yes"])
    >>> EstimatorTrainer(LogisticRegression()).fit(rows, 0).predict([[2.0]])
    array(['yes'], dtype='<U3')
    """

    estimator: Any

    def fit(self, rows: Sample, seed: int) -> Any:
        """Train a clone."""
        fresh = clone(self.estimator)
        seeds = [name for name in fresh.get_params() if name.rpartition("__")[2] == "random_state"]
        fresh.set_params(**dict.fromkeys(seeds, seed))
        return fresh.fit(counted(rows).X, rows.y)


@dataclass(frozen=True)
class ProblemTrainer:
    """A learning problem of the linear core, for labels in {-1, +1}. Nothing is random."""

    problem: Problem

    def fit(self, rows: Sample, seed: int) -> Any:
        """The `LinearModel` that minimises the objective; `seed` has no influence."""
        return make_learner(self.problem).fit(rows.dataset())


@dataclass(frozen=True, eq=False)
class RiskPredictor:
    """Parameters of a `linpoison.risk.Risk` that predict.

    Parameters
    ----------
    risk : Risk
    w : Vector
    """

    risk: Any
    w: Any

    def predict(self, X: Any) -> Any:
        """Labels, as an ndarray of shape (n,)."""
        labels = self.risk.predict(self.w, X)
        return labels.detach().cpu().numpy() if hasattr(labels, "detach") else labels

    def representation(self, X: Any) -> Any:
        """What the last linear layer is given: for `ClusterMatch`."""
        return self.risk.features(self.w, X)


@dataclass(frozen=True, eq=False)
class RiskTrainer:
    """A model of `deep`, linear or torch, with one of its trainers.

    Parameters
    ----------
    risk : Risk
    trainer : linpoison.risk.Trainer
    """

    risk: Any
    trainer: Any

    def __post_init__(self) -> None:
        if not hasattr(self.trainer, "fit"):
            raise InputError("a trainer of deep, such as LBFGSTrainer()", repr(self.trainer))

    def fit(self, rows: Sample, seed: int) -> RiskPredictor:
        """Train from parameters drawn with the seed."""
        trained = self.trainer.fit(self.risk, Sample(self.risk.rows(rows.X), rows.y, rows.weights), seed=seed)
        return RiskPredictor(trained.risk, trained.w)
