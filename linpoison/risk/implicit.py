"""How a loss on other rows moves with the training rows, through what is learned from them."""

from __future__ import annotations

from .arrays import per_row
from .linear_risk import shares
from .protocols import HVP, Risk, Rows, Vector
from .samples import Sample


def hessian(risk: Risk, w: Vector, data: Sample, *, gauss_newton: bool = False) -> HVP:
    """Products with the Hessian of the objective at `w`, over all rows in a fixed order.

    Parameters
    ----------
    risk : Risk
    w : vector
        Parameters.
    data : Sample
    gauss_newton : bool, default False
        With the Gauss-Newton matrix instead.
    """
    part = risk.curvature(w, data.X, data.y, shares(data.weights, data.n), gauss_newton=gauss_newton)
    return (lambda v: part(v) + risk.penalty_grad(v)) if risk.reg else part


def in_rows(risk: Risk, w: Vector, rows: Sample, u: Vector, total: float) -> Rows:
    """``-(c_j / N) C(z_j)' u`` for `rows` with ``c_j`` copies among `total` N, at ``u = H^(-1) grad L_v``."""
    mixed = risk.mixed_product(w, rows.X, rows.y, u)
    return per_row(-rows.mass / total, mixed) * mixed
