"""A risk and its trainer as the learner that the defences of `linpoison.defenses` ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from linpoison.core import CapabilityError, InputError, check_among, check_number, check_seed
from linpoison.core.validation import Array
from linpoison.risk.arrays import like, to_numpy
from linpoison.risk.implicit import hessian
from linpoison.risk.protocols import InverseHVP, Risk, Trainer, Vector
from linpoison.risk.samples import Sample
from linpoison.risk.solvers import GaussNewton

LIMIT = 4000
"""The most parameters whose Hessian is written out."""


@dataclass(frozen=True)
class RiskLearner:
    """A network, or a linear model of this room, as a `linpoison.defenses.RowLearner`.

    The argument `learner` of `TRIM`, `SEVER`, `InfluenceDefense`, `RONI` and `MaxUp`, and `representation` of
    `SpectralSignatures` and `ActivationClustering`.

    Parameters
    ----------
    risk : Risk
    trainer : Trainer or callable
        `SGDTrainer()`, `LBFGSTrainer()` or a training function (`FunctionTrainer`): every fit begins from scratch.
    parameters : {"all", "head"}, default "all"
        In which gradients are taken: "head" is the last linear layer alone, the shortcut of the published code,
        other scores than those of all parameters.
    damping : float, default 0.01
        Of the Hessian behind `RiskRows.self_influence`, in units of its mean curvature.
    seed : int, default 0
        Of each training.
    classes : sequence, optional
        All labels in the order of the outputs, of which rows may lack some: ``range(10)`` for labels as torch counts
        them. Left out, a defence names the classes of the rows that it is fitted on, and of a call of `fit` they are
        the labels given there, sorted. For a margin loss two, the second of which is +1.
    shape : tuple of int, optional
        Of a row, where defences are given flat ones: those of a `Dataset`.
    solver : InverseHVP, default GaussNewton(relative_damping=1)
        Of the one linear system behind `RiskRows.influence_vector`. Directions in which a network hardly bends say
        little of a row, so that strong damping finds more wrong labels than weak one. `MINRES()` takes the Hessian
        itself, which is indefinite at most networks that are learned.

    Examples
    --------
    >>> from linpoison.risk import LBFGSTrainer, LinearRisk
    >>> from linpoison.defenses import TRIM
    >>> X, y = np.array([[-3.0], [-2.0], [2.0], [3.0], [2.5]]), np.array(["a", "a", "b", "b", "a"])
    >>> TRIM(remove=0.2, learner=RiskLearner(LinearRisk(2, 0.01), LBFGSTrainer())).fit(X, y).sample_indices_
    array([0, 1, 2, 3])
    """

    risk: Risk
    trainer: Trainer
    parameters: Literal["all", "head"] = "all"
    damping: float = 0.01
    seed: int = 0
    classes: Sequence[Any] | None = None
    shape: tuple[int, ...] | None = None
    solver: InverseHVP = GaussNewton(relative_damping=1.0)

    def __post_init__(self) -> None:
        if isinstance(self.trainer, type) or not hasattr(self.trainer, "fit"):
            from .function_trainer import as_trainer

            object.__setattr__(self, "trainer", as_trainer(self.trainer))
        check_among(self.parameters, "parameters", "all", "head")
        check_number(self.damping, "damping", at_least=0)
        check_seed(self.seed)
        if self.classes is not None:
            if np.ndim(self.classes) != 1:
                raise InputError("classes as a list of labels", repr(self.classes), "Such as range(10).")
            object.__setattr__(self, "classes", tuple(np.asarray(self.classes).tolist()))
            if len(set(self.classes)) < len(self.classes) or not self.classes:
                raise InputError("classes, each named once", repr(self.classes))

    def of_classes(self, classes: Any) -> RiskLearner:
        """The same learner of these classes, unless it has been given some."""
        return self if self.classes is not None else replace(self, classes=classes)

    def fit(self, X: Any, y: Any) -> RiskRows:
        """Train on rows with labels of any kind; the last of two classes is +1 for a margin loss.

        Raises
        ------
        InputError
            For labels that are not among `classes`; with a margin loss, for more or fewer than two classes.
        """
        classes = np.unique(y) if self.classes is None else np.asarray(self.classes)
        if self.risk.margin_loss is not None and classes.size != 2:
            raise InputError("rows of two classes with a margin loss", f"{classes.size}")
        coded = _coded(self.risk, _codes(classes, y, "Name it in `classes`."))
        risk = self.risk.of_codes() if hasattr(self.risk, "of_codes") else self.risk
        trained = self.trainer.fit(risk, Sample(risk.rows(_shaped(X, self.shape)), coded), seed=self.seed)
        return RiskRows(trained.risk, trained.w, classes, self.parameters, self.damping, self.shape, self.solver)


@dataclass(frozen=True, eq=False)
class RiskRows:
    """A trained model, as defences look at it: a `linpoison.defenses.ProductModel`.

    Parameters
    ----------
    risk : Risk
    w : Vector
    classes : ndarray
        Labels in the order of the outputs.
    parameters : {"all", "head"}
        In which gradients are taken.
    damping : float
    shape : tuple of int, optional
    solver : InverseHVP
    """

    risk: Any
    w: Vector
    classes: Any
    parameters: Literal["all", "head"] = "all"
    damping: float = 0.01
    shape: tuple[int, ...] | None = None
    solver: InverseHVP = GaussNewton(relative_damping=1.0)
    _hessian: list[Any] = field(default_factory=list, repr=False)

    @property
    def single_precision(self) -> bool:
        """Whether the module computes in float32."""
        return "32" in str(self.risk.rows(np.zeros((1, 1))).dtype)

    def losses(self, X: Any, y: Any) -> Array:
        """Loss of each row, shape (n,)."""
        return to_numpy(self.risk.loss(self.w, self._rows(X), self._codes(y)))

    def gradients(self, X: Any, y: Any) -> Array:
        """Gradient of each row's loss, shape (n, p): for small models."""
        return to_numpy(self.risk.per_sample_grad(self.w, self._rows(X), self._codes(y)))[:, self._chosen]

    def gradient_products(self, X: Any, y: Any, v: Array) -> Array:
        """``gradients(X, y) @ v``, by one forward derivative of the losses, chunk by chunk."""
        return to_numpy(self.risk.loss_jvp(self.w, self._rows(X), self._codes(y), self._wide(v)))

    def gradient_sum(self, X: Any, y: Any, coefficients: Array) -> Array:
        """``gradients(X, y).T @ coefficients``, by one backward derivative, chunk by chunk."""
        total = self.risk.loss_vjp(self.w, self._rows(X), self._codes(y), coefficients)
        return to_numpy(total)[self._chosen]

    def self_influence(self, X: Any, y: Any, train: tuple[Any, Any]) -> Array:
        """``g_i' (H + d I)^(-1) g_i`` with the Hessian H of the objective on the rows `train`.

        H of a network need not be positive: d is the damping, or as much more as makes it so.

        Raises
        ------
        CapabilityError
            For more than `LIMIT` parameters.
        """
        values, vectors = self._spectrum(*train)
        mean = max(float(np.abs(values).mean()), 1e-12)
        shift = self.damping * mean + max(0.0, 1e-6 * mean - float(values.min()))
        along = self.gradients(X, y) @ vectors
        return np.asarray((along**2 / (values + shift)).sum(axis=1))

    def influence_vector(self, group: tuple[Any, Any], train: tuple[Any, Any]) -> Array:
        """``H^(-1) grad L`` in the chosen parameters, L the mean loss of a group and H of the objective on `train`.

        One linear system by `solver`, for any number of parameters; numbers come to the host at its end.
        """
        data = Sample(self._rows(train[0]), self._codes(train[1]))
        product = hessian(self.risk, self.w, data, gauss_newton=self.solver.gauss_newton)
        slope = self.risk.data_grad(self.w, self._rows(group[0]), self._codes(group[1]))
        if self.parameters == "all":
            return to_numpy(self.solver.solve(product, slope).x)
        place = self.risk.head

        def restricted(v: Vector) -> Vector:
            wide = 0.0 * slope
            wide[place] = v
            return product(wide)[place]

        return to_numpy(self.solver.solve(restricted, slope[place]).x)

    def representation(self, X: Any) -> Array:
        """What the last linear layer is given, shape (n, h)."""
        return to_numpy(self.risk.features(self.w, self._rows(X)))

    def predict(self, X: Any) -> Any:
        """Labels as they were given to `RiskLearner.fit`."""
        found = to_numpy(self.risk.predict(self.w, self._rows(X)))
        return self.classes[(found > 0).astype(int) if self.risk.margin_loss is not None else found.astype(int)]

    @property
    def _chosen(self) -> Any:
        if self.parameters == "all":
            return slice(None)
        head = self.risk.head
        return head.cpu().numpy() if hasattr(head, "cpu") else head

    def _wide(self, v: Array) -> Vector:
        """A vector of the chosen parameters as one of all."""
        full = np.zeros(len(self.w))
        full[self._chosen] = v
        return like(full, self.w)

    def _spectrum(self, X: Any, y: Any) -> tuple[Array, Array]:
        """Eigenvalues and vectors of the Hessian in the chosen parameters."""
        if not self._hessian or self._hessian[0] is not X or self._hessian[1] is not y:
            p = int(np.zeros(len(self.w))[self._chosen].size)
            if p > LIMIT:
                raise CapabilityError(f"at most {LIMIT} parameters", f"{p}", 'Take parameters="head".')
            rows, codes = self._rows(X), self._codes(y)
            products = (self.risk.hvp(self.w, rows, codes, self._wide(unit)) for unit in np.eye(p))
            columns = np.array([to_numpy(product)[self._chosen] for product in products])
            self._hessian[:] = X, y, np.linalg.eigh((columns + columns.T) / 2)
        values, vectors = self._hessian[2]
        return values, vectors

    def _rows(self, X: Any) -> Any:
        return self.risk.rows(_shaped(X, self.shape))

    def _codes(self, y: Any) -> Any:
        return _coded(self.risk, _codes(self.classes, y, "Fit on rows of every class, or name all in `classes`."))


def _shaped(X: Any, shape: tuple[int, ...] | None) -> Any:
    return X if shape is None else X.reshape(-1, *shape)


def _codes(classes: Any, y: Any, remedy: str) -> Any:
    """The place of each label among the classes."""
    labels, order = np.asarray(y), np.argsort(classes, kind="stable")
    codes = order[np.searchsorted(classes, labels, sorter=order).clip(max=len(classes) - 1)]
    if not (classes[codes] == labels).all():
        raise InputError(f"labels among {classes.tolist()}", f"{np.setdiff1d(labels, classes)[:3].tolist()}", remedy)
    return codes


def _coded(risk: Risk, codes: Any) -> Any:
    return codes if risk.margin_loss is None else np.where(codes > 0, 1.0, -1.0)
