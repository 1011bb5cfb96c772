"""A network as the learner of a `Scenario`: the same question, attacks and defences as for linear models."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from linpoison.attacks import Aim, Progress, Scenario
from linpoison.core import Budget, CapabilityError, Dataset, Domain, InputError, check_number, check_seed
from linpoison.core.journal import Journal
from linpoison.core.parts import dense
from linpoison.core.validation import Array
from linpoison.learners import Learner
from linpoison.losses import MultiProblem, Problem, Softmax
from linpoison.losses.problem import LEAST_REG
from linpoison.risk.arrays import norm, to_numpy
from linpoison.risk.checkpoints import digest_of
from linpoison.risk.protocols import Trainer
from linpoison.risk.training import Trained
from linpoison.risk.views import View

from .defending import RiskLearner
from .function_trainer import Train, as_trainer
from .need_torch import torch
from .sgd import SGDTrainer
from .torch_data import MANY, Key, read_items
from .torch_modules import copied, named_tensors
from .torch_risk import TorchRisk

MOST = 4
"""Models that are remembered: an attack is scored more than once by what is learned from the same rows."""


class Mass(Budget):
    """A budget that may exceed the clean rows, as the least one that plants parameters may."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", check_number(self.epsilon, "epsilon", above=0, at_most=1000))


class Past:
    """What a learner has done, which says nothing of what it is: the last models by their rows, and trainings."""

    def __init__(self) -> None:
        self.models: dict[str, NetworkModel] = {}
        self.trainings = 0


class NetworkLearner(Learner):
    """A torch module and how it is trained as the learner of a scenario.

    Every fit begins from scratch with the same seed. Rows are those of a `Dataset`, flat, and take the shape that the
    module wants; labels are signs for a loss of the margin, of which two classes coded 0 and 1 are the same, and any
    for cross-entropy.

    Parameters
    ----------
    risk : TorchRisk
        Of cross-entropy, or of a margin loss.
    trainer : Trainer or callable, optional
        `SGDTrainer()` by default; `LBFGSTrainer()`, say, or a function of one's own ``train(module, dataset, seed) ->
        module``, see `FunctionTrainer`.
    shape : tuple of int, optional
        Of a row; by default flat.
    seed : int, default 0
        Of every training.
    journal : Journal, optional
        Where what is learned is kept, by the rows that it was learned from.
    progress : callable, optional
        Called with (epochs done, epochs in all, "learning") by a trainer in epochs.
    scalars : callable, optional
        Called by such a trainer with (tag, loss, epoch), as ``SummaryWriter.add_scalar`` of TensorBoard is; the tag
        has the number of the training.

    Attributes
    ----------
    origin : str
        What a model depends on beside rows and seed, hashed: module, objective and trainer, with the files of their
        code. A journal of another origin is not read.

    Examples
    --------
    >>> import torch
    >>> from linpoison.attacks.gradient import Canceler
    >>> from linpoison.risk import Adam, LBFGSTrainer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 2))
    >>> rows = Dataset.coded(X, (X[:, 0] > 0).astype(int))
    >>> learner = NetworkLearner(TorchRisk(torch.nn.Linear(2, 2).double(), reg=0.1), LBFGSTrainer())
    >>> result = Canceler(Adam(steps=20)).run(learner.scenario(rows, rows, 0.1))
    >>> result.poison.total, result.name
    (6.0, 'canceling')
    """

    def __init__(
        self,
        risk: TorchRisk,
        trainer: Trainer | Train | None = None,
        *,
        shape: tuple[int, ...] | None = None,
        seed: int = 0,
        journal: Journal | None = None,
        progress: Progress | None = None,
        scalars: Callable[[str, float, int], Any] | None = None,
    ) -> None:
        super().__init__(problem_of(risk))
        self.trainer: Trainer = SGDTrainer() if trainer is None else as_trainer(trainer)
        self.risk, self.shape, self.seed = risk.of_codes(), shape, check_seed(seed)
        self.journal, self.progress, self.scalars = journal, progress, scalars
        self.origin, self._past = origin_of(self.risk, self.trainer), Past()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_past": Past(), "progress": None, "scalars": None}

    def rows(
        self, source: Any, *, row: Key = 0, label: Key = 1, bounds: tuple[float, float] | None = None, most: int = MANY
    ) -> Dataset:
        """Rows and labels of a torch Dataset, stream or DataLoader as those of a scenario.

        Parameters
        ----------
        source, row, label, most
            As for `deep.torch_data.read_items`: an item is a pair, or a mapping with the keys `row` and `label`.
        bounds : (low, high), optional
            Between which each entry of a poison row lies, such as (0, 1) for pixels; anywhere by default.

        Raises
        ------
        InputError
            Also for rows of another shape than the learner's or beyond `bounds`, and for labels that are not one for
            each output.
        """
        X, y = read_items(source, row, label, most)
        shape = tuple(X.shape[1:])
        if shape != (self.shape or (prod(shape),)):
            raise InputError(f"rows of shape {self.shape or 'flat'}", f"{shape}", "Say `shape` to the NetworkLearner.")
        flat, codes = to_numpy(X.reshape(len(X), -1)), to_numpy(self.risk.codes(y, X))
        domain = Domain.real() if bounds is None else Domain.box(*bounds, flat.shape[1])
        if float(domain.violation(flat).max()) > 0:
            remedy = "Standardise within the module, so that rows are pixels."
            raise InputError(f"rows between {bounds}", f"from {flat.min():g} to {flat.max():g}", remedy)
        classes = tuple(self.risk.classes_.tolist())
        count = None if self.risk.margin_loss is not None else len(classes)
        return Dataset(flat, codes, domain=domain, n_classes=count, classes=classes)

    def scenario(
        self, train: Dataset, target: Dataset, epsilon: float, defenses: Mapping[str, Any] | None = None
    ) -> Scenario:
        """The question what poison of a budget does to this learner.

        Raises
        ------
        CapabilityError
            For a defence that caps the loss of a linear model.
        """
        for name, guard in (defenses or {}).items():
            if guard.caps_loss:
                remedy = "TRIM with a `RiskLearner` looks at the losses of a network."
                raise CapabilityError("defences that look at no linear model", name, remedy)
        return Scenario(train, self.problem, Mass(epsilon), defenses or {}, Aim.of(target), learner=self)

    def view(self, data: Dataset) -> View:
        shape = (data.d,) if self.shape is None else self.shape
        if prod(shape) != data.d:
            raise InputError(f"rows of {prod(shape)} features, as the shape {shape} says", f"{data.d} features")
        return View.of(self.risk, data, self.risk.size, shape)

    def row_learner(self) -> RiskLearner:
        """The same network, as the argument `learner` of a defence of a scenario's rows, which have every class."""
        return RiskLearner(self.risk, self.trainer, seed=self.seed, shape=self.shape)

    def fit(self, data: Dataset, start: Any = None) -> Any:
        """The network that is learned from rows of every class; `start` is not looked at."""
        data.require_all_classes()
        key = f"fit-{self.seed}-{data.digest()}-{self.origin}"
        known = self._past.models
        if key not in known:
            found = NetworkModel(self._learned(data, key), self.view(data))
            self._past.models = {**dict(list(known.items())[1 - MOST :]), key: found}
        return self._past.models[key]

    def _learned(self, data: Dataset, key: str) -> Trained:
        """Read back, or learned and stored."""
        stored = None if self.journal is None else self.journal.get(key)
        if stored is not None:
            return restored(self.risk, stored)
        told = {"progress": self._tell} if hasattr(self.trainer, "epochs") else {}
        self._past.trainings += 1
        found = self.trainer.fit(self.risk, self.view(data).sample(data), seed=self.seed, **told)
        if self.journal is not None:
            self.journal.put(key, stored_arrays(found))
        return found  # type: ignore[no-any-return]

    def _tell(self, epoch: int, loss: float) -> None:
        if self.progress is not None:
            self.progress(epoch, self.trainer.epochs, "learning")  # type: ignore[attr-defined]
        if self.scalars is not None:
            self.scalars(f"training {self._past.trainings}/loss", loss, epoch)

    def _fit(self, data: Dataset, start: Any) -> Any:
        return self.fit(data, start)

    def __repr__(self) -> str:
        return f"NetworkLearner({type(self.risk.module).__name__}, {self.trainer!r})"


@dataclass(frozen=True, eq=False)
class NetworkModel:
    """What a `NetworkLearner` has learned.

    Parameters
    ----------
    trained : Trained
    view : View
    """

    trained: Trained
    view: View

    @property
    def flat(self) -> Any:
        """The parameters, with the statistics that they were learned with."""
        return self.trained.w

    @property
    def vector(self) -> Array:
        """The parameters on the host."""
        return to_numpy(self.flat)

    @property
    def parameters(self) -> Array:
        """What a journal keeps, see `linpoison.core.model.FlatParameters`."""
        return self.vector[None, None, :]

    def predict(self, X: Any) -> Array:
        """Labels of flat rows, shape (n,)."""
        found = to_numpy(self.trained.predict(dense(X).reshape(-1, *self.view.shape)))
        codes = found > 0 if self.trained.risk.margin_loss is not None else found
        return np.asarray(self.view.labels)[codes.astype(int)]

    def error(self, data: Dataset) -> float:
        """Share of the (weighted) rows that are misclassified."""
        return float(np.average(self.predict(data.X) != data.y, weights=data.weight))

    def distance(self, other: NetworkModel) -> float:
        """Euclidean distance between the parameters."""
        return norm(self.flat - other.flat)


def origin_of(risk: TorchRisk, trainer: Any) -> str:
    """A hash of a module, an objective and a trainer, and of the files in which what torch does not bring stands.

    Parameters that every training draws anew do not count.
    """
    module, train = risk.module, getattr(trainer, "train", None)
    kinds = [type(part) for part in module.modules() if type(part).__module__.partition(".")[0] != "torch"]
    files = {_file_of(thing) for kind in kinds for thing in (kind, kind.forward)} | {_file_of(train)}
    texts = [Path(file).read_text(encoding="utf-8", errors="replace") for file in sorted(filter(None, files))]
    objective = (risk.loss_function, risk.reg, risk.penalize_intercept, risk.layout.names)
    drawn = risk.layout.names if risk._init is None else ()  # an `init` may start from what they are here
    held = [tensor for name, tensor in named_tensors(module).items() if name not in drawn]
    return digest_of(repr(module), repr(trainer), repr(objective), *texts, *held)


def _file_of(thing: Any) -> str | None:
    """Where a class or a function is written, as far as it is in a file."""
    try:
        return inspect.getsourcefile(thing)
    except (TypeError, OSError):
        return None


def problem_of(risk: TorchRisk) -> Problem:
    """What the core knows of a network's objective: its loss of the scores.

    Raises
    ------
    CapabilityError
        For a loss of one's own.
    """
    reg, penalised = max(risk.reg, LEAST_REG), risk.penalize_intercept
    if risk.margin_loss is not None:
        return Problem(risk.margin_loss, reg, penalised)
    if risk.loss_function != "cross_entropy":
        raise CapabilityError("cross-entropy, or a margin loss", repr(risk.loss_function))
    return MultiProblem(Softmax(), reg, penalised)


def stored_arrays(found: Trained) -> dict[str, Any]:
    """A module that was learned, as arrays."""
    facts = {name: np.array(getattr(found, name)) for name in ("loss", "grad_norm", "converged", "seconds")}
    state = found.risk.module_at(found.w).state_dict()
    return {**facts, **{f"state:{name}": value.cpu().numpy() for name, value in state.items()}}


def restored(risk: TorchRisk, arrays: Mapping[str, Any]) -> Trained:
    """The inverse of `stored_arrays`, for the risk that it was learned for."""
    module = copied(risk.module)
    module.load_state_dict({name: torch.as_tensor(arrays[f"state:{name}"]) for name in module.state_dict()})
    found = risk.learned(module)
    loss, size, seconds = (float(arrays[name]) for name in ("loss", "grad_norm", "seconds"))
    return Trained(found, found.current, loss, size, bool(arrays["converged"]), seconds)
