"""What an attack wants of the poison's gradient: a function of one parameter-space vector, and its derivative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..core import InputError
from .arrays import norm, per_row, where
from .protocols import Risk, Rows, Vector
from .ranks import Alone, Ranks


class Field(Protocol):
    """A function of ``p = sum_j a_j d/dw l(z_j; w)``, the poison's part of the gradient."""

    def __call__(self, p: Vector) -> tuple[float, Vector]:
        """Value and gradient in `p`: the cotangent that the mixed product takes."""


@dataclass(frozen=True, eq=False)
class Cancel:
    """``|rest + p|^2 / 2``: gradient canceling, with `rest` the gradient of everything but the poison."""

    rest: Vector

    def __call__(self, p: Vector) -> tuple[float, Vector]:
        r = self.rest + p
        return 0.5 * float(r @ r), r


@dataclass(frozen=True, eq=False)
class Align:
    """``<u, p>``: influence with ``u = H^(-1) grad L_v``, gradient optimisation with ``u = grad L_v``."""

    u: Vector

    def __call__(self, p: Vector) -> tuple[float, Vector]:
        return float(self.u @ p), self.u


@dataclass(frozen=True, eq=False)
class Match:
    """``1 - cos(p, direction)``: gradient matching."""

    direction: Vector

    def __call__(self, p: Vector) -> tuple[float, Vector]:
        lengths = norm(p), norm(self.direction)
        if not all(lengths):
            raise InputError("gradients that are not zero", f"lengths {lengths[0]:g} and {lengths[1]:g}")
        cosine = float(p @ self.direction) / (lengths[0] * lengths[1])
        slope = self.direction / (lengths[0] * lengths[1]) - (cosine / lengths[0] ** 2) * p
        return 1.0 - cosine, -1.0 * slope


@dataclass(frozen=True, eq=False)
class PoisonObjective:
    """A field as a function of the poison rows, at fixed parameters and labels.

    ::

        f(Z) = field(p),  p = sum_j a_j d/dw l(z_j, y_j; w),     df/dz_j = a_j C(z_j)' field'(p)

    in two passes over the rows: one for `p`, without a graph, and one for the mixed products. Memory is one
    chunk of the risk's, whatever the number of rows.

    Parameters
    ----------
    risk : Risk
    w : Vector
    field : Field
    y : vector, shape (m,)
        Labels as the risk holds them, see `Risk.held`.
    shares : vector, shape (m,)
        ``a_j``, of the kind of the risk.
    ranks : Ranks
        The rows, labels and shares are those of this process.
    """

    risk: Risk
    w: Vector
    field: Field
    y: Any
    shares: Any
    ranks: Ranks = Alone()

    def __call__(self, X: Rows) -> tuple[float, Rows]:
        with self.risk.steady():
            p, push = self.risk.pulled(self.w, X, self.y, self.shares)
            value, cotangent = self.field(self.ranks.sum(p))
            return value, push(cotangent)

    def value(self, X: Rows) -> float:
        """The field alone."""
        return self.field(self.pull(X))[0]

    def push(self, X: Rows, cotangent: Vector) -> Rows:
        """The gradient in the rows for one of the field."""
        return per_row(self.shares, X) * self.risk.mixed_product(self.w, X, self.y, cotangent)

    def inside(self, X: Rows) -> Rows:
        """`X`: the objective is defined for all rows."""
        return X

    def lengths(self, X: Rows) -> Rows:
        """Steps along the gradient that fit the curvature in each row, where the loss pulls with 1 at most."""
        least = 1e-3 * self.shares.mean()
        heavy = where(self.shares > least, self.shares, least)
        return per_row(1 / (3 * len(heavy) * heavy**2), X)

    def pull(self, X: Rows) -> Vector:
        """``p``, over all processes."""
        with self.risk.steady():
            return self.ranks.sum(self.risk.loss_vjp(self.w, X, self.y, self.shares))
