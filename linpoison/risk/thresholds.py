"""The least mass of poison that can make a model optimal, and the least residual that less of it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from ..core import CapabilityError, check_number
from ..core.validation import Array
from .arrays import norm, row_shape, to_numpy
from .protocols import Risk, Vector
from .samples import Sample


@dataclass(frozen=True)
class Reachability:
    """What the last linear layer of a target needs of poison, wherever it lies.

    Parameters
    ----------
    threshold : float
        Least mass, as a fraction of the clean rows; infinite if no mass will do, NaN for an unknown loss. Zero, where
        the `numerator` is not positive, says that the condition asks for no poison: of a `kind` "necessary" that
        proves nothing, of "exact" any mass does.
    numerator : float
        ``<w, g + reg P w>`` over the last layer.
    penalty : float
        ``reg |P w|^2`` over the last layer.
    reach : float
        ``W(1/e)`` of logistic regression, ``W((c - 1) / e)`` of cross-entropy, in general `Risk.reach`.
    length : float
        ``|w|`` over the last layer.
    kind : {"exact", "necessary"}
        Exact for a linear model of one output without a bias: above the threshold some poison does it.
        Otherwise the other equations of the condition may ask for more.
    """

    threshold: float
    numerator: float
    penalty: float
    reach: float
    length: float
    kind: Literal["exact", "necessary"]

    def lower_bound(self, epsilon: float) -> float:
        """``max(0, numerator + epsilon penalty - epsilon reach) / |w|``: no poison of this mass has a smaller residual.

        For a `kind` "exact" with logistic loss it is attained.
        """
        check_number(epsilon, "epsilon", at_least=0)
        gap = self.numerator + epsilon * (self.penalty - self.reach)
        return max(gap, 0.0) / self.length if gap > 0 else 0.0


@dataclass(frozen=True, eq=False)
class Condition:
    """What poison of mass e has to cancel at a target, per clean row: its own pull, and

    ::

        rest + e growth + kinks a,     0 <= a <= 1

    Parameters
    ----------
    rest : Vector
        The gradient on the clean rows, those on a kink of the loss left out, with the regulariser.
    growth : Vector
        What the regulariser gains as the poison's mass does; zero for one of a fixed sum.
    kinks : matrix of shape (p, k), optional
        The gradient of each of k rows on a kink, of which any share in [0, 1] is a subgradient.
    """

    rest: Vector
    growth: Vector
    kinks: Any = None

    @classmethod
    def of(cls, risk: Risk, w: Vector, data: Sample) -> Condition:
        """That of a smooth loss at `w`."""
        penalty = risk.penalty_grad(w)
        return cls(risk.data_grad(w, data.X, data.y, data.weights) + penalty, penalty)

    @property
    def n_kinks(self) -> int:
        """How many multipliers are free."""
        return 0 if self.kinks is None else int(self.kinks.shape[1])


def gives_scores(risk: Risk, w: Vector, data: Sample) -> bool:
    """Whether the scores of a few rows double with the parameters of the head, as <w, dl/dw> = s dl/ds asks for."""
    few = _few(risk, data)
    twice = 1.0 * w
    twice[risk.head] = 2 * twice[risk.head]
    once, found = (to_numpy(risk.scores(each, few)) for each in (1.0 * w, twice))
    return _alike(found - once, once)


def reachability(risk: Risk, w: Vector, data: Sample, condition: Condition | None = None) -> Reachability:
    """What it takes to make `w` optimal on the clean rows and poison from anywhere.

    With g the gradient of the mean clean loss, poison of mass ``e`` that makes w optimal satisfies::

        0 = <w, r>  =  <w, g> + (1 + e) reg |P w|^2 + sum_j a_j <w, d/dw l(z_j)>
                   >=  <w, g> + (1 + e) reg |P w|^2 - e reach

    over the last linear layer (weights *and* bias), so ``e >= (<w, g> + reg |P w|^2) / (reach - reg |P w|^2)``.
    Where the left side is the greater, ``|r| >= <w, r> / |w|`` bounds the residual from below.

    Parameters
    ----------
    risk : Risk
        Of a network, the last linear layer must be what gives the scores: otherwise all is NaN, nothing is proved.
    w : Vector
        The target.
    data : Sample
        Clean rows.
    condition : Condition, optional
        That of the target on them, if it is known.

    References
    ----------
    Lu, Kamath, Yu, Theorems 2-4 of chapter 3 of Lu's thesis, there without the regulariser.

    Examples
    --------
    >>> from linpoison.losses import Logistic
    >>> from linpoison.risk import LinearRisk
    >>> rows = Sample([[1.0, 1.0], [-1.0, 1.0], [0.0, 1.0]], [1.0, 1.0, -1.0])
    >>> toy = reachability(LinearRisk(Logistic(), fit_intercept=False), np.array([0.0, 2 * np.log(2)]), rows)
    >>> round(toy.threshold, 6), round(toy.lower_bound(0.52) ** 2, 9)
    (0.66378, 0.000834117)
    """
    if np.isnan(risk.reach) or not gives_scores(risk, w, data):
        nan = float("nan")
        return Reachability(nan, nan, nan, nan, nan, "necessary")
    condition = Condition.of(risk, w, data) if condition is None else condition
    part = w[risk.head]
    penalty, numerator = float(part @ condition.growth[risk.head]), float(part @ condition.rest[risk.head])
    if condition.n_kinks:
        numerator += float(np.minimum(part @ condition.kinks[risk.head], 0).sum())
    below = risk.reach - penalty
    threshold = 0.0 if numerator <= 0 else numerator / below if below > 0 else float("inf")
    kind: Literal["exact", "necessary"] = "exact" if _is_linear(risk, w, len(part), data) else "necessary"
    return Reachability(threshold, numerator, penalty, risk.reach, norm(part), kind)


def least_residuals(risk: Risk, w: Vector, data: Sample, epsilon: float) -> Array:
    """What poison of mass `epsilon` on s distinct rows leaves of the gradient at least, for s = 0, 1, ...

    A row pulls on the last layer by its features times its slope in the scores, a matrix of rank one. So s rows cancel
    a matrix of rank s, and of the last layer's gradient G, with what the regulariser gains, they leave at least::

        sqrt( sum_(i > s) sigma_i^2 ),      sigma_1 >= sigma_2 >= ... the singular values of G

    by Eckart and Young, whatever the rows, their labels and their weights. The number of entries above zero is the
    least number of distinct rows of poison that makes `w` stationary: rank G, at most ``c - 1`` for cross-entropy of c
    classes without a regulariser.

    Parameters
    ----------
    risk : Risk
    w : Vector
        The target.
    data : Sample
        Clean rows, at each of which the loss has a derivative.
    epsilon : float

    Returns
    -------
    ndarray, shape (r + 1,)
        Falling, with zero at the end; values below 1e-7 of the first are zero, as rows are in the model's precision.

    References
    ----------
    Lu, Kamath, Yu, after equation (3.10) of Lu's thesis: the rank alone.

    Raises
    ------
    CapabilityError
        If the scores are not what the last linear layer gives.

    Examples
    --------
    >>> from linpoison.risk import LinearRisk
    >>> rows = Sample(np.eye(3), [0, 1, 2])
    >>> least_residuals(LinearRisk(3, fit_intercept=False), np.zeros(9), rows, 0.1).round(3).tolist()
    [0.471, 0.333, 0.0]
    """
    check_number(epsilon, "epsilon", at_least=0)
    condition = Condition.of(risk, w, data)
    flat = to_numpy((condition.rest + epsilon * condition.growth)[risk.head])
    some = _few(risk, data)
    scores, h = to_numpy(risk.scores(w, some)), to_numpy(risk.features(w, some))
    sizes, biased = scores.shape[1:] + h.shape[1:], len(flat) == scores.shape[1] * (h.shape[1] + 1)
    if biased:  # the bias is one more feature, of 1
        h = np.column_stack([h, np.ones(len(h))])
    fits = len(flat) == scores.shape[1] * h.shape[1]
    if not fits or not _alike(h @ _matrix(to_numpy(w[risk.head]), sizes, biased).T, scores):
        raise CapabilityError("a last linear layer that gives the scores", "one of which they are no product")
    matrix = _matrix(flat, sizes, biased)
    squares = np.linalg.svd(matrix, compute_uv=False) ** 2
    left = np.sqrt(np.append(np.cumsum(squares[::-1])[::-1], 0.0))
    rank = int((left > 1e-7 * left[0]).sum())
    return np.append(left[:rank], 0.0)


def _matrix(flat: Array, sizes: tuple[int, ...], biased: bool) -> Array:
    """Parameters of a layer, its weight and then its bias, with the bias as the last column."""
    if not biased:
        return flat.reshape(sizes)
    return np.column_stack([flat[: -sizes[0]].reshape(sizes), flat[-sizes[0] :]])


def _few(risk: Risk, data: Sample) -> Any:
    """Rows on which scores are looked at."""
    return risk.rows(data.take(range(min(data.n, 8))).X)


def _alike(found: Array, wanted: Array) -> bool:
    """Whether scores are the same to the precision of models."""
    return bool(np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max())


def _is_linear(risk: Risk, w: Vector, head: int, data: Sample) -> bool:
    """Whether the scores are ``<w, x>`` and nothing else."""
    if risk.margin_loss is None or not head == len(w) == prod(row_shape(data.X)):
        return False
    some = risk.rows(data.take(range(min(data.n, 32))).X)
    flat = some.reshape(len(some), -1)
    scores, linear = to_numpy(risk.scores(w, some))[:, 0], to_numpy((flat * w).sum(axis=1))
    same = np.allclose(scores, linear, rtol=1e-5, atol=1e-7)
    return bool((risk.features(w, some) == flat).all() and same)
