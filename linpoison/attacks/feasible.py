"""The sets that the attacker keeps its points in: the chosen defences as the defender will fit them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.domain import Domain
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.validation import Array, check_number
from ..defenses import Defense
from ..learners import make_learner
from ..losses import MarginLoss
from ..sets import Ball, Box, ByLabel, CountBall, FeasibleSet, domain_set, intersect, loss_cap
from .base import Scenario

LABELS = (1.0, -1.0)


@dataclass(frozen=True)
class SetPolicy:
    """How the attacker predicts the defender's thresholds.

    Parameters
    ----------
    assumed_removal : float, default 0.06
        Before any poison is known: thresholds are this upper quantile of the clean scores of a
        class, a little more than the defender removes. (The reference implementation assumes
        0.10 throughout.)
    l2_factor, slab_factor, loss_factor : float
        Safety factors on thresholds that were read off a defence fitted with the poison in:
        rounding and the next refit move the scores a little.
    costly_entries : int, default 400_000
        A subspace basis with more entries than this is left out of the program; its defence is
        met by concentration, and the scoring shows whether that worked.
    """

    assumed_removal: float = 0.06
    l2_factor: float = 0.985
    slab_factor: float = 0.96
    loss_factor: float = 1.0
    costly_entries: int = 400_000

    def __post_init__(self) -> None:
        check_number(self.assumed_removal, "assumed_removal", above=0, below=1)
        for name in ("l2_factor", "slab_factor", "loss_factor"):
            check_number(getattr(self, name), name, above=0)

    def factor(self, name: str) -> float:
        """Safety factor of a defence's threshold."""
        return float(getattr(self, f"{name}_factor", 1.0))


@dataclass(frozen=True, eq=False)
class FeasibleRegion:
    """Builds the sets of both classes for one decoy.

    Parameters
    ----------
    scenario : Scenario
    policy : SetPolicy
    detectors : mapping of str to Defense
        Fitted sanitisers whose sets do not depend on the decoy.
    poison : Poison, optional
        Read detectors and thresholds with these rows in the training set (Algorithm 1 of Koh et
        al.: the defender fits on clean and poison). Without it they are fitted on clean rows.
    learned : LinearModel, optional
        The undefended model that `poison` plants; its loss is capped beside the decoy's.
    """

    scenario: Scenario
    policy: SetPolicy
    detectors: Mapping[str, Defense]
    poison: Poison | None = None
    learned: LinearModel | None = None

    @classmethod
    def fit(cls, scenario: Scenario, policy: SetPolicy, poison: Poison | None = None) -> FeasibleRegion:
        """Fit every detector that has a convex set and does not depend on the decoy."""
        from sklearn.base import clone

        train = scenario.train if poison is None else scenario.train.mix(poison.expanded())
        detectors = {
            name: clone(defense).fit(train.X, train.y)
            for name, defense in scenario.defenses.items()
            if name not in ("loss", "knn") and not (name == "svd" and poison is not None)
        }
        learned = make_learner(scenario.problem).fit(train) if poison is not None else None
        return cls(scenario, policy, detectors, poison, learned)

    def sets(self, decoy: LinearModel) -> ByLabel:
        """Domain, detectors, and the cap on the decoy's loss where the loss defence is chosen.

        Where none of them applies the set of a class is R^d.
        """
        return ByLabel({label: self._of_class(label, decoy) for label in LABELS})

    def _of_class(self, label: float, decoy: LinearModel) -> FeasibleSet:
        scenario = self.scenario
        domain, d = scenario.train.domain, scenario.train.d
        parts: list[FeasibleSet] = []
        for name, detector in self.detectors.items():
            part = self._detector_set(name, detector, label)
            if part is not None:
                parts.append(_integral(part, domain))
        box = domain_set(domain, d)
        if box is not None and not any(isinstance(part, CountBall) for part in parts):
            parts.append(box)
        if "loss" in scenario.defenses:
            loss = scenario.problem.loss
            models = [decoy] if self.learned is None else [decoy, self.learned]
            parts += [loss_cap(model, label, loss, self._loss_limit(label, model, loss)) for model in models]
        if not parts:
            return Box(np.full(d, -np.inf), np.full(d, np.inf))
        return intersect(*parts)

    def _detector_set(self, name: str, detector: Defense, label: float) -> FeasibleSet | None:
        basis = getattr(detector, "basis_", None)
        if basis is not None and basis.size > self.policy.costly_entries:
            return None
        rows = self.scenario.train.of_class(label)
        scores = detector.decision_function(rows.X, rows.y)
        return detector.feasible_set(label, self._threshold(scores, label, name))

    def _loss_limit(self, label: float, model: LinearModel, loss: MarginLoss) -> float:
        rows = self.scenario.train.of_class(label)
        return max(self._threshold(loss.value(model.margins(rows)), label, "loss"), 1e-6)

    def _threshold(self, clean_scores: Array, label: float, name: str) -> float:
        if self.poison is None:
            return float(np.quantile(clean_scores, 1 - self.policy.assumed_removal))
        poisoned = float(self.poison.count[self.poison.y == label].sum())
        total = clean_scores.size + round(poisoned)
        removed = total - round((1 - self._remove(name)) * total)
        last_removed = np.sort(clean_scores)[-max(removed, 1)]
        return float(last_removed) * self.policy.factor(name)

    def _remove(self, name: str) -> float:
        return float(self.scenario.defenses[name].remove)


def _integral(part: FeasibleSet, domain: Domain) -> FeasibleSet:
    """The ball's envelope for whole-number rows, which holds the expected squared distance."""
    if domain.integral and isinstance(part, Ball) and domain.upper is not None:
        return CountBall(part.center, part.radius, domain.upper)
    return part
