"""Half-spaces and slabs: what a loss or a projection on one direction allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core import Array, InputError, LinearModel, Matrix, MultiModel, check_number
from ..losses import MarginLoss
from .base import FeasibleSet, as_normal, unbounded
from .piece import Piece


class _Normal:
    """Of sets that look at one direction alone."""

    normal: Array

    @property
    def d(self) -> int:
        return int(self.normal.size)

    @property
    def normals(self) -> Array:
        return np.atleast_2d(self.normal)


@dataclass(frozen=True, eq=False, repr=False)
class Halfspace(_Normal, FeasibleSet):
    """``{x: normal . x <= offset}``. The violation is the Euclidean distance to the half-space.

    Parameters
    ----------
    normal : array_like, shape (d,)
        Any length but zero.
    offset : float

    Examples
    --------
    >>> Halfspace([0.0, 2.0], 2.0).project([[5.0, 3.0]])
    array([[5., 1.]])
    """

    normal: Array
    offset: float

    def __post_init__(self) -> None:
        self._set(normal=as_normal(self.normal), offset=check_number(self.offset, "offset"))

    @property
    def piece(self) -> Piece:
        return Piece(rows=self.normals, low=np.array([-np.inf]), high=np.array([self.offset]))

    def _cone(self, u: Any, t: Any) -> list[Any]:
        length = np.linalg.norm(self.normal)
        return [(self.normal / length) @ u <= (self.offset / length) * t]

    def _violation(self, X: Matrix) -> Array:
        return np.asarray((X @ self.normal - self.offset) / np.linalg.norm(self.normal))

    def _support(self, w: Array) -> Array:
        if multiple_of(w, self.normal, "half-space") < 0:
            raise unbounded("half-space")
        return self.normal * (self.offset / (self.normal @ self.normal))

    def _project(self, X: Array) -> Array:
        length = np.linalg.norm(self.normal)
        return np.asarray(X - np.maximum(self._violation(X), 0.0)[:, None] * (self.normal / length))


def multiple_of(w: Array, normal: Array, what: str) -> float:
    """The number ``s`` with ``w = s normal``; raises for another direction."""
    share = float(w @ normal / (normal @ normal))
    if np.linalg.norm(w - share * normal) > 1e-9 * np.linalg.norm(w):
        raise unbounded(what)
    return share


def loss_cap(model: LinearModel, label: float, loss: MarginLoss, cap: float) -> Halfspace:
    """``{x: phi(label (x . coef + intercept)) <= cap}`` as a half-space.

    The loss decreases in the margin, so the set is ``label (x . coef + intercept) >= m`` with
    ``m = phi^-1(cap)``. For a loss that rises again, such as the squared one, the half-space keeps
    the points beyond too and its relation is "outer".

    Parameters
    ----------
    model : LinearModel
        The parameters that the loss is measured under, with a coef other than zero.
    label : {-1, +1}
        Label of the rows.
    loss : MarginLoss
    cap : float
        Largest loss allowed: at least 0, and above 0 for a loss that never reaches 0.

    Examples
    --------
    >>> from linpoison.losses import Hinge
    >>> cap = loss_cap(LinearModel([1.0], 0.5), -1, Hinge(), 2.0)
    >>> cap.contains([[0.5], [0.6]])
    array([ True, False])
    """
    if label not in (-1, 1):
        raise InputError("a label in {-1, +1}", repr(label))
    cap = check_number(
        cap, "cap", at_least=0, remedy="No point has less than no loss; state a bound on the margin as a Halfspace."
    )
    margin = loss.margin_at_loss(cap)
    if not np.isfinite(margin):
        raise InputError(f"a cap that the loss {loss.name} takes", f"{cap:g}", "Use a cap above 0.")
    relation = "exact" if loss.turn is None else "outer"
    return Halfspace(-label * model.coef, label * model.intercept - margin, relation=relation)  # type: ignore[arg-type]


def rival_caps(model: MultiModel, label: int, cap: float) -> list[Halfspace]:
    """``{x: max_{j != y} 1 + f_j(x) - f_y(x) <= cap}`` as ``k - 1`` half-spaces.

    Parameters
    ----------
    model : MultiModel
        The decoy f.
    label : int
    cap : float
        At least 0.

    References
    ----------
    Koh, Steinhardt, Liang (2022), section 4.3.2, for k classes.
    """
    others = [rival for rival in range(model.k) if rival != label]
    steps = model.coef[others] - model.coef[label]
    shifts = model.intercept[others] - model.intercept[label]
    if not steps.any(axis=1).all():
        raise InputError("a decoy whose classes differ in their coef", "two equal rows")
    return [Halfspace(step, cap - 1.0 - shift) for step, shift in zip(steps, shifts, strict=True)]


@dataclass(frozen=True, eq=False, repr=False)
class Slab(_Normal, FeasibleSet):
    """``{x: |normal . x - offset| <= halfwidth}``. The violation is the Euclidean distance to the slab.

    Parameters
    ----------
    normal : array_like, shape (d,)
        Any length but zero: offset and halfwidth are in units of ``normal . x``.
    offset : float
        ``normal . x`` in the middle of the slab.
    halfwidth : float
        At least 0.

    Examples
    --------
    >>> slab = Slab([2.0, 0.0], 0.0, 2.0)
    >>> slab.violation([[3.0, 9.0]])
    array([2.])
    >>> slab.project([[3.0, 9.0]])
    array([[1., 9.]])
    """

    normal: Array
    offset: float
    halfwidth: float

    def __post_init__(self) -> None:
        self._set(
            normal=as_normal(self.normal),
            offset=check_number(self.offset, "offset"),
            halfwidth=check_number(self.halfwidth, "halfwidth", at_least=0),
        )

    @property
    def piece(self) -> Piece:
        low, high = self.offset - self.halfwidth, self.offset + self.halfwidth
        return Piece(rows=self.normals, low=np.array([low]), high=np.array([high]))

    def _cone(self, u: Any, t: Any) -> list[Any]:
        length = np.linalg.norm(self.normal)
        middle = (self.normal / length) @ u - (self.offset / length) * t
        if self.halfwidth == 0:
            return [middle == 0]
        reach = (self.halfwidth / length) * t
        return [middle <= reach, -middle <= reach]

    def _violation(self, X: Matrix) -> Array:
        return np.asarray((np.abs(X @ self.normal - self.offset) - self.halfwidth) / np.linalg.norm(self.normal))

    def _support(self, w: Array) -> Array:
        side = np.sign(multiple_of(w, self.normal, "slab"))
        return np.asarray(self.normal * ((self.offset + side * self.halfwidth) / (self.normal @ self.normal)))

    def grown(self, by: float) -> FeasibleSet:
        return replace(self, halfwidth=self.halfwidth + by * float(np.linalg.norm(self.normal)), relation="outer")

    def _project(self, X: Array) -> Array:
        length = np.linalg.norm(self.normal)
        side = np.sign(X @ self.normal - self.offset)
        return np.asarray(X - (side * np.maximum(self._violation(X), 0.0))[:, None] * (self.normal / length))
