"""Any torch module as a `RiskModel`: derivatives by torch.func, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

from linpoison.core import CapabilityError, InputError, MissingDependency, check_integer, check_number, check_seed
from linpoison.losses import MarginLoss

from .arrays import count_rows
from .linear_risk import shares
from .precision import derivable, evaluating, full_precision
from .score_losses import cross_entropy_reach
from .torch_losses import Loss, cross_entropy, resolve
from .torch_modules import Layout, features_of, fresh
from .torch_rows import Chunk, as_rows, chunks
from .torch_second import gradient, hessian_product, mixed_product, slopes

try:
    import torch
    from torch.func import functional_call, grad, vmap
except ImportError:
    raise MissingDependency("torch", "to differentiate networks", "deep") from None


class TorchRisk:
    """A torch module with a loss, as a `RiskModel` over the flat vector of its parameters.

    ::

        L(w) = reg/2 |P w|^2 + (1 / sum c) sum_i c_i l(module(x_i; w), y_i)

    Everything is computed in evaluation mode (no dropout, stored batch statistics), without TF32 or autocast, in the
    precision of the module; sums over rows and chunks are float64, in a fixed order. The module itself is never
    changed: `w` is an argument everywhere. Memory holds one chunk of activations, whatever the number of rows.

    Parameters
    ----------
    module : torch.nn.Module
    loss : str, MarginLoss or callable, default "cross_entropy"
        "cross_entropy" (labels from 0), a margin loss of the core or its name (one output, labels in {-1, +1}), or a
        function of outputs and labels that gives one number for each row.
    reg : float, default 0
    penalize_intercept : bool, default True
        If False, P drops the parameters named "bias".
    params : callable or sequence of str, optional
        Which parameters form `w`: a test of their names, or names. Others stay what they are in the module.
    chunk : int, default 1024
        Rows at a time. Has no influence on the result but rounding.
    head : str, optional
        Name of the last linear layer, by default the ``torch.nn.Linear`` that the module registers last.
    derivative : {"auto", "forward", "double_backward"}, default "auto"
        Second derivatives by a forward sweep through a backward one, or by two backward ones, which every
        differentiable operation supports. "auto" turns to the second where the first is not there.
    init : callable, optional
        Given a copy of the module, sets its parameters anew; by default every layer's ``reset_parameters``.

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
        chunk: int = 1024,
        head: str | None = None,
        derivative: Literal["auto", "forward", "double_backward"] = "auto",
        init: Callable[[Any], None] | None = None,
    ) -> None:
        if not isinstance(module, torch.nn.Module):
            raise InputError("a torch.nn.Module", type(module).__name__)
        if derivative not in ("auto", "forward", "double_backward"):
            raise InputError("derivative 'auto', 'forward' or 'double_backward'", repr(derivative))
        self.module, self._init, self._head, self.derivative = module, init, head, derivative
        self._loss, self.margin_loss = resolve(loss)
        self.loss_function = loss
        self._reg = check_number(reg, "reg", at_least=0)
        self.penalize_intercept = bool(penalize_intercept)
        self.chunk = check_integer(chunk, "chunk", at_least=1)
        self.layout = Layout(module, params)

    def on(self, module: Any) -> TorchRisk:
        """The same risk of another module of the same shape."""
        names = self.layout.names
        options: dict[str, Any] = {"chunk": self.chunk, "head": self._head, "derivative": self.derivative}
        options |= {"init": self._init, "penalize_intercept": self.penalize_intercept, "params": names}
        return TorchRisk(module, self.loss_function, self._reg, **options)

    @property
    def reg(self) -> float:
        return self._reg

    @property
    def size(self) -> int:
        """Number p of parameters in `w`."""
        return self.layout.size

    @property
    def reach(self) -> float:
        if not self.layout.has_head(self._head):
            return float("nan")
        if self.margin_loss is not None:
            return self.margin_loss.reach
        if self._loss is cross_entropy:
            return cross_entropy_reach(self.layout.head_outputs(self._head))
        return float("nan")

    @property
    def head(self) -> Any:
        return self.layout.head(self._head)

    @property
    def current(self) -> Any:
        """The parameters that the module has, as a vector."""
        return self.layout.current()

    def rows(self, X: Any) -> Any:
        rows = as_rows(X, self.layout.first)
        if not rows.is_floating_point():
            rows = rows.to(self.layout.first.dtype)
        return rows.clone()

    def vector(self, w: Any) -> Any:
        vector = torch.as_tensor(w, dtype=torch.float64, device=self.layout.first.device).detach().clone()
        if vector.shape != (self.size,) or not bool(torch.isfinite(vector).all()):
            raise InputError(f"{self.size} finite parameters", f"shape {tuple(vector.shape)}")
        return vector

    def init(self, seed: int, d: int = 0) -> Any:
        return self.on(self.fresh_module(seed)).current

    def fresh_module(self, seed: int) -> Any:
        """A copy of the module with the parameters of `w` drawn anew; global generators are left as they were."""
        return fresh(self.module, check_seed(seed), self.layout.names, self._init)

    def module_at(self, w: Any) -> Any:
        """A copy of the module with the parameters `w`."""
        return self.layout.module_at(w)

    def loss(self, w: Any, X: Any, y: Any) -> Any:
        params = self._params(w)
        with self._exact(X, y) as parts:
            return torch.cat([self._losses(params, x, t).double() for x, t, _ in parts])

    def loss_vjp(self, w: Any, X: Any, y: Any, coefficients: Any) -> Any:
        params, share = self._params(w), self._coefficients(coefficients)
        total = torch.zeros(self.size, dtype=torch.float64, device=self.layout.first.device)
        with self._exact(X, y) as parts:
            for x, t, part in parts:
                mean = partial(self._weighted, x=x, y=t, share=share[part])
                total += self.layout.flat(gradient(mean, params))
        return total

    def data_grad(self, w: Any, X: Any, y: Any, weights: Any = None) -> Any:
        return self.loss_vjp(w, X, y, self._shares(weights, count_rows(X)))

    def penalty_grad(self, w: Any) -> Any:
        free = [] if self.penalize_intercept else self.layout.biases
        penalty = self._reg * w
        for part in free:
            penalty[part] = 0.0
        return penalty

    def grad(self, w: Any, X: Any, y: Any, weights: Any = None) -> Any:
        return self.data_grad(w, X, y, weights) + self.penalty_grad(w)

    def per_sample_grad(self, w: Any, X: Any, y: Any) -> Any:
        params = self._params(w)
        one = vmap(grad(lambda p, x, t: self._losses(p, x[None], t[None]).sum()), in_dims=(None, 0, 0))
        with self._exact(X, y, twice=True) as parts:
            return torch.cat([self.layout.flat(one(params, x, t), len(x)) for x, t, _ in parts])

    def loss_jvp(self, w: Any, X: Any, y: Any, v: Any) -> Any:
        params, tangent, found = self._params(w), self._params(v), []
        with self._exact(X, y, twice=True) as parts:
            for x, t, _ in parts:
                found.append(self._second(slopes, lambda p, x=x, t=t: self._losses(p, x, t), params, tangent).double())
        return torch.cat(found)

    def hvp(self, w: Any, X: Any, y: Any, v: Any, weights: Any = None) -> Any:
        params, tangent = self._params(w), self._params(v)
        share = self._coefficients(self._shares(weights, count_rows(X)))
        total = self.penalty_grad(v)
        with self._exact(X, y, twice=True) as parts:
            for x, t, part in parts:
                mean = partial(self._weighted, x=x, y=t, share=share[part])
                total = total + self.layout.flat(self._second(hessian_product, mean, params, tangent))
        return total

    def mixed_product(self, w: Any, X: Any, y: Any, u: Any) -> Any:
        params, tangent, found = self._params(w), self._params(u), []
        with self._exact(X, y, twice=True) as parts:
            for x, t, _ in parts:
                losses = partial(self._losses, y=t)
                found.append(self._second(mixed_product, losses, params, tangent, _moving(x)))
        return torch.cat(found)

    def row_grad(self, w: Any, X: Any, y: Any) -> Any:
        params, found = self._params(w), []
        with self._exact(X, y) as parts:
            for x, t, _ in parts:
                found.append(gradient(partial(self._total, params, t), {"x": _moving(x)})["x"])
        return torch.cat(found)

    def scores(self, w: Any, X: Any) -> Any:
        params = self._params(w)
        with self._exact(X, None) as parts:
            outputs = torch.cat([self._outputs(params, x) for x, _, _ in parts])
        return outputs.reshape(len(outputs), -1).double()

    def predict(self, w: Any, X: Any) -> Any:
        scores = self.scores(w, X)
        if self.margin_loss is not None:
            return torch.where(scores[:, 0] > 0, 1.0, -1.0).double()
        return scores.argmax(dim=1)

    def features(self, w: Any, X: Any, layer: str | None = None) -> Any:
        """What the last linear layer is given, or what the layer of a name gives, shape (n, h)."""
        params, name = self._params(w), self._head if layer is None else layer
        with self._exact(X, None) as parts, features_of(self.module, name, output=layer is not None) as seen:
            for x, _, _ in parts:
                self._outputs(params, x)
        return torch.cat([part.reshape(len(part), -1) for part in seen]).double()

    def training_loss(self, outputs: Any, y: Any) -> Any:
        """Mean loss of a batch, for training: outputs of a module in any mode and precision, with their graph."""
        labels = y if self.margin_loss is None else y.to(outputs.dtype)
        return self._loss(outputs.to(self.layout.first.dtype), labels).mean()

    def penalty(self, tensors: dict[str, Any]) -> Any:
        """``reg/2 |P w|^2`` of tensors by name, with their graph."""
        kept = [k for k in self.layout.names if self.penalize_intercept or k.rsplit(".", 1)[-1] != "bias"]
        return self._reg / 2 * sum((tensors[k] ** 2).sum() for k in kept) if self._reg else 0.0

    def _params(self, w: Any) -> dict[str, Any]:
        return self.layout.split(torch.as_tensor(w))

    def _coefficients(self, values: Any) -> Any:
        return torch.as_tensor(values, dtype=torch.float64).to(self.layout.first)

    def _shares(self, weights: Any, n: int) -> Any:
        return shares(weights.detach().cpu().numpy() if isinstance(weights, torch.Tensor) else weights, n)

    @contextmanager
    def _exact(self, X: Any, y: Any, *, twice: bool = False) -> Iterator[Iterator[Chunk]]:
        """The chunks, while the module and the process are in the state that derivatives need."""
        device = self.layout.first.device
        with evaluating(self.module), derivable(self.module, twice=twice), full_precision(device), torch.no_grad():
            yield self._labelled(chunks(X, y, self.chunk, self.layout.first))

    def _labelled(self, parts: Iterator[Chunk]) -> Iterator[Chunk]:
        for x, t, part in parts:
            yield x, t if t is None or self.margin_loss is None else t.to(self.layout.first.dtype), part

    def _outputs(self, params: dict[str, Any], x: Any) -> Any:
        return functional_call(self.module, {**self.layout.frozen, **params}, (x,))

    def _losses(self, params: dict[str, Any], x: Any, y: Any) -> Any:
        return self._loss(self._outputs(params, x), y)

    def _total(self, params: dict[str, Any], y: Any, rows: dict[str, Any]) -> Any:
        return self._losses(params, rows["x"], y).sum()

    def _weighted(self, params: dict[str, Any], x: Any, y: Any, share: Any) -> Any:
        return (share * self._losses(params, x, y)).sum()

    def _second(self, rule: Callable[..., Any], *arguments: Any) -> Any:
        """A second derivative by the forward sweep, or by two backward ones."""
        if self.derivative == "double_backward":
            return rule(*arguments, forward=False)
        try:
            return rule(*arguments, forward=True)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, NotImplementedError):
            if self.derivative == "forward":
                raise
            return rule(*arguments, forward=False)


def _moving(x: Any) -> Any:
    """Rows that can be differentiated in."""
    if not x.is_floating_point():
        raise CapabilityError("rows to differentiate in", f"{x.dtype}", "Attack the embeddings instead.")
    return x
