"""The few words that an attack needs, said alike of a linear model in numpy and of a torch module.

Every attack of this room is one shape::

    parameter-space vector u  ->  C(z)' u = d/dz <d/dw l(z; w), u>  ->  projection

so two oracles carry them all: the *mixed product* of a `Risk`, and an `InverseHVP` where `u` is a solution.
Vectors are flat arrays of the model's own kind (ndarray or tensor), and attacks only add, scale and ``@`` them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from ..core import CapabilityError
from .arrays import gathered, per_row, row_norms, to_numpy
from .ranks import Ranks
from .samples import Held

Vector = Any
"""A flat float64 ndarray or tensor, in the order of the parameters."""
Rows = Any
"""An ndarray or tensor of shape (n, ...); for `Risk` arguments also a map-style torch Dataset of (x, y)."""
HVP = Any
"""A function from a `Vector` to a `Vector`, linear and symmetric."""


class Risk(Protocol):
    """An objective ``L(w) = reg/2 |P w|^2 + (1 / sum c) sum_i c_i l(x_i, y_i; w)`` and its derivatives.

    P drops the entries that are not penalised. Where `X` is a torch Dataset, `y` is None.

    Attributes
    ----------
    reg : float
    reach : float
        ``sup -<w, d/dw l>`` over all rows for the parameters in `head`: ``sup t psi(t)`` of a margin loss,
        ``W((c - 1) / e)`` of cross-entropy. NaN where unknown.
    head : slice or index array
        The last linear layer within the flat vector.
    margin_loss : MarginLoss or None
        The loss, if it is one of the margin.
    """

    @property
    def reg(self) -> float: ...
    @property
    def margin_loss(self) -> Any: ...
    @property
    def reach(self) -> float: ...
    @property
    def head(self) -> Any: ...
    def rows(self, X: Rows) -> Rows:
        """`X` as floating-point rows of the model's own kind, copied."""

    def vector(self, w: Any) -> Vector:
        """`w` as a flat float64 vector of the model's own kind."""

    def init(self, seed: int, d: int) -> Vector:
        """Parameters to start learning from; `d` features in each row."""

    def loss(self, w: Vector, X: Rows, y: Any) -> Vector:
        """``l(x_i, y_i; w)``, shape (n,), without the regulariser."""

    def loss_vjp(self, w: Vector, X: Rows, y: Any, coefficients: Any) -> Vector:
        """``sum_i coefficients_i d/dw l(x_i, y_i; w)``, shape (p,), with coefficients of any sign."""

    def data_grad(self, w: Vector, X: Rows, y: Any, weights: Any = None) -> Vector:
        """Gradient of the weighted mean loss alone, shape (p,)."""

    def penalty_grad(self, w: Vector) -> Vector:
        """``reg P w``."""

    def grad(self, w: Vector, X: Rows, y: Any, weights: Any = None) -> Vector:
        """Gradient of the objective: `data_grad` plus `penalty_grad`."""

    def per_sample_grad(self, w: Vector, X: Rows, y: Any) -> Any:
        """``d/dw l(x_i, y_i; w)``, shape (n, p): for small models."""

    def loss_jvp(self, w: Vector, X: Rows, y: Any, v: Vector) -> Vector:
        """``<d/dw l(x_i, y_i; w), v>``, shape (n,), without building `per_sample_grad`."""

    def hvp(self, w: Vector, X: Rows, y: Any, v: Vector, weights: Any = None) -> Vector:
        """The Hessian of the objective times `v`, shape (p,)."""

    def mixed_product(self, w: Vector, X: Rows, y: Any, u: Vector) -> Rows:
        """``d/dx_i <d/dw l(x_i, y_i; w), u>`` of each row, shaped like `X`."""

    def row_grad(self, w: Vector, X: Rows, y: Any) -> Rows:
        """``d/dx_i l(x_i, y_i; w)`` of each row, shaped like `X`."""

    def scores(self, w: Vector, X: Rows) -> Any:
        """What the loss sees: (n, 1) for a margin loss, (n, c) for cross-entropy."""

    def predict(self, w: Vector, X: Rows) -> Any:
        """Labels, shape (n,)."""

    def features(self, w: Vector, X: Rows) -> Any:
        """What the last linear layer is given, shape (n, h)."""

    def curvature(self, w: Vector, X: Rows, y: Any, coefficients: Any, *, gauss_newton: bool = False) -> HVP:
        """Products with ``sum_i coefficients_i d2/dw2 l(x_i, y_i; w)``, or with its Gauss-Newton matrix, for one w.

        What all products share is computed once, where memory allows.
        """

    def pulled(self, w: Vector, X: Rows, y: Any, coefficients: Any) -> tuple[Vector, Callable[[Vector], Rows]]:
        """`loss_vjp`, and the function ``u -> coefficients_i d/dx_i <d/dw l(x_i, y_i; w), u>`` that follows it."""
        p = self.loss_vjp(w, X, y, coefficients)
        return p, lambda u: per_row(coefficients, X) * self.mixed_product(w, X, y, u)

    def descended(
        self, w: Vector, X: Rows, y: Any, coefficients: Any, *, steps: int, length: float, ranks: Ranks
    ) -> Vector:
        """``w`` after steps ``w <- w - length (sum_i coefficients_i d/dw l(x_i, y_i; w) + reg P w)``.

        The rows and coefficients are those of this process; the sum is over all.
        """
        for _ in range(steps):
            w = w - length * (ranks.sum(self.loss_vjp(w, X, y, coefficients)) + self.penalty_grad(w))
        return w

    def targets(self, y: Any, X: Rows) -> Any:
        """Labels of rows as the loss takes them, of the model's own kind."""
        return np.asarray(y)

    def held(self, data: Any) -> Held:
        """A `linpoison.risk.Sample` where the risk computes, looked at once; for use within `steady`."""
        rows = data.take(range(data.n))
        return Held(self.rows(rows.X), self.targets(rows.y, rows.X), rows.mass, rows.total)

    def steady(self) -> AbstractContextManager[Any]:
        """A state in which rows and labels are parts of what was `held`, and are not looked at again."""
        return nullcontext()

    def only(self, w: Vector, names: Any) -> tuple[Risk, Vector]:
        """The risk of some of the parameters, by their names, with the others fixed as in `w`; and theirs in `w`."""
        raise CapabilityError("parameters that have names", type(self).__name__, "Leave `params` out for all.")


@dataclass(frozen=True, eq=False)
class Solution:
    """What a linear solver found for ``(H + damping I) x = b``.

    Parameters
    ----------
    x : Vector
    facts : Vector
        Residual, iterations, curvature and damping, of the kind of `x`: they stay on the device until one is asked for.
    solver : str
        Its name: what was used.
    """

    x: Vector
    facts: Vector
    solver: str

    @classmethod
    def of(cls, x: Vector, residual: Any, iterations: Any, curvature: Any, damping: Any, solver: str) -> Solution:
        """From numbers, wherever they are."""
        return cls(x, gathered([residual, iterations, curvature, damping], x), solver)

    @property
    def residual(self) -> float:
        """``|(H + damping I) x - b| / |b|``, computed anew."""
        return float(self.facts[0])

    @property
    def iterations(self) -> int:
        return int(self.facts[1])

    @property
    def curvature(self) -> float:
        """The least ``v'(H + damping I) v / v'v`` met; infinite if no direction was, NaN if none is looked at."""
        return float(self.facts[2])

    @property
    def damping(self) -> float:
        return float(self.facts[3])

    @property
    def negative_curvature(self) -> bool:
        """Whether a direction was met in which H + damping I is not positive."""
        return self.curvature <= 0


class InverseHVP(Protocol):
    """Solves ``H x = b`` given products with H.

    Attributes
    ----------
    name : str
    gauss_newton : bool
        Whether it wants products with the Gauss-Newton matrix in the place of the Hessian.
    """

    name: ClassVar[str]
    gauss_newton: ClassVar[bool] = False

    def solve(self, hvp: HVP, b: Vector) -> Solution:
        """The solution and how well it solves."""


class Projection(ABC):
    """A closed convex set for each row: a subclass says `project`, the rest follows."""

    @abstractmethod
    def project(self, X: Rows) -> Rows:
        """The nearest feasible rows."""

    def violation(self, X: Rows) -> Any:
        """How far each row is outside, shape (n,), as an ndarray; zero inside."""
        return to_numpy(row_norms(X - self.project(X))).ravel()

    def contains(self, X: Rows, tol: float = 1e-8) -> Any:
        """Whether `violation` is at most `tol`, shape (n,)."""
        return self.violation(X) <= tol

    def take(self, index: Any) -> Projection:
        """The sets of these rows only: the same for every row, unless the class says otherwise."""
        return self

    def bounds(self) -> tuple[Any, Any] | None:
        """Lower and upper bounds, to broadcast against the rows, if these are all there is to the set."""
        return None


class PoisonParameters(Protocol):
    """How poison rows come from what is optimised: the pixels themselves, or the weights of a network.

    `index` picks some of the rows, by numbers where `phi` is; None is all of them.
    """

    def points(self, phi: Vector, index: Any = None) -> Rows:
        """The poison rows, always from the same seeds."""

    def vjp(self, phi: Vector, index: Any = None) -> tuple[Rows, Callable[[Rows], Vector]]:
        """`points`, and the function from a gradient in them to the gradient in `phi`."""

    def restrict(self, phi: Vector) -> Vector:
        """The nearest `phi` whose rows are feasible."""


class Trainer(Protocol):
    """Learns parameters from scratch."""

    def fit(self, risk: Any, data: Any, *, seed: int = 0) -> Any:
        """A `linpoison.risk.Trained` from a `linpoison.risk.Sample`."""


class TargetGenerator(Protocol):
    """Chooses parameters for the attacker to plant."""

    def target(self, risk: Any, w: Vector, data: Any) -> Vector:
        """The target, from the clean parameters `w` and the clean rows, a `linpoison.risk.Sample`."""
