"""What attacks want many times of the same rows: one graph that is kept, one state that is entered once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import copy
from functools import partial
from typing import Any

from linpoison.core import InputError
from linpoison.risk.arrays import count_rows, per_row
from linpoison.risk.protocols import HVP
from linpoison.risk.ranks import Ranks
from linpoison.risk.samples import Held

from .need_torch import torch
from .outputs import scores_of
from .precision import PRECISIONS, full_precision, step_precision
from .statistics import learned, plain, statistics_of
from .torch_second import Way, gauss_newton_products, linearised, pulled_rows


class Repeated:
    """The part of `deep.TorchRisk` that repeats itself.

    A graph is kept where the rows are one chunk and second derivatives by two backward sweeps are right; otherwise each
    product takes its own, so that memory holds one chunk of activations in any case.
    """

    layout: Any
    chunk: int
    _calls: Any
    _checked: Any
    _look_through: Any
    _exact: Any
    _movable: Any
    _params: Any
    _coefficients: Any
    _loss: Any
    _weighted: Any
    _steady = False
    steps_in = "ieee"

    def _tangent(self: Any, v: Any) -> dict[str, Any]:
        """A direction in the parameters; behind the look at derivatives, which tells what is tied."""
        return self.layout.tangent(v, self._checked.tied)

    def held(self: Any, data: Any) -> Held:
        """Rows, labels and copies as tensors on the module's device, held to what attacks need."""
        self.look(data.X, data.y)
        rows = data.take(range(data.n))
        X = self.rows(rows.X)
        mass = torch.as_tensor(rows.mass, dtype=torch.float64, device=X.device)
        return Held(X, self.targets(rows.y, rows.X), mass, rows.total)

    @contextmanager
    def steady(self: Any) -> Iterator[None]:
        """Derivatives of parts of what was `held`: nothing is looked at again, and the module's state is set once."""
        if self._steady:
            yield
            return
        self._steady = True
        try:
            with self._calls.state(twice=True), self.layout.fixed():
                yield
        finally:
            self._steady = False

    def stepping_in(self: Any, precision: str) -> Any:
        """The same risk with the steps of a learner, those of `descended`, in "ieee", "tf32" or "bf16".

        All that attacks solve with stays in the module's own precision.
        """
        if precision not in PRECISIONS:
            raise InputError(f"a precision among {', '.join(PRECISIONS)}", repr(precision))
        risk = copy(self)
        risk.steps_in = precision
        return risk

    def curvature(self: Any, w: Any, X: Any, y: Any, coefficients: Any, *, gauss_newton: bool = False) -> HVP:
        """See `linpoison.risk.protocols.Risk`."""
        self._look_through(X)
        params, share = self._params(w), self._coefficients(coefficients)

        def chunk_products(x: Any, t: Any, part: Any) -> Any:
            if gauss_newton:
                outputs = lambda p: scores_of(self._calls.outputs(p, x))  # noqa: E731
                loss = lambda z: (share[part] * self._loss(z, t)).sum()  # noqa: E731
                return way.by(gauss_newton_products, outputs, loss, params)
            mean = partial(self._weighted, x=x, y=t, share=share[part])
            if self._keeps(way):
                return way.by(linearised, mean, params)
            return lambda tangent: self._checked.second("hessian_product", mean, params, tangent)

        with self._exact(w, X, y, twice=True) as parts:
            way = self._checked.ways.get("hessian_product", Way(False))
            kept = None
            if count_rows(X) <= self.chunk and (gauss_newton or self._keeps(way)):
                kept = chunk_products(*next(iter(parts)))

        def product(v: Any) -> Any:
            if kept is not None:
                with nullcontext() if self._steady else full_precision(self.layout.first.device):
                    return self.layout.flat(kept(self._tangent(v)))
            tangent, total = self._tangent(v), 0.0 * plain(v)
            with self._exact(w, X, y, twice=True) as parts:
                for chunk in parts:
                    total += self.layout.flat(chunk_products(*chunk)(tangent))
            return total

        return product

    def pulled(self: Any, w: Any, X: Any, y: Any, coefficients: Any) -> tuple[Any, Callable[[Any], Any]]:
        """See `linpoison.risk.protocols.Risk`."""
        share = self._coefficients(coefficients)
        with self._exact(w, X, y, twice=True) as parts:
            way = self._checked.ways.get("mixed_product")
            if count_rows(X) <= self.chunk and self._keeps(way):
                x, t, _ = next(iter(parts))
                weighted = lambda p, rows: self._weighted(p, rows, t, share)  # noqa: E731
                slopes, along = way.by(pulled_rows, weighted, self._params(w), self._movable(x))

                def kept(u: Any) -> Any:
                    with nullcontext() if self._steady else full_precision(self.layout.first.device):
                        return along(self._tangent(u))

                return self.layout.flat(slopes), kept

        def push(u: Any) -> Any:
            mixed = self.mixed_product(w, X, y, u)
            return per_row(share, mixed) * mixed

        return self.loss_vjp(w, X, y, share), push

    def descended(
        self: Any, w: Any, X: Any, y: Any, coefficients: Any, *, steps: int, length: float, ranks: Ranks
    ) -> Any:
        """See `linpoison.risk.protocols.Risk`; parameters stay in the module's precision from step to step."""
        leaves = {name: value.detach().clone().requires_grad_() for name, value in self._params(w).items()}
        share, tensors = self._coefficients(coefficients), list(leaves.values())
        with self._exact(w, X, y) as parts:
            chunks = list(parts)
            for _ in range(steps):
                slopes = [self._slopes(leaves, share, *chunk) for chunk in chunks]
                for tensor, slope in zip(tensors, self._together(leaves, slopes, ranks), strict=True):
                    tensor.sub_(slope, alpha=length)
        return learned(self.layout.flat(leaves), statistics_of(w))

    def _slopes(self: Any, leaves: Any, share: Any, x: Any, t: Any, part: Any) -> Any:
        with torch.enable_grad(), step_precision(x.device, self.steps_in) as forward:
            with forward:
                outputs = self._calls.outputs(leaves, x)
            value = (share[part] * self.loss_of(outputs, t)).sum()
            return torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)

    def _together(self: Any, leaves: Any, slopes: Any, ranks: Ranks) -> list[Any]:
        """The slopes of all chunks and processes, and that of the penalty."""
        total = [sum(parts) for parts in zip(*slopes, strict=True)] if len(slopes) > 1 else slopes[0]
        if ranks.size > 1:
            total = list(self.layout.split(ranks.sum(self.layout.flat(dict(zip(leaves, total, strict=True))))).values())
        if not self.reg:
            return total
        return [
            slope.add(leaf, alpha=self.reg) if name in self.penalized else slope
            for (name, leaf), slope in zip(leaves.items(), total, strict=True)
        ]

    def _keeps(self, way: Any) -> bool:
        return isinstance(way, Way) and not way.forward
