"""The Lagrangian dual of the relaxations of the hinge loss, evaluated in numpy at any multipliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from ...core.validation import Array
from ..clean.rows import LABELS, PAD, not_below_zero
from .frame import Frame, Rows, height


@dataclass(frozen=True, eq=False)
class Multipliers:
    """A point of the dual; `dual_bound` makes a bound of whatever it holds.

    Parameters
    ----------
    p, r : ndarray, shape (d + 1,)
        Of stationarity and of the cap.
    sigma, mu : float
        Of the inequality that sums up complementarity, and of the share of rows that are changed.
    pieces : ndarray, shape (4, copies, n)
        ``beta, gamma, delta, zeta`` of the bounds on ``t``, see `dual_bound`.
    """

    p: Array
    r: Array
    sigma: float
    mu: float
    pieces: Array


def stack(points: Sequence[Multipliers], prefix: str = "") -> dict[str, Array]:
    """Arrays of a witness, the points along the first axis."""
    return {
        prefix + name: np.array([getattr(point, name) for point in points], dtype=np.float64)
        for name in ("p", "r", "sigma", "mu", "pieces")
    }


def unstack(witness: Mapping[str, Array], shape: tuple[int, ...], prefix: str = "") -> list[Multipliers] | None:
    """The inverse of `stack` for pieces of a given shape and d + 1 entries last; None where arrays do not fit."""
    try:
        p, r, sigma, mu, pieces = (
            np.asarray(witness[prefix + name], dtype=np.float64) for name in ("p", "r", "sigma", "mu", "pieces")
        )
    except (KeyError, TypeError, ValueError):
        return None
    *inner, width = shape
    count = sigma.size
    fits = p.shape == r.shape == (count, width) and sigma.shape == mu.shape == (count,)
    if not fits or pieces.shape != (count, *inner):
        return None
    return [Multipliers(p[i], r[i], float(sigma[i]), float(mu[i]), pieces[i]) for i in range(count)]


def dual_bound(bare: Frame, rows: Rows, point: Multipliers, aim: Array) -> float:
    """No reachable ``v`` has a greater ``-aim . v``, whatever the multipliers.

    The program, with ``lam = reg``, ``t_i`` for ``s_i phi(m_i)``, ``s_i = 1`` where no row is changed, and
    ``L_i, H_i`` bounds on the margins (a row with a flipped label has weight ``1 - s_i``, margin ``-m_i``,
    and constraints of the same form):

    ::

        maximize   -aim . v
        p          lam P v = (1/n) sum c_i a_i y_i (x_i, 1) + u_+ - u_-
        sigma      lam <v, P v> + (1/n) sum c_i (t_i - a_i)  <=  w_+ + w_-
        beta       t_i >= (1 - m_i) - (1 - s_i) (1 - L_i)_+
        gamma      t_i <= (1 - L_i) a_i
        delta      t_i <= (1 - m_i) + (H_i - 1) (1 - a_i)
        zeta       t_i >= (1 - H_i)_+ a_i
        mu         (1/n) sum c_i (1 - s_i) <= changed
        r          |v - v0 - u / (2 lam)| <= sum R_y w_y / (2 lam) + (1/(n lam)) sum c_i (1 - s_i) strain_i + slack
                   least_i s_i <= a_i <= most_i s_i,  t >= 0,  (u_y, w_y) in cone(F_y),  w_+ + w_- <= epsilon

    Setting the multipliers' signs right, the sup over ``t`` is finite iff
    ``beta_i <= sigma c_i / n + gamma_i + delta_i - zeta_i``, that over ``v`` is
    ``|q|^2 / (4 sigma lam)`` with ``q = aim + lam P p + r - sum (beta_i - delta_i) y_i (x_i, 1)``, and the rest is
    linear in ``a, s, u, w`` over boxes and cones. Multipliers are clipped to where the dual is finite.

    Parameters
    ----------
    bare : Frame
    rows : Rows
    point : Multipliers
    aim : ndarray, shape (d + 1,)

    Returns
    -------
    float
        Infinite if the multipliers prove nothing.
    """
    numbers = (point.p, point.r, point.pieces, [point.sigma, point.mu], rows.lower, rows.upper)
    if not all(np.isfinite(part).all() for part in numbers) or point.sigma < 0:
        return inf
    p, r, mu = point.p.copy(), point.r if bare.capped else np.zeros_like(point.r), max(point.mu, 0.0)
    p[-1] *= bare.one
    pieces, room = _feasible(bare, rows, point)
    q = aim + bare.reg * bare.claim.mask * p + r - _combined(bare, pieces[0] - pieces[2])
    if bare.one and not bare.claim.strongly_convex:
        if not _repair(bare, pieces[0], room, float(q[-1])):
            return inf
        q = aim + bare.reg * bare.claim.mask * p + r - _combined(bare, pieces[0] - pieces[2])
    square = float(bare.claim.mask @ q**2)
    if square > 0 and point.sigma <= 0:
        return inf
    size = float(np.linalg.norm(r))
    quadratic = square / (4 * point.sigma * bare.reg) if square > 0 else 0.0
    terms = [quadratic, *_row_terms(bare, rows, (p, point.sigma, mu, size), pieces)]
    terms += [bare.claim.epsilon * _planted(bare, p, r, point.sigma, size)] if bare.claim.epsilon else []
    terms += [float(r @ bare.center) + size * bare.slack if size else 0.0, mu * bare.changed]
    total = float(sum(terms))
    scale = float(np.abs(terms).sum()) + float((np.abs(pieces[0]) + np.abs(pieces[2]) * np.abs(rows.upper)).sum())
    return float(not_below_zero(aim, total + PAD * scale)) if np.isfinite(total) else inf


def _feasible(bare: Frame, rows: Rows, point: Multipliers) -> tuple[Array, Array]:
    """The pieces clipped to where the sup over t is finite, and the room above beta."""
    # t_i >= 0 has the coefficient beta - sigma c_i / n - gamma - delta + zeta, which must not be positive. zeta says
    # something of rows below the kink alone; of both, zeta is served first, and beta has what is left.
    beta, gamma, delta, zeta = np.maximum(point.pieces, 0.0)
    most = point.sigma * bare.share + gamma + delta
    zeta = np.minimum(zeta, most) * (rows.upper < 1)
    beta = np.minimum(beta, most - zeta)
    return np.stack([beta, gamma, delta, zeta]), most - zeta - beta


def _combined(bare: Frame, values: Array) -> Array:
    """``sum_i values_i y_i (x_i, 1)`` over all copies."""
    return np.asarray(np.einsum("cn,cnd->d", values, bare.rows))


def _repair(bare: Frame, beta: Array, room: Array, excess: float) -> bool:
    """Change beta in place so that the entry of a free intercept vanishes; False if it cannot."""
    # b is not bounded by any term: its coefficient has to be 0. Any beta in [0, beta + room] is a dual point, so that
    # rows of one sign give up some of theirs, those of the other take some.
    last = bare.rows[:, :, -1]
    up, down = np.where(last * excess > 0, room, 0.0), np.where(last * excess < 0, beta, 0.0)
    available = float(up.sum() + down.sum())
    if abs(excess) > available:
        return abs(excess) < PAD * PAD
    if available > 0:
        beta += (up - down) * (abs(excess) / available)
    return True


def _row_terms(bare: Frame, rows: Rows, scalars: tuple[Array, float, float, float], pieces: Array) -> list[float]:
    """Sums over the clean rows: the sup over (a, s), and constants."""
    # For each row the sup of a linear function over {least s <= a <= most s, 0 <= s <= 1}: at s = 1 with the best a
    # (the flipped copy then has no weight, a slack of beta (1 - L)), or at s = 0, where it pays mu and strains the cap
    p, sigma, mu, size = scalars
    beta, gamma, delta, zeta = pieces
    slope = bare.share * (sigma + bare.rows @ p)
    slope = slope + gamma * (1 - rows.lower) - delta * (rows.upper - 1) - zeta * np.maximum(1 - rows.upper, 0.0)
    top = np.where(slope > 0, rows.most, rows.least) * slope
    loss = beta * np.maximum(1 - rows.lower, 0.0)
    best = top[0] + (loss[1] if bare.copies == 2 else 0.0)
    if bare.changed > 0:
        gone = loss[0] - mu * bare.share + (top[1] if bare.copies == 2 else 0.0)
        gone = gone + (size * bare.share * bare.strain / bare.reg if size else 0.0)
        best = np.maximum(best, gone)
    return [float(best.sum()), -float(beta.sum()), float((delta * rows.upper).sum())]


def _planted(bare: Frame, p: Array, r: Array, sigma: float, size: float) -> float:
    """The sup over the poison, for each unit of its mass."""
    direction = p + r / (2 * bare.reg)
    values = [0.0]
    for label in LABELS:
        far = size * bare.reach[label] / (2 * bare.reg) if size else 0.0
        values.append(height(bare, label, direction) + sigma + far)
    far = size * np.linalg.norm(bare.filler, axis=1) / (2 * bare.reg)
    return float(np.max([*values, (bare.filler @ direction + sigma + far).max(initial=0.0)]))
