"""Learning from scratch, with the gradient's norm as a certificate: for convex objectives and small networks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from scipy.optimize import minimize

from ..core import check_integer, check_number
from ..core.validation import Array
from .arrays import length, like, norm, on_host, row_shape, to_numpy, where
from .implicit import hessian
from .protocols import Risk, Vector
from .samples import Sample
from .solvers import CG

Valued = Callable[[Vector], tuple[Any, Vector]]
"""A smooth function: its value, as a number of the kind of the vector, and its gradient."""
_PAIRS = 20  # of steps and changes of the gradient that are kept


def quasi_newton(function: Valued, start: Vector, *, steps: int, tol: float, every: int | None = None) -> Vector:
    """Minimise a smooth function by limited-memory BFGS, one evaluation in each iteration.

    Parameters
    ----------
    function : callable
    start : vector
    steps : int
        The most iterations.
    tol : float
        Length of the gradient at which to stop.
    every : int, optional
        Iterations between two looks at whether it is done, see `linpoison.risk.solvers.Krylov`.

    Returns
    -------
    vector
        The point of the least value that a step was taken to.

    References
    ----------
    Nocedal, Wright, "Numerical optimization", 2006, algorithm 7.4; the test of a step by Hager, Zhang, "A new conjugate
    gradient method with guaranteed descent and an efficient line search", 2005, which holds where values only round.

    Examples
    --------
    >>> import numpy as np
    >>> quasi_newton(lambda x: ((x - 1) @ (x - 1), 2 * (x - 1)), np.zeros(2), steps=20, tol=1e-12)
    array([1., 1.])
    """
    # Every iteration tries x + t d. A step that is refused changes x by nothing, halves t and keeps d; its pair has
    # the weight rho = 0, with which it has no influence on directions. So no branch depends on a number.
    x, (value, slope) = start, function(start)
    direction, stride = -1.0 * slope, 1.0 / where(length(slope) > 1.0, length(slope), 1.0)
    pairs: list[tuple[Vector, Vector, Any]] = []
    scale = 1.0 + 0.0 * value
    every = every or (1 if on_host(start) else 16)
    for step in range(steps):
        if step % every == 0 and not bool(length(slope) > tol):
            break
        moved = x + stride * direction
        trial, trial_slope = function(moved)
        down, ahead = slope @ direction, trial_slope @ direction
        near = (trial <= value + 1e-12 * abs(value)) & (abs(ahead) <= 0.9 * abs(down))
        good = (trial <= value + 1e-4 * stride * down) | near
        change, bend = moved - x, where(good, trial_slope - slope, 0.0)  # which may not be a number
        curved = change @ bend
        kept = good & (curved > 1e-12 * (bend @ bend))
        pairs = [*pairs, (change, bend, where(kept, 1.0 / where(kept, curved, 1.0), 0.0))][-_PAIRS:]
        scale = where(kept, curved / where(kept, bend @ bend, 1.0), scale)
        x, slope = where(good, moved, x), where(good, trial_slope, slope)
        value = where(good, trial, value)
        direction = where(good, _direction(slope, pairs, scale), direction)
        stride = where(good, 1.0, 0.5 * stride)
    return x


def _direction(slope: Vector, pairs: list[tuple[Vector, Vector, Any]], scale: Any) -> Vector:
    """``-H slope`` with the inverse Hessian that the pairs say."""
    q, found = -1.0 * slope, []
    for change, bend, rho in reversed(pairs):
        a = rho * (change @ q)
        q = q - a * bend
        found.append(a)
    q = scale * q
    for (change, bend, rho), a in zip(pairs, reversed(found), strict=True):
        q = q + (a - rho * (bend @ q)) * change
    return q


@dataclass(frozen=True, eq=False)
class Trained:
    """What a learner learned: one model, with parameters, batch statistics and labels.

    Parameters
    ----------
    risk : Risk
        Of what was learned.
    w : Vector
        The parameters. Those of a module bring the buffers that training changed: at them, and at vectors made from
        them, every risk of such a module computes with these.
    loss : float
        The objective at `w`, in evaluation mode.
    grad_norm : float
        Length of its gradient there.
    converged : bool
        Whether that is at most what was asked for.
    seconds : float
    """

    risk: Any
    w: Vector
    loss: float
    grad_norm: float
    converged: bool
    seconds: float

    def predict(self, X: Any) -> Any:
        """Labels, shape (n,)."""
        return self.risk.predict(self.w, X)

    def scores(self, X: Any) -> Any:
        """What the loss sees: (n, 1) for a margin loss, (n, c) for cross-entropy."""
        return self.risk.scores(self.w, X)


def objective(risk: Risk, w: Vector, data: Sample) -> float:
    """``reg/2 |P w|^2`` plus the weighted mean loss.

    Parameters
    ----------
    risk : Risk
    w : vector
        Parameters.
    data : Sample
    """
    losses = to_numpy(risk.loss(w, data.X, data.y))
    return float(np.average(losses, weights=data.mass)) + 0.5 * float(w @ risk.penalty_grad(w))


@dataclass(frozen=True)
class LBFGSTrainer:
    """L-BFGS over all rows, then Newton's method with conjugate gradients until the gradient is as small as asked.

    Dropout is off and batch statistics are not learned, as everywhere outside `SGDTrainer`.

    Parameters
    ----------
    tol : float, default 1e-10
        Length of the gradient.
    maxiter : int, default 2000
        Of L-BFGS.
    newton : int, default 20
        Newton steps at most; 0 for none.

    Examples
    --------
    >>> from linpoison.risk import LinearRisk
    >>> from linpoison.losses import Logistic
    >>> rows = Sample([[1.0], [-1.0]], [1.0, -1.0])
    >>> LBFGSTrainer().fit(LinearRisk(Logistic(), 0.1, fit_intercept=False), rows).converged
    True
    """

    tol: float = 1e-10
    maxiter: int = 2000
    newton: int = 20

    def __post_init__(self) -> None:
        check_number(self.tol, "tol", at_least=0)
        check_integer(self.maxiter, "maxiter", at_least=1)
        check_integer(self.newton, "newton", at_least=0)

    def fit(self, risk: Risk, data: Sample, *, seed: int = 0) -> Trained:
        """Learn from parameters drawn with `seed`."""
        began = time.perf_counter()
        start = risk.init(seed, prod(row_shape(data.X)))
        w, slope = self._polished(risk, data, self._rough(risk, data, start))
        size = norm(slope)
        return Trained(risk, w, objective(risk, w, data), size, size <= self.tol, time.perf_counter() - began)

    def _rough(self, risk: Risk, data: Sample, start: Vector) -> Vector:
        """Where L-BFGS ends: scipy's on the host, elsewhere one that never leaves the device."""
        if not on_host(start):
            return self._there(risk, data, start)

        def value(flat: Array) -> tuple[float, Array]:
            w = like(flat, start)
            return objective(risk, w, data), to_numpy(risk.grad(w, data.X, data.y, data.weights))

        options = {
            "maxiter": self.maxiter,
            "maxfun": 2 * self.maxiter,
            "maxcor": 20,
            "ftol": 0.0,
            "gtol": self.tol / 10,
        }
        return like(minimize(value, to_numpy(start), jac=True, method="L-BFGS-B", options=options).x, start)

    def _there(self, risk: Risk, data: Sample, start: Vector, every: int | None = None) -> Vector:
        held = risk.held(data)
        share = held.mass / held.total

        def value(w: Vector) -> tuple[Any, Vector]:
            penalty = risk.penalty_grad(w)
            loss = risk.loss(w, held.X, held.y) @ share + 0.5 * (w @ penalty)
            return loss, risk.loss_vjp(w, held.X, held.y, share) + penalty

        with risk.steady():
            return quasi_newton(value, start, steps=self.maxiter, tol=self.tol / 10, every=every)

    def _polished(self, risk: Risk, data: Sample, w: Vector) -> tuple[Vector, Vector]:
        slope = risk.grad(w, data.X, data.y, data.weights)
        solver = CG(relative_damping=0.0, maxiter=min(2 * len(w), 1000), tol=1e-8)
        for _ in range(self.newton):
            if norm(slope) <= self.tol:
                break
            step = solver.solve(hessian(risk, w, data), slope)
            moved = w - step.x
            moved_slope = risk.grad(moved, data.X, data.y, data.weights)
            if step.negative_curvature or norm(moved_slope) >= norm(slope):
                break
            w, slope = moved, moved_slope
        return w, slope
