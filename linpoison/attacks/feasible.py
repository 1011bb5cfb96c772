"""The sets that the attacker keeps its points in: the chosen defences as the defender will fit them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..core import LABELS, Array, LinearModel, Poison, check_number
from ..defenses import Defense
from ..losses import MarginLoss
from ..sets import ByLabel, FeasibleSet, Halfspace, domain_set, everywhere, in_domain, intersect, loss_cap
from .scenario import Scenario

_MANY = 1_000_000  # rows, of which a quota is a share
_MORE = 1.1  # the first refit moves the scores, and what is dropped then is not only clean


@dataclass(frozen=True)
class SetPolicy:
    """How the attacker predicts the defender's thresholds.

    Parameters
    ----------
    assumed_removal : float, optional
        Before any poison is known: thresholds are this upper quantile of the clean scores of a class. By default a
        tenth more than what each defence drops of the class if the whole budget joins it, ``r(n_c + m) / n_c``: all
        of these rows are clean where the poison stays. (The reference implementation assumes 0.10 throughout.)
    beyond : float, optional
        The same, as so many times what each defence removes of a class without poison, and at least the quota with the
        budget in, ``r(n_c + m) / n_c``.
    costly_entries : int, default 400_000
        Where the description of a set could have more entries than this (`Defense.set_entries`), as that of the SVD
        defence, it is left out of the program; that defence is met by concentration, and the scoring shows whether
        that worked.
    envelope : bool, default True
        Where rows are counts, use the envelope of the ball, which holds the *expected* distance of a
        rounded row. Without it points lie in the ball itself, and rounding carries rows out of it
        (the ablation of Koh et al., section 5.5).
    """

    assumed_removal: float | None = None
    beyond: float | None = None
    costly_entries: int = 400_000
    envelope: bool = True

    def __post_init__(self) -> None:
        if self.assumed_removal is not None:
            check_number(self.assumed_removal, "assumed_removal", above=0, below=1)
        if self.beyond is not None:
            check_number(self.beyond, "beyond", at_least=1)

    def share(self, defense: Defense, n: int, n_poison: int) -> float:
        """Share of the clean scores of a class of `n` rows above the first threshold."""
        if self.assumed_removal is not None:
            return self.assumed_removal
        quota = defense.n_dropped(n + n_poison) / n
        if self.beyond is not None:
            return min(max(self.beyond * defense.n_dropped(_MANY) / _MANY, quota), 1.0)
        return min(_MORE * quota, 1.0)


@dataclass(frozen=True, eq=False)
class FeasibleRegion:
    """Builds the sets of both classes for one decoy.

    Parameters
    ----------
    scenario : Scenario
        With one clean row for each copy (`fit` sees to it), since a defence drops rows.
    policy : SetPolicy
    detectors : mapping of str to Defense
        Fitted sanitisers whose sets do not depend on the decoy.
    poison : Poison, optional
        Read detectors and thresholds with these rows in the training set (Algorithm 1 of Koh et
        al.: the defender fits on clean and poison). Without it they are fitted on clean rows.
    learned : LinearModel, optional
        The undefended model that `poison` plants; its loss is capped beside the decoy's.
    cap : float, optional
        A fixed cap on a row's loss under the decoy, in place of what loss defences are predicted to let through.
    solver : str, optional
        A conic solver for every support and projection; the structured ones by default.
    """

    scenario: Scenario
    policy: SetPolicy
    detectors: Mapping[str, Defense]
    poison: Poison | None = None
    learned: LinearModel | None = None
    cap: float | None = None
    solver: str | None = None

    @classmethod
    def fit(cls, scenario: Scenario, policy: SetPolicy, poison: Poison | None = None) -> FeasibleRegion:
        """Fit every detector that has a convex set, can afford it, and does not depend on the decoy.

        Parameters
        ----------
        scenario : Scenario
        policy : SetPolicy
        poison : Poison, optional
            Rows to fit with; those of ``scenario.known`` by default.
        """
        poison = scenario.known if poison is None else poison
        defender = scenario.defender
        n, d = scenario.train.n, scenario.train.d
        detectors = {
            name: defender.fit_detector(name, poison)
            for name, defense in scenario.defenses.items()
            if defense.has_convex_set and not defense.caps_loss and defense.set_entries(n, d) <= policy.costly_entries
        }
        train = defender.train
        learned = None if poison is None else defender.learner.fit(train.mix(poison.expanded()))
        return cls(replace(scenario, train=train), policy, detectors, poison, learned)

    def sets(self, decoy: LinearModel | None = None) -> ByLabel:
        """Domain, detectors, and the cap on the decoy's loss where the loss defence is chosen; without a decoy no cap.

        Where none of them applies the set of a class is R^d.
        """
        return ByLabel({label: self._of_class(label, decoy) for label in LABELS}).solved_by(self.solver)

    def _of_class(self, label: float, decoy: LinearModel | None) -> FeasibleSet:
        scenario = self.scenario
        domain, d = scenario.train.domain, scenario.train.d
        parts = [self._detector_set(detector, label) for detector in self.detectors.values()]
        if self.policy.envelope:
            parts = [in_domain(part, domain) for part in parts]
        hull = domain_set(domain, d)
        enclosed = any(part.piece and part.piece.counts for part in parts) and not np.any(domain.lower)
        if hull is not None and not enclosed:
            parts.append(hull)
        parts += self._loss_sets(label, decoy)
        if not parts:
            return everywhere(d)
        return intersect(*parts)

    def _loss_sets(self, label: float, decoy: LinearModel | None) -> list[FeasibleSet]:
        if decoy is None:
            return []
        if self.cap is not None:
            return [loss_cap(decoy, label, self.scenario.problem.loss, self.cap)]
        models = [decoy] if self.learned is None else [decoy, self.learned]
        capping = [defense for defense in self.scenario.defenses.values() if defense.caps_loss]
        return [self._loss_set(defense, label, model) for defense in capping for model in models]

    def _detector_set(self, detector: Defense, label: float) -> FeasibleSet:
        rows = self.scenario.train.of_class(label)
        scores = detector.decision_function(rows.X, rows.y)
        return detector.feasible_set(label, self._threshold(scores, label, detector))

    def _loss_set(self, defense: Defense, label: float, model: LinearModel) -> FeasibleSet:
        loss, rows = self.scenario.problem.loss, self.scenario.train.of_class(label)
        if not model.coef.any():  # all rows of a class have one loss
            return everywhere(model.d)
        limit = self._threshold(loss.value(model.margins(rows)), label, defense)
        return loss_cap(model, label, loss, max(limit, 1e-6))

    def _threshold(self, clean_scores: Array, label: float, defense: Defense) -> float:
        """The greatest score with which all poison rows of a class stay, read off its clean rows."""
        if not defense.follows_poison:
            return float(defense.thresholds_[label])
        if self.poison is None:
            share = self.policy.share(defense, clean_scores.size, self.scenario.n_poison)
            return float(np.quantile(clean_scores, 1 - share))
        total = clean_scores.size + round(float(self.poison.count[self.poison.y == label].sum()))
        last_removed = np.sort(clean_scores)[-min(max(defense.n_dropped(total), 1), clean_scores.size)]
        return float(last_removed) * defense.threshold_factor


def active(sets: ByLabel, model: LinearModel, loss: MarginLoss) -> ByLabel:
    """The rows of the sets on which a loss with a kink pulls at a model; the sets themselves where none can be told."""
    if loss.kink is None or not model.coef.any():
        return sets
    return sets.intersect(
        {label: Halfspace(label * model.coef, loss.kink - label * model.intercept) for label in LABELS}
    )
