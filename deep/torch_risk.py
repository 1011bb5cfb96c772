"""Any torch module as a `Risk`: derivatives by torch.func, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Literal

from linpoison.core import InputError, check_integer, check_number, check_seed
from linpoison.losses import MarginLoss
from linpoison.risk.arrays import count_rows, movable
from linpoison.risk.linear_risk import shares
from linpoison.risk.score_losses import cross_entropy_reach

from .labels import Labels, numbers_of
from .need_torch import torch
from .outputs import Output, in_precision, scores_of
from .statistics import changed, learned, plain, statistics_of
from .torch_calls import Calls
from .torch_check import ROWS, Checked
from .torch_losses import Loss, count_classes, cross_entropy, resolve
from .torch_modules import Layout, check_module, features_of, fresh
from .torch_repeated import Repeated
from .torch_rows import Chunk, Finite, as_labels, as_rows, chunks, given
from .torch_second import WAYS, gradient, row_gradients


class TorchRisk(Repeated):
    """A torch module with a loss, as a `Risk` over the flat vector of its parameters.

    ::

        L(w) = reg/2 |P w|^2 + (1 / sum c) sum_i c_i l(module(x_i; w), y_i)

    Everything is computed in evaluation mode (no dropout, stored batch statistics), without TF32 or autocast, in the
    precision of the module; sums over rows and chunks are float64, in a fixed order. The module itself is never
    changed: `w` is an argument everywhere. Memory holds one chunk of activations, whatever the number of rows.

    Parameters
    ----------
    module : torch.nn.Module
    loss : str, MarginLoss or callable, default "cross_entropy"
        "cross_entropy", a margin loss of the core or its name (one output, two classes), or a function of outputs and
        labels that gives one number for each row.
    reg : float, default 0
    penalize_intercept : bool, default True
        If False, P drops the parameters named "bias".
    params : callable or sequence of str, optional
        Which parameters form `w`: a test of their names, or names. Others stay what they are in the module.
    chunk : int, default 2048
        Rows at a time. Has no influence on the result but rounding.
    head : str, optional
        Name of the last linear layer, by default the ``torch.nn.Linear`` that the module registers last.
    derivative : {"auto", "forward", "double_backward"}, default "auto"
        Second derivatives by a forward sweep through a backward one, or by two backward ones. "auto" takes the first
        that agrees with differences.
    init : callable, optional
        Given a copy of the module, sets its parameters anew; by default every layer's ``reset_parameters``.
    output : str, int or callable, optional
        Which part of what the module returns is its scores: a key of a mapping or an attribute such as "logits", a
        place in a tuple, or a function. Left out, the module returns one tensor.
    classes : sequence, optional
        All labels in the order of the outputs. Left out, whole numbers from 0 (-1 and +1 for a loss of the margin) are
        taken as they are, and any others sorted, from the first that come; for a loss of the margin the second of two
        is +1. A function as `loss` is given labels as they are.
    check : bool, default True
        Whether the first rows that are looked at hold the module to what attacks need: one answer for the same rows,
        rows that do not depend on each other, and gradients, Hessian and mixed products that agree with differences.
        It costs some thirty passes over four rows, once, and names the layer that fails. Without it, a module that
        fails gives wrong numbers.

    Raises
    ------
    InputError
        For what is no module of torch, or one without parameters.
    CapabilityError
        For a module that is lazy, on the meta device, wrapped for several devices or of another precision; at the first
        evaluation, for one that fails the check.

    Examples
    --------
    >>> risk = TorchRisk(torch.nn.Linear(2, 1, bias=False).double(), "logistic", reg=0.1)
    >>> risk.grad(risk.vector([0.0, 0.0]), [[2.0, 0.0]], [1.0])
    tensor([-1., 0.], dtype=torch.float64)
    """

    def __init__(
        self,
        module: Any,
        loss: str | MarginLoss | Loss = "cross_entropy",
        reg: float = 0.0,
        *,
        penalize_intercept: bool = True,
        params: Callable[[str], bool] | Any = None,
        chunk: int = 2048,
        head: str | None = None,
        derivative: Literal["auto", "forward", "double_backward"] = "auto",
        init: Callable[[Any], None] | None = None,
        output: Output | None = None,
        classes: Sequence[Any] | None = None,
        check: bool = True,
    ) -> None:
        check_module(module)
        if derivative not in WAYS:
            raise InputError("derivative 'auto', 'forward' or 'double_backward'", repr(derivative))
        self.module, self._init, self.head_name, self.derivative = module, init, head, derivative
        (self._loss, self.margin_loss), self.loss_function = resolve(loss), loss
        self._reg = check_number(reg, "reg", at_least=0)
        self.penalize_intercept = bool(penalize_intercept)
        self.chunk = check_integer(chunk, "chunk", at_least=1)
        self.layout, self.check = Layout(module, params), bool(check)
        self._checked = Checked(self.check, derivative)
        self._calls, self._finite = Calls(self.layout, output), Finite()
        self._labels = Labels(self.margin_loss is not None, classes)
        self._coded = self._loss is cross_entropy or self.margin_loss is not None or classes is not None
        self._statistics: dict[str, Any] | None = None

    def on(self, module: Any, names: Any = None, init: Callable[[Any], None] | None = None) -> TorchRisk:
        """The same risk of another module of its shape, or of some parameters; not checked again, begun by `init`."""
        options: dict[str, Any] = {"chunk": self.chunk, "head": self.head_name, "derivative": self.derivative}
        options |= {"init": init or self._init, "penalize_intercept": self.penalize_intercept}
        options["params"] = self.layout.names if names is None else names
        risk = TorchRisk(module, self.loss_function, self._reg, output=self._calls.output, check=self.check, **options)
        risk._checked, risk._labels, risk._coded = self._checked, self._labels, self._coded
        risk._calls.whole, risk.steps_in = self._calls.whole, self.steps_in
        return risk

    def only(self, w: Any, names: Any) -> tuple[TorchRisk, Any]:
        """The risk of some of the parameters, by their names, with the others fixed as in `w`; and theirs in `w`."""
        risk = self.on(self.module_at(w), names)
        return risk, risk.current

    def learned(self, module: Any) -> TorchRisk:
        """The same risk of a module that was learned; its vectors bring the buffers that learning changed."""
        risk = self.on(module.eval())
        risk._statistics = changed(module, self.module)
        return risk

    def of_codes(self) -> TorchRisk:
        """The same risk for labels as torch counts them, whatever labels it has been given."""
        risk = self.on(self.module)
        risk._labels = Labels(self.margin_loss is not None)
        return risk

    @property
    def classes_(self) -> Any:
        """Labels in the order of the outputs, -1 and +1 for a loss of the margin; None before any came."""
        return self._labels.classes_

    @property
    def reg(self) -> float:
        return self._reg

    @property
    def size(self) -> int:
        """Number p of parameters in `w`."""
        return self.layout.size

    @property
    def reach(self) -> float:
        if not self.layout.has_head(self.head_name):
            return float("nan")
        if self.margin_loss is not None:
            return self.margin_loss.reach
        if self._loss is cross_entropy:
            return cross_entropy_reach(self.layout.head_outputs(self.head_name))
        return float("nan")

    @property
    def head(self) -> Any:
        return self.layout.head(self.head_name)

    @property
    def current(self) -> Any:
        """The parameters that the module has, as a vector."""
        return learned(self.layout.current(), self._statistics)

    def rows(self, X: Any) -> Any:
        """`X` as a copy on the module's device: in its precision, or whole numbers where it takes them."""
        return self._calls.kind(as_rows(X, self.layout.first)).clone()

    def vector(self, w: Any) -> Any:
        try:
            found = plain(w).to(self.layout.first.device, torch.float64).detach().clone()
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"{self.size} finite parameters", f"a {type(w).__name__}") from None
        if found.shape != (self.size,):
            raise InputError(f"{self.size} finite parameters", f"shape {tuple(found.shape)}")
        if not bool(torch.isfinite(found).all()):
            raise InputError(f"{self.size} finite parameters", "NaN or infinity")
        return learned(found, statistics_of(w) or self._statistics)

    def codes(self, y: Any, X: Any) -> Any:
        """Labels as numbers that the loss takes, in an array or tensor: the place in `classes_`, or -1 and +1.

        Raises
        ------
        InputError
            For labels that are not among the classes, or not one for each row.
        """
        if not self._coded:
            return numbers_of(y)
        if self._checked.outputs is None:
            self._checked.outputs = self._count_outputs(X)
        return self._labels.codes(y, self._checked.outputs)

    def targets(self, y: Any, X: Any) -> Any:
        """`codes` as a tensor on the module's device."""
        return self._target(self.codes(y, X))

    def init(self, seed: int, d: int = 0) -> Any:
        return self.on(self.fresh_module(seed)).current

    def fresh_module(self, seed: int) -> Any:
        """A copy of the module with the parameters of `w` drawn anew; global generators are left as they were."""
        return fresh(self.module, check_seed(seed), self.layout.names, self._init)

    def module_at(self, w: Any) -> Any:
        """A copy of the module with the parameters `w`, and the statistics that it brings."""
        return self.layout.module_at(plain(w), statistics_of(w))

    def loss(self, w: Any, X: Any, y: Any) -> Any:
        self._look_through(X)
        params = self._params(w)
        with self._exact(w, X, y) as parts:
            return torch.cat([self._losses(params, x, t).double() for x, t, _ in parts])

    def loss_vjp(self, w: Any, X: Any, y: Any, coefficients: Any) -> Any:
        params, share = self._params(w), self._coefficients(coefficients)
        with self._exact(w, X, y) as parts:
            total = None
            for x, t, part in parts:
                found = self.layout.flat(gradient(partial(self._weighted, x=x, y=t, share=share[part]), params))
                total = found if total is None else total.add_(found)
        return total

    def data_grad(self, w: Any, X: Any, y: Any, weights: Any = None) -> Any:
        self._look_through(X)
        return self.loss_vjp(w, X, y, self._shares(weights, count_rows(X)))

    def penalty_grad(self, w: Any) -> Any:
        free = [] if self.penalize_intercept else self.layout.biases
        penalty = self._reg * plain(w)
        for part in free:
            penalty[part] = 0.0
        return penalty

    def grad(self, w: Any, X: Any, y: Any, weights: Any = None) -> Any:
        return self.data_grad(w, X, y, weights) + self.penalty_grad(w)

    def per_sample_grad(self, w: Any, X: Any, y: Any) -> Any:
        params = self._params(w)
        with self._exact(w, X, y, twice=True) as parts:
            return torch.cat([self.layout.flat(row_gradients(self._losses, params, x, t), len(x)) for x, t, _ in parts])

    def loss_jvp(self, w: Any, X: Any, y: Any, v: Any) -> Any:
        params, found = self._params(w), []
        with self._exact(w, X, y, twice=True) as parts:
            for x, t, _ in parts:
                losses = partial(self._losses, x=x, y=t)
                found.append(self._checked.second("slopes", losses, params, self._tangent(v)).double())
        return torch.cat(found)

    def hvp(self, w: Any, X: Any, y: Any, v: Any, weights: Any = None) -> Any:
        return self.curvature(w, X, y, self._shares(weights, count_rows(X)))(v) + self.penalty_grad(v)

    def mixed_product(self, w: Any, X: Any, y: Any, u: Any) -> Any:
        params, found = self._params(w), []
        with self._exact(w, X, y, twice=True) as parts:
            for x, t, _ in parts:
                losses = partial(self._losses, y=t)
                found.append(self._checked.second("mixed_product", losses, params, self._tangent(u), self._movable(x)))
        return torch.cat(found)

    def row_grad(self, w: Any, X: Any, y: Any) -> Any:
        params, found = self._params(w), []
        with self._exact(w, X, y) as parts:
            for x, t, _ in parts:
                found.append(gradient(partial(self._total, params, t), {"x": self._movable(x)})["x"])
        return torch.cat(found)

    def scores(self, w: Any, X: Any) -> Any:
        self._look_through(X)
        params = self._params(w)
        with self._exact(w, X, None) as parts:
            outputs = torch.cat([scores_of(self._calls.outputs(params, x)).reshape(len(x), -1) for x, _, _ in parts])
        return outputs.double()

    def predict(self, w: Any, X: Any) -> Any:
        """Labels, shape (n,): of the kind that the risk was given, as torch counts them if it was given none."""
        scores = self.scores(w, X)
        margin = self.margin_loss is not None
        codes = torch.where(scores[:, 0] > 0, 1.0, -1.0).double() if margin else scores.argmax(dim=1)
        if self._labels.classes_ is None or self._labels.native:
            return codes
        return self._labels.names(codes.cpu().numpy())

    def features(self, w: Any, X: Any, layer: str | None = None) -> Any:
        """What the last linear layer is given, or what the layer of a name gives, shape (n, h)."""
        params, name, found = self._params(w), self.head_name if layer is None else layer, []
        with self._exact(w, X, None) as parts, features_of(self.module, name, output=layer is not None) as seen:
            for x, _, _ in parts:
                self._calls.outputs(params, x)
                found.append(seen[-1].reshape(len(x), -1))
        return torch.cat(found).double()

    def training_outputs(self, module: Any, x: Any) -> Any:
        """What a module in any mode gives for a batch, with its graph."""
        return self._calls.returned(module, x)

    def training_loss(self, outputs: Any, y: Any) -> Any:
        """Mean loss of a batch, for training: outputs in any precision, with their graph, and `targets`."""
        return self.loss_of(outputs, y).mean()

    def loss_of(self, outputs: Any, y: Any) -> Any:
        """Of each row, from outputs in any precision."""
        return self._loss(in_precision(outputs, self.layout.first.dtype), y)

    def look(self, X: Any, y: Any) -> None:
        """Hold the module to what attacks need, unless that is done."""
        self._look_through(X)
        with self._exact(self.current, X, y):
            pass

    def penalty(self, tensors: dict[str, Any]) -> Any:
        """``reg/2 |P w|^2`` of tensors by name, with their graph; None without a regulariser."""
        return self._reg / 2 * sum((tensors[k] ** 2).sum() for k in self.penalized) if self._reg else None

    @property
    def penalized(self) -> list[str]:
        """Names of the parameters that the regulariser is of."""
        return [k for k in self.layout.names if self.penalize_intercept or k.rsplit(".", 1)[-1] != "bias"]

    def _params(self, w: Any) -> dict[str, Any]:
        return self.layout.split(w)

    def _look_through(self, X: Any) -> None:
        if not self._steady:
            self._finite.check(X)

    def _coefficients(self, values: Any) -> Any:
        return torch.as_tensor(values, dtype=torch.float64).to(self.layout.first)

    def _shares(self, weights: Any, n: int) -> Any:
        return shares(weights.detach().cpu().numpy() if isinstance(weights, torch.Tensor) else weights, n)

    @contextmanager
    def _exact(self, w: Any, X: Any, y: Any, *, twice: bool = False) -> Iterator[Iterator[Chunk]]:
        """The chunks, while the module and the process are in the state that derivatives at `w` need."""
        before, self._calls.here = self._calls.here, statistics_of(w)
        try:
            with nullcontext() if self._steady else self._calls.state(twice=twice):
                if y is not None and not self._steady:
                    y = self.codes(y, X)
                if self._checked.misses(y is not None or not hasattr(X, "shape"), count_rows(X)):
                    self._look(X, y)
                yield self._chunks(X, y, self.chunk)
        finally:
            self._calls.here = before

    def _chunks(self, X: Any, y: Any, size: int) -> Iterator[Chunk]:
        """Rows and labels as the module and the loss take them."""
        for x, t, part in chunks(X, y, size, self.layout.first):
            if t is not None and y is None:  # of a Dataset, whose labels come with its rows
                t = self.codes(t, x)
            yield self._calls.kind(x), None if t is None else self._target(t), part

    def _target(self, codes: Any) -> Any:
        labels = as_labels(codes, self.layout.first)
        return labels if self.margin_loss is None else labels.to(self.layout.first.dtype)

    def _count_outputs(self, X: Any) -> int:
        with self._calls.state():
            x = self._calls.kind(next(chunks(X, None, ROWS, self.layout.first))[0])
            outputs = self._calls.outputs(self._calls.copies(), x.clone())
        return 1 if self.margin_loss is not None else count_classes(outputs)

    def _look(self, X: Any, y: Any) -> None:
        """Hold the module to what is needed, on the first rows."""
        x, t, _ = next(self._chunks(X, y, ROWS))
        if not hasattr(X, "shape") and not torch.equal(x, next(self._chunks(X, y, ROWS))[0]):
            remedy = "Leave augmentation out, or draw it once and keep the rows."
            raise InputError("a Dataset that gives the same rows again", "others the second time", remedy)
        self._checked.look(self._calls.fair_probe(x, t, self._loss))

    def _movable(self, x: Any) -> Any:
        """Rows that can be moved, and along slopes."""
        if not self._checked.slopes:
            self._checked.look_for_slopes(self._calls.fair_probe(movable(x)[:ROWS], None, None))
        return movable(x)

    def _losses(self, params: dict[str, Any], x: Any, y: Any) -> Any:
        return self._loss(self._calls.outputs(params, x), given(y))

    def _total(self, params: dict[str, Any], y: Any, rows: dict[str, Any]) -> Any:
        return self._losses(params, rows["x"], y).sum()

    def _weighted(self, params: dict[str, Any], x: Any, y: Any, share: Any) -> Any:
        return (share * self._losses(params, x, y)).sum()
