"""A training function of the user's own as a trainer: any optimiser, schedule, augmentation or framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from linpoison.core import InputError, LinpoisonError, SolverFailed
from linpoison.risk.descent import Progress, silent
from linpoison.risk.protocols import Trainer
from linpoison.risk.samples import Sample
from linpoison.risk.training import Trained

from .need_torch import torch
from .precision import evaluating
from .sgd import ModuleTrainer
from .torch_check import ROWS, said
from .torch_modules import copied, named_tensors, write_tensors
from .torch_risk import TorchRisk

Train = Callable[[Any, Any, int], Any]
"""``train(module, dataset, seed) -> module``."""


class FunctionTrainer(ModuleTrainer):
    """Learns a module by ``train(module, dataset, seed) -> module``, a function of the user's own.

    The function is given a copy of the risk's module with the parameters of `w` drawn anew (by ``TorchRisk(init=...)``
    where that says how: ``lambda module: None`` starts from the module's own, for fine-tuning), in training mode, with
    gradients for the parameters of `w` alone; a ``TensorDataset`` of rows and labels, copies repeated; and the seed.
    torch's global generator has that seed, and is put back afterwards. It returns the module, trained in place or
    another one of its structure, compiled or wrapped for several devices too. What it minimises is its own affair:
    attacks take the derivatives of the risk's objective.

    Parameters
    ----------
    train : callable
    check : bool, default True
        Whether the first training is done twice, to see that a seed gives the same module again.
    deterministic : bool, default True
        Refuse operations of torch that are not.

    Raises
    ------
    InputError
        At a fit: if the function fails, or returns what is no module, one of another structure, one that moved
        parameters outside of `w`, or another one the second time; if it changes the risk's own module, which is put
        back.
    SolverFailed
        At a fit: if it returns NaN or infinity.

    Examples
    --------
    >>> from linpoison.risk import Sample
    >>> def train(module, dataset, seed):
    ...     rows, labels = dataset.tensors
    ...     rule = torch.optim.AdamW(module.parameters(), lr=0.1)
    ...     for _ in range(50):
    ...         rule.zero_grad()
    ...         torch.nn.functional.cross_entropy(module(rows), labels).backward()
    ...         rule.step()
    ...     return module
    >>> risk, rows = TorchRisk(torch.nn.Linear(1, 2)), Sample([[-1.0], [1.0]], [0, 1])
    >>> FunctionTrainer(train).fit(risk, rows).predict(rows.X).tolist()
    [0, 1]
    """

    def __init__(self, train: Train, *, check: bool = True, deterministic: bool = True) -> None:
        if not callable(train):
            raise InputError("a function train(module, dataset, seed) -> module", repr(train))
        self.train, self.check, self.deterministic = train, bool(check), bool(deterministic)
        self._agreed = not self.check

    def fit(self, risk: TorchRisk, data: Sample, *, seed: int = 0) -> Trained:
        """Learn by the function from rows with whole numbers of copies."""
        before = copied(risk.module)
        try:
            return self._fit(risk, data, seed, silent)
        finally:
            moved = _first_change(before, risk.module)
            if moved is not None:
                write_tensors(risk.module, named_tensors(before))
                remedy = "Train the module that it is given."
                raise InputError("a training function that leaves the risk's own module alone", moved, remedy)

    def _train(self, learner: TorchRisk, rows: Any, seed: int, progress: Progress) -> Any:
        X, y, index = rows
        data = torch.utils.data.TensorDataset(X[index.to(X.device)], y[index.to(y.device)])
        again = None if self._agreed else copied(learner.module)
        found = self._called(learner, learner.module, data, seed)
        if again is not None:
            torch.manual_seed(seed)
            moved = _first_change(found, self._called(learner, again, data, seed))
            if moved is not None:
                raise InputError(
                    "a training function that gives the same module for the same seed", f"another {moved}",
                    "Seed all that it draws from, such as generators of numpy, with `seed`.",
                )  # fmt: skip
            self._agreed = True
        return found

    def _called(self, learner: TorchRisk, module: Any, data: Any, seed: int) -> Any:
        """The module that the function returns, held to what it was given, as a module of the risk's kind."""
        before = copied(module)
        rows = torch.utils.data.TensorDataset(*(tensor.clone() for tensor in data.tensors))
        try:
            with torch.enable_grad():
                returned = self.train(module, rows, seed)
        except (LinpoisonError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a user's function may raise anything
            got = f"{type(error).__name__}: {said(error)}"
            strict = "deterministic" in got and self.deterministic
            remedy = "FunctionTrainer(train, deterministic=False) allows it." if strict else ""
            raise InputError(f"a training function that works on {len(rows)} rows", got, remedy) from error
        found = _read(before, _unwrapped(returned))
        frozen = [name for name, _ in before.named_parameters() if name not in learner.layout.names]
        moved = _first_change(before, found, frozen)
        if moved is not None:
            remedy = "Give its optimiser those that require a gradient, or name it in `params`."
            raise InputError("a training function that leaves parameters outside of `params` alone", moved, remedy)
        _check_same(learner, found, _unwrapped(returned), data.tensors[0][:ROWS])
        return found

    def __repr__(self) -> str:
        return f"FunctionTrainer({getattr(self.train, '__qualname__', repr(self.train))})"


def as_trainer(given: Any) -> Trainer:
    """A trainer as it is; a training function as a `FunctionTrainer`.

    Raises
    ------
    InputError
        For what is neither.
    """
    if isinstance(given, type) or not (hasattr(given, "fit") or callable(given)):
        raise InputError("a trainer such as SGDTrainer(), or a function train(module, dataset, seed)", repr(given))
    return given if hasattr(given, "fit") else FunctionTrainer(given)


def _unwrapped(found: Any) -> Any:
    """The module itself, of one that was compiled or wrapped for several devices."""
    found = getattr(found, "_orig_mod", found)
    wrappers = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    found = found.module if isinstance(found, wrappers) else found
    if not isinstance(found, torch.nn.Module):
        got = "None" if found is None else f"a {type(found).__name__}"
        raise InputError("a torch.nn.Module from the training function", got, "End it with `return module`.")
    return found


def _read(like: Any, module: Any) -> Any:
    """A copy of one module with the tensors of another, which have to be of the same names, shapes and types."""
    copy, given = copied(like), named_tensors(module)
    own = named_tensors(copy)
    for name in [*own, *given]:
        wanted, got = (_kind(tensors.get(name)) for tensors in (own, given))
        if wanted != got:
            what = f"a module from the training function with {name}: {wanted}"
            raise InputError(what, got, "Return one of the structure that it was given.")
    lost = next((name for name, tensor in given.items() if not bool(torch.isfinite(tensor).all())), None)
    if lost is not None:
        raise SolverFailed(f"the training function left NaN or infinity in {lost}. Take a smaller step.")
    write_tensors(copy, named_tensors(module))
    return copy.eval()


def _kind(tensor: Any) -> str:
    return "none" if tensor is None else f"shape {tuple(tensor.shape)} of {tensor.dtype}"


def _first_change(before: Any, after: Any, names: Any = None) -> str | None:
    """The first tensor in which two modules of one structure differ."""
    old, new = named_tensors(before), named_tensors(after)
    return next((name for name in (old if names is None else names) if not torch.equal(old[name], new[name])), None)


def _check_same(learner: TorchRisk, found: Any, returned: Any, rows: Any) -> None:
    """Refuse a module that computes something else than one of the given structure with its tensors."""
    place = next(found.parameters()).device
    outputs = []
    for module in (found, returned.to(place)):
        with evaluating(module), torch.no_grad():
            outputs.append(torch.utils._pytree.tree_leaves(learner.training_outputs(module, rows)))
    same = len(outputs[0]) == len(outputs[1]) and all(
        one.shape == two.shape and torch.allclose(one, two, rtol=1e-4, atol=1e-5, equal_nan=True)
        for one, two in zip(*outputs, strict=True)
    )
    if not same:
        got = "one that gives other outputs with the same tensors"
        remedy = "Keep all that is learned in parameters and buffers."
        raise InputError("a module from the training function that computes as the given one", got, remedy)
