"""Decoys for k classes: models that err on the target rows although they fit the clean rows well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import InputError
from ...core.validation import check_integer, check_number
from ...learners import MultiLearner
from ...losses.multi import margins, rivals
from ..decoys import Decoy, pareto_front


@dataclass(frozen=True)
class MultiLabelFlips:
    """Train on clean rows and copies of the target rows of least margin, relabelled with the runner-up class.

    Parameters
    ----------
    quantiles : sequence of float
        Shares of the target rows that are flipped.
    repeats : sequence of int
        Copies of each flipped row.

    References
    ----------
    Koh, Steinhardt, Liang (2022), Algorithm 3 and appendix B.2, for two classes. How decoys were
    made for ten the paper does not say; the runner-up is the class that costs least.
    """

    quantiles: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5)
    repeats: Sequence[int] = (2, 5, 8)

    def __post_init__(self) -> None:
        if not self.quantiles or not self.repeats:
            raise InputError("at least one quantile and one number of repeats", "none")
        for share in self.quantiles:
            check_number(share, "quantile", above=0, at_most=1)
        for copies in self.repeats:
            check_integer(copies, "repeats", at_least=1)

    def generate(self, train: Dataset, target: Dataset, learner: MultiLearner) -> list[Decoy]:
        """The decoys that no other beats in both error and clean loss, greatest error first."""
        scores = learner.fit(train).decision_function(target.X)
        gaps, runner_up = margins(scores, target.codes), rivals(scores, target.codes)
        decoys = []
        for share in self.quantiles:
            rows = np.flatnonzero(gaps <= np.quantile(gaps, share))
            for copies in self.repeats:
                flipped = replace(
                    target.take(rows), y=runner_up[rows].astype(np.float64), weight=np.full(rows.size, float(copies))
                )
                model = learner.fit(train.mix(flipped))
                loss = learner.problem.mean_loss(model, train)
                decoys.append(Decoy(model, share, copies, model.error(target), loss))
        return pareto_front(decoys)
