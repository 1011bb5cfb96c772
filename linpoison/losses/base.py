"""What a margin loss offers: one function in numpy, in cvxpy, and as the cone of its gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from ..core import Array, CapabilityError, InputError


class MarginLoss(ABC):
    """A convex loss ``phi(m) >= 0`` of the margin ``m = y (x . coef + intercept)``, with ``phi'(0) < 0``.

    Write ``psi(m) = -phi'(m) >= 0`` for the pull of a point: the gradient of its loss in
    ``(coef, intercept)`` is ``-psi(m) y (x, 1)``. A loss decreases, or it decreases up to the margin `turn` and is
    symmetric about it; what is said of one branch then holds of its mirror image, see `on_branch`.

    Attributes
    ----------
    name : str
    lipschitz : float
        ``sup |phi'|``, infinite if there is none.
    smoothness : float
        ``sup phi''``, infinite for a kink.
    turn : float or None
        The margin of least loss for a loss that increases again: ``phi(turn + t) = phi(turn - t)``.
    soft_hinge : (float, float) or None
        ``(k, w)`` if ``phi(m) = w log(1 + exp((k - m) / w))``, at ``w = 0`` the hinge ``(k - m)_+``. What is proved
        with such a loss in closed form is proved for all of them.
    quadratic : bool
        Whether ``phi(m) = (1 - m)^2 / 2``, so that the minimiser solves a linear system.
    free_intercept : bool
        Whether scikit-learn's classifier of this loss does not penalise its intercept.
    continuation : tuple of MarginLoss
        Flatter losses that lead Newton's method to this one, flattest first.
    """

    name: ClassVar[str]
    lipschitz: float
    smoothness: float
    turn: ClassVar[float | None] = None
    soft_hinge: tuple[float, float] | None = None
    quadratic: ClassVar[bool] = False
    free_intercept: ClassVar[bool] = False
    continuation: tuple[MarginLoss, ...] = ()

    @property
    def kink(self) -> float | None:
        """The margin at which the derivative jumps from -1 to 0: that of the hinge, None for other losses."""
        return self.soft_hinge[0] if self.soft_hinge is not None and self.soft_hinge[1] == 0 else None

    @property
    def reach(self) -> float:
        """``sup_t t psi(t)``, or more: the constant of the closed-form reachability threshold.

        References
        ----------
        Lu, Kamath, Yu, Theorem 2; ``b`` in the notation ``sup t l'(t)``.
        """
        return float(self.worst_pull(np.zeros(1))[0][0])

    @property
    def sides(self) -> tuple[float, ...]:
        """1 for the decreasing branch, and -1 where there is an increasing one."""
        return (1.0,) if self.turn is None else (1.0, -1.0)

    @abstractmethod
    def value(self, m: Array) -> Array:
        """``phi(m)``, elementwise."""

    @abstractmethod
    def derivative(self, m: Array) -> Array:
        """``phi'(m)``, elementwise; at a kink the element of least norm of the subdifferential."""

    @abstractmethod
    def second_derivative(self, m: Array) -> Array:
        """``phi''(m)``, elementwise; zero at a kink."""

    @abstractmethod
    def expression(self, m: Any) -> Any:
        """``phi(m)`` as a cvxpy expression, convex in the affine expression `m`."""

    @abstractmethod
    def margin_at_loss(self, value: float) -> float:
        """The largest ``m`` with ``phi(m) >= value``, for values that the decreasing branch takes.

        A cap on the loss is then a half-space: ``phi(m) <= value`` iff ``m >= margin_at_loss(value)``
        on that branch.
        """

    def pull_constraints(self, pull: Any, pulled_margin: Any, mass: Any) -> list[Any]:
        """cvxpy constraints under which one point of weight at most `mass` pulls with `pull`.

        A point ``x`` of one class with weight ``e`` enters the stationarity condition as
        ``w = e psi(m)`` and ``u = w x``. For affine expressions ``w = pull`` and
        ``w m = pulled_margin`` the constraints state ``w / psi(m) <= mass``, which is jointly
        convex because ``1 / psi`` is (perspective); hinge states ``w = mass, m <= 1``.

        Raises
        ------
        CapabilityError
            If the loss does not state them, such as one whose ``1 / psi`` is not convex.
        """
        raise self._unstated("pull_constraints")

    def gain(self, pull: Any, mass: Any) -> tuple[Any, list[Any]]:
        """The loss by its conjugate: ``mass phi(m) = sup_w gain(w, mass) - w m``, for `mass` of at least 0.

        Parameters
        ----------
        pull : cvxpy expression, affine
            ``w``, scalar or of shape (n,).
        mass : scalar cvxpy expression, affine, or numbers above 0 of the shape of `pull`

        Returns
        -------
        gain : cvxpy expression of the shape of `pull`, jointly concave
        constraints : list
            Where it is finite.

        Raises
        ------
        CapabilityError
            If the loss does not state its conjugate.
        """
        raise self._unstated("gain")

    def worst_loss(self, r: Array) -> tuple[Array, Array]:
        """``phi(-r)`` where the loss decreases, and its derivative in `r`; flat beyond `turn`.

        Increasing and convex in `r`. Where the loss is zero any number that is not positive will do.
        """
        m = -r if self.turn is None else np.minimum(-r, self.turn)
        return self.value(m), -self.derivative(m)

    def worst_pull(self, r: Array) -> tuple[Array, Array]:
        """``G(r) = sup_t psi(t) (t + r)``, or more, and its derivative: increasing and convex in `r`.

        The dual piece of a point in certificates: at a model that gives it the margin t it pulls towards another,
        which gives it -r, by at most G(r); its cone function is the perspective ``q G(h / q)``. As
        ``phi(-r) >= phi(t) + phi'(t) (-r - t)`` and ``phi >= 0``, `worst_loss` is never less, and stands here for a
        loss without a formula.
        """
        return self.worst_loss(r)

    def on_branch(self, side: float, margin: Any, unit: Any = 1.0) -> Any:
        """A margin as the decreasing branch has it: ``m`` on the side 1, ``2 turn - m`` on the side -1.

        With ``unit = w`` for ``w m`` in the place of ``m``.
        """
        return margin if side > 0 or self.turn is None else 2 * self.turn * unit - margin

    def require(self, *members: str) -> None:
        """CapabilityError for a loss that does not state these methods, which a subclass may leave out."""
        for member in members:
            if not self.states(member):
                raise self._unstated(member)

    def states(self, member: str) -> bool:
        """Whether the loss has a method of its own where one may be left out."""
        return getattr(type(self), member) is not getattr(MarginLoss, member)

    def _unstated(self, member: str) -> CapabilityError:
        return CapabilityError(f"a loss that states `{member}`", repr(self), "See linpoison.losses.MarginLoss.")

    @property
    def parameters(self) -> dict[str, float]:
        """What the constructor takes, by name."""
        return dict(vars(self))

    def pull(self, m: Array) -> Array:
        """``psi(m) = -phi'(m)``, elementwise, zero where the loss increases."""
        return (-self.derivative(m)).clip(min=0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self).__name__, *sorted(vars(self).items())))


def check_loss(loss: MarginLoss) -> None:
    """InputError for anything else, CapabilityError for a loss that says too little of its shape."""
    if not isinstance(loss, MarginLoss):
        raise InputError("a loss of linpoison.losses", repr(loss))
    if loss.kink not in (None, 1.0):
        raise CapabilityError("a hinge with its kink at margin 1", repr(loss), "Scale it, or smooth it.")
    if loss.turn is None and float(loss.derivative(np.array([1e6]))[0]) > 0:
        raise CapabilityError("a loss that does not increase, or says from where on (`turn`)", repr(loss))
