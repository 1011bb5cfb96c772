"""The min-max program stated to cvxpy: its maximum over the pulls of all rows, as one conic program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from ..convex import solve
from ..core import LABELS, Array, Dataset, InputError, LinearModel, Poison, SolverFailed
from ..losses import Problem
from ..sets import ByLabel, Oracle
from .saddle_parts import Saddle

WEIGHTLESS = 1e-7
"""Share of the budget below which a row would be 0 / 0 up to the solver's accuracy."""


def solve_conic(train: Dataset, problem: Problem, sets: ByLabel, epsilon: float, solver: str) -> Saddle:
    """The saddle point by one conic program.

    With the conjugate of the loss, ``phi(m) = sup_s gain(s) - s m``, the learner's minimum over v has a closed form.
    What is left is, with ``rho = (1 + epsilon) reg'``,

        maximise    sum_i gain(a_i; share_i) + sum_k gain(s_k w_k; e_k) - |pull|^2 / (2 rho)
        subject to  pull = sum_i a_i y_i (x_i, 1) + sum_k s_k y_k (u_k, w_k)
                    (u_k, w_k) in cone(F_{y_k}),  sum_k e_k <= epsilon,

    where ``gain(w; e) = e gain(w / e)`` is the perspective. It is jointly concave, so that rows of one class whose
    pull has one sign can be merged: k runs over the classes, and over both signs ``s_k`` for a loss that increases
    somewhere. An intercept without penalty demands that its pull is zero.

    Parameters
    ----------
    train, problem, sets, epsilon
        As in `SaddleProgram.solve`.
    solver : str
        An installed solver of cvxpy.

    Returns
    -------
    Saddle
        `lower` is the value of the program at the solver's answer once that is brought to where the value is finite,
        `upper` the learner's objective at its model. Both are recomputed in numpy.
    """
    train.require_both_classes()
    if sets.d != train.d:
        raise InputError(f"sets of {train.d} features", f"sets of {sets.d}")
    program = _Program(train, problem, sets, epsilon)
    info = solve(program.problem, solver=solver, check=program.settle, tight=True)
    scale = 1 + epsilon
    model, upper = program.learner()
    lower = float(info.value)
    if not np.isfinite([upper, lower]).all():
        raise SolverFailed(f"expected finite bounds of the min-max value, got {lower} and {upper}.")
    history = ((upper / scale, lower / scale),)
    return Saddle(model, program.poison(), upper / scale, lower / scale, history, info)


@dataclass(frozen=True, eq=False)
class _Atom:
    """The merged rows of one class whose pull has one sign, in units of the budget; class weights are in `mass`."""

    label: float
    sign: float
    point: Any
    weight: Any
    mass: Any


class _Program:
    """Variables, program, and what is read off them."""

    def __init__(self, train: Dataset, problem: Problem, sets: ByLabel, epsilon: float) -> None:
        import cvxpy as cp

        self.train, self.setting, self.sets, self.epsilon = train, problem, sets, epsilon
        self.rho = (1 + epsilon) * problem.pinned((1 + epsilon) * train.total).reg
        self.rising = float(problem.loss.derivative(np.array([1e6]))[0]) > 0
        self.atoms = [
            _Atom(label, sign, cp.Variable(train.d), cp.Variable(nonneg=True), cp.Variable(nonneg=True))
            for label in LABELS
            for sign in ((1.0, -1.0) if self.rising else (1.0,))
        ]
        self.share = train.weight * problem.weights_of(train.y) / train.total
        self.heavy = {label: float(problem.weights_of(label)) for label in LABELS}
        self.slopes = cp.Variable(train.n)
        self.clean = cp.multiply(self.share, self.slopes)
        value, rules = problem.loss.gain(self.clean, self.share)
        value = cp.sum(value)
        rules = [*rules, cp.sum([self._spent(atom) for atom in self.atoms]) <= 1]
        for atom in self.atoms:
            gain, more = problem.loss.gain(atom.sign * atom.weight, atom.mass)
            value = value + epsilon * gain
            rules += [*more, *sets[int(atom.label)].constraints(atom.point, atom.weight)]
        self.pull, last = cp.Variable(train.d), self._last()
        rules.append(self.pull == self._pull())
        loss = cp.sum_squares(self.pull)
        if problem.fit_intercept and problem.penalize_intercept:
            loss = loss + cp.square(last)
        elif problem.fit_intercept:
            rules.append(last == 0)
        self.problem = cp.Problem(cp.Maximize(value - loss / (2 * self.rho)), rules)

    def _spent(self, atom: _Atom) -> Any:
        """The share of the budget of an atom."""
        return atom.mass if self.heavy[atom.label] == 1 else atom.mass / self.heavy[atom.label]

    def _pull(self) -> Any:
        import cvxpy as cp

        train = self.train
        poison = sum(self.epsilon * atom.sign * atom.label * atom.point for atom in self.atoms)
        return train.X.T @ cp.multiply(train.y, self.clean) + poison

    def _last(self) -> Any:
        return self.train.y @ self.clean + sum(
            self.epsilon * atom.sign * atom.label * atom.weight for atom in self.atoms
        )

    def settle(self) -> float:
        """Bring the solver's answer to where the value is finite; the largest violation that is left, in numpy.

        An atom of no weight is left out (0 / 0), and slopes of the loss keep to their range, which rounding leaves.
        """
        loss = self.setting.loss
        if not self.rising:
            self.slopes.value = np.clip(self.slopes.value, 0.0, loss.lipschitz)
        for atom in self.atoms:
            weight = float(atom.weight.value)
            if weight <= WEIGHTLESS:
                weight, atom.point.value = 0.0, np.zeros(self.train.d)
            atom.mass.value = max(float(atom.mass.value), weight / loss.lipschitz, 1e-12)
            atom.weight.value = weight
        self.pull.value = self._pull().value
        spent = sum(float(self._spent(atom).value) for atom in self.atoms)
        free = self.setting.fit_intercept and not self.setting.penalize_intercept
        left = [spent - 1, abs(float(self._last().value)) if free else 0.0]
        for atom in self.atoms:
            if weight := float(atom.weight.value):
                outside = self.sets[int(atom.label)].violation(atom.point.value[None, :] / weight)
                left.append(float(outside[0]) * min(weight, 1.0))
        return float(max(left))

    def learner(self) -> tuple[LinearModel, float]:
        """The learner's answer to these pulls, and its objective against the worst rows, in numpy."""
        coef = np.asarray(self.pull.value, dtype=np.float64) / self.rho
        rows = [(label, end, Oracle(self.sets[int(label)]).support(end * label * coef)) for label, end in self._ends()]
        scores, worst = self.train.X @ coef, [(label, float(row @ coef)) for label, _, row in rows]

        def value(intercept: float) -> float:
            loss, train = self.setting.loss, self.train
            clean = float(self.share @ loss.value(train.y * (scores + intercept)))
            rest = max(
                self.heavy[label] * float(loss.value(np.array([label * (score + intercept)]))[0])
                for label, score in worst
            )
            square = float(coef @ coef) + (intercept**2 if self.setting.penalize_intercept else 0.0)
            return self.rho / 2 * square + clean + self.epsilon * rest

        if not self.setting.fit_intercept:
            return LinearModel(coef), value(0.0)
        if self.setting.penalize_intercept:
            intercept = float(self._last().value) / self.rho
            return LinearModel(coef, intercept), value(intercept)
        far = 1 + max(float(np.abs(scores).max()), *(abs(score) for _, score in worst))  # beyond, no loss falls
        found = minimize_scalar(value, bounds=(-far, far), method="bounded", options={"xatol": 1e-10 * far})
        return LinearModel(coef, float(found.x)), float(found.fun)

    def _ends(self) -> list[tuple[float, float]]:
        """The directions in which a row can be worst: against its label, and along it where the loss rises."""
        return [(atom.label, -atom.sign) for atom in self.atoms]

    def poison(self) -> Poison:
        """The merged rows, their masses brought to the budget: what the dual leaves has no loss anywhere."""
        kept = [atom for atom in self.atoms if float(atom.weight.value) > WEIGHTLESS]
        X = np.array([np.asarray(atom.point.value) / float(atom.weight.value) for atom in kept])
        # At a kink the weight is the mass: what it exceeds the weight by gains nothing.
        hinge = self.setting.loss.kink is not None
        y = np.array([atom.label for atom in kept])
        effective: Array = np.array([float((atom.weight if hinge else atom.mass).value) for atom in kept])
        mass = effective / self.setting.weights_of(y)
        total = self.epsilon * self.train.total
        count = mass * (total / mass.sum()) if kept else mass
        return Poison(X.reshape(-1, self.train.d), y, count).merged()
