"""What a margin loss offers: one function in numpy, in cvxpy, and as the cone of its gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ..core.errors import CapabilityError
from ..core.validation import Array


class MarginLoss(ABC):
    """A convex loss ``phi(m)`` of the margin ``m = y (x . coef + intercept)``.

    Write ``psi(m) = -phi'(m) >= 0`` for the pull of a point: the gradient of its loss in
    ``(coef, intercept)`` is ``-psi(m) y (x, 1)``.

    Attributes
    ----------
    name : str
    lipschitz : float
        ``sup |phi'|``, infinite if there is none.
    smoothness : float
        ``sup phi''``, infinite for a kink.
    reach : float
        ``sup_t t psi(t)``, the constant of the closed-form reachability threshold
        (Lu et al., Theorem 2; ``b`` in the notation ``sup t l'(t)``).
    kink : float or None
        The margin at which the derivative jumps, if there is one.
    """

    name: ClassVar[str]
    lipschitz: float
    smoothness: float
    reach: float
    kink: ClassVar[float | None] = None

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

    @abstractmethod
    def pull_constraints(self, pull: Any, pulled_margin: Any, mass: Any) -> list[Any]:
        """cvxpy constraints under which one point of weight at most `mass` pulls with `pull`.

        A point ``x`` of one class with weight ``e`` enters the stationarity condition as
        ``w = e psi(m)`` and ``u = w x``. For affine expressions ``w = pull`` and
        ``w m = pulled_margin`` the constraints state ``w / psi(m) <= mass``, which is jointly
        convex because ``1 / psi`` is (perspective); hinge states ``w = mass, m <= 1``.
        """

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
        raise CapabilityError(
            "a loss that states its conjugate (`gain`)", repr(self), "Leave the conic solver out, or state it."
        )

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
