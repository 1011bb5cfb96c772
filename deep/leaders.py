"""Poison that a network makes of clean rows and their labels: what is optimised are the network's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from linpoison.core import InputError, check_integer, check_number, check_seed
from linpoison.risk.samples import Sample

from .need_torch import torch
from .precision import evaluating, full_precision
from .torch_modules import Layout, called_with, fresh
from .torch_rows import as_labels, as_rows


class LeaderNetwork:
    """`PoisonParameters` whose vector is the weights of a network that is given seeds and their labels.

    ::

        D_p = { (module(x_j, y_j; phi), y_j) }

    The seeds are fixed, so a row is the network's answer to a clean row, never to its own answer, and labels stay.

    Parameters
    ----------
    module : torch.nn.Module
        Takes rows and labels, gives rows of the same shape; in evaluation mode throughout.
    seeds : Sample
        Clean rows and their labels.
    label_input : bool, default True
        If False, the network is given the rows alone.
    chunk : int, default 2048
        Rows at a time.
    """

    def __init__(self, module: Any, seeds: Sample, *, label_input: bool = True, chunk: int = 2048) -> None:
        if not isinstance(module, torch.nn.Module):
            raise InputError("a torch.nn.Module", type(module).__name__)
        self.module, self.layout = module, Layout(module)
        self.label_input, self.chunk = bool(label_input), check_integer(chunk, "chunk", at_least=1)
        rows = seeds.take(range(seeds.n))
        self.seeds = as_rows(rows.X, self.layout.first)
        self.labels = as_labels(rows.y, self.layout.first)
        given = tuple(self.points(self.current, [0]).shape)
        if given != tuple(self.seeds[:1].shape):
            raise InputError(f"a network that gives rows of shape {tuple(self.seeds.shape[1:])}", f"{given[1:]}")

    @property
    def current(self) -> Any:
        """The weights that the module has, as a vector."""
        return self.layout.current()

    def points(self, phi: Any, index: Any = None) -> Any:
        weights, found = self.layout.split(torch.as_tensor(phi)), []
        with evaluating(self.module), full_precision(self.layout.first.device), torch.no_grad():
            for x, y, _ in self._chunks(index):
                found.append(self._made(weights, x, y))
        return torch.cat(found) if found else self.seeds[:0]

    def vjp(self, phi: Any, index: Any = None) -> tuple[Any, Callable[[Any], Any]]:
        """The graph is kept for rows of one chunk."""
        weights = {k: v.detach().requires_grad_() for k, v in self.layout.split(torch.as_tensor(phi)).items()}
        chunks = list(self._chunks(index))
        kept = None
        if len(chunks) > 1:
            made = self.points(phi, index)
        else:
            with self._differentiable():
                kept = self._made(weights, *chunks[0][:2]) if chunks else self.seeds[:0]
            made = kept.detach()

        def pull(rows: Any) -> Any:
            total = None
            for x, y, part in chunks:
                with self._differentiable():
                    own = self._made(weights, x, y) if kept is None else kept
                    slopes = torch.autograd.grad(own, list(weights.values()), rows[part].to(x), materialize_grads=True)
                found = self.layout.flat(dict(zip(weights, slopes, strict=True)))
                total = found if total is None else total.add_(found)
            return torch.zeros_like(torch.as_tensor(phi)) if total is None else total

        return made, pull

    @contextmanager
    def _differentiable(self) -> Iterator[None]:
        with evaluating(self.module), full_precision(self.layout.first.device), torch.enable_grad():
            yield

    def restrict(self, phi: Any) -> Any:
        """`phi` itself: the network's end keeps rows in their range."""
        return phi

    def _chunks(self, index: Any) -> Iterator[tuple[Any, Any, slice]]:
        where = slice(None) if index is None else torch.as_tensor(index, device=self.seeds.device)
        seeds, labels = self.seeds[where], self.labels[where]
        for start in range(0, len(seeds), self.chunk):
            part = slice(start, start + self.chunk)
            yield seeds[part], labels[part], part

    def _made(self, weights: dict[str, Any], x: Any, y: Any) -> Any:
        inputs = (x, y) if self.label_input else (x,)
        return called_with(self.module, {**self.layout.own, **self.layout.buffers, **weights}, inputs)


def pretrain(
    leader: LeaderNetwork,
    data: Sample,
    *,
    epochs: int = 10,
    batch_size: int = 128,
    step: float = 1e-3,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> Any:
    """Weights with which the network of an attacker returns the rows that it is given: an autoencoder's.

    ::

        minimise_phi  mean over data of |module(x, y; phi) - x|^2 / d

    from weights drawn with `seed`, by Adam.

    Parameters
    ----------
    leader : LeaderNetwork
    data : Sample
        Clean rows and labels.
    epochs, batch_size, step, seed
        Of Adam; `step` is its length.
    progress : callable, optional
        Called with the epoch and its mean loss.

    Returns
    -------
    tensor, float64
        ``phi``, to start TGDA from; the leader's module stays what it is.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        check_integer(value, name, at_least=1)
    check_number(step, "step", above=0)
    module = fresh(leader.module, check_seed(seed), leader.layout.names).train()
    layout = Layout(module, leader.layout.names)
    rows = data.take(range(data.n))
    X, y = as_rows(rows.X, layout.first), as_labels(rows.y, layout.first)
    rule = torch.optim.Adam([p for name, p in module.named_parameters() if name in layout.names], lr=step)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        total = 0.0
        for part in torch.randperm(len(X), generator=generator).to(X.device).split(batch_size):
            rule.zero_grad(set_to_none=True)
            made = module(X[part], y[part]) if leader.label_input else module(X[part])
            loss = ((made - X[part]) ** 2).mean()
            loss.backward()
            rule.step()
            total += float(loss.detach()) * len(part)
        if progress is not None:
            progress(epoch + 1, total / len(X))
    return layout.current()
