"""The rows, the model and the recipe of learning of one command, on one device."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from linpoison.core import InputError
from linpoison.core.archives import arrays_writer
from linpoison.core.writing import write_file
from linpoison.risk.arrays import to_numpy
from linpoison.risk.checkpoints import Checkpoint
from linpoison.risk.measuring import accuracy, peak_memory, relative_distance
from linpoison.risk.samples import Sample
from linpoison.risk.training import Trained

from .cli_data import Task
from .models import make_model
from .pictures import save_grid
from .sgd import SGDTrainer
from .torch_losses import resolve
from .torch_risk import TorchRisk


@dataclass(frozen=True, eq=False)
class Lab:
    """What stays the same over seeds.

    Parameters
    ----------
    task : Task
    risk : TorchRisk
    trainer : SGDTrainer
        The recipe, for clean and for poisoned rows.
    train, test : Sample
        On the device, in the precision of the model.
    device : str
    """

    task: Task
    risk: TorchRisk
    trainer: SGDTrainer
    train: Sample
    test: Sample
    device: str

    @classmethod
    def of(cls, arguments: Any, task: Task) -> Lab:
        """From the arguments of the command line."""
        device = _device(arguments.device)
        margin, task = _of_loss(arguments.loss, task)
        module = make_model(arguments.model, task.shape, 1 if margin else task.classes)
        module = module.to(device, torch.float64 if arguments.precision == "float64" else torch.float32)
        output = output_of(arguments.output)
        risk = TorchRisk(module, arguments.loss, reg=arguments.reg, chunk=arguments.chunk, output=output)
        trainer = SGDTrainer(
            epochs=arguments.epochs_train,
            batch_size=arguments.batch_train,
            step=arguments.step_train,
            momentum=arguments.momentum,
        )
        held = [Sample(risk.rows(part.X), part.y) for part in (task.train, task.test)]
        return cls(task, risk, trainer, held[0], held[1], str(device))

    def learn(self, data: Sample, seed: int, tick: Callable[[str], None]) -> Trained:
        """By the recipe, from scratch."""
        told = f"seed {seed}: learning, epoch "
        return self.trainer.fit(
            self.risk,
            data,
            seed=seed,
            progress=lambda epoch, loss: tick(f"{told}{epoch}/{self.trainer.epochs}: loss {loss:.4f}"),
        )

    def learn_clean(self, seed: int, kept: Checkpoint, tick: Callable[[str], None]) -> Trained:
        """From the clean rows; read back if an earlier run stored it."""
        stored = kept.load()
        if stored is None:
            learned = self.learn(self.train, seed, tick)
            state = {f"state:{name}": value for name, value in learned.risk.module.state_dict().items()}
            facts = {name: getattr(learned, name) for name in ("loss", "grad_norm", "converged", "seconds")}
            kept.store({**state, **{name: np.array(value) for name, value in facts.items()}})
            return learned
        module = self.risk.fresh_module(seed)
        state = {name: torch.as_tensor(stored[f"state:{name}"]) for name in module.state_dict()}
        module.load_state_dict(state)
        risk = self.risk.learned(module)
        loss, size, seconds = (float(stored[name]) for name in ("loss", "grad_norm", "seconds"))
        return Trained(risk, risk.current, loss, size, bool(stored["converged"]), seconds)

    def accuracy(self, learned: Trained, w: Any = None) -> float:
        """On the test rows."""
        return accuracy(learned.risk, learned.w if w is None else w, self.test)

    def distance(self, learned: Trained, target: Any, clean: Trained) -> float:
        """From the target, as a share of that of the clean parameters."""
        return relative_distance(learned.w, target, clean.w)

    def memory(self) -> float:
        """Greatest so far, in MiB."""
        return peak_memory(self.train.X)

    def save(self, out: Path, seed: int, found: Any, *, picture: bool) -> None:
        """The poison as arrays, and a picture of it where rows are images."""
        poison = found.poison
        X, y = to_numpy(poison.X), np.asarray(poison.y)
        y = (y > 0).astype(np.int64) if self.risk.margin_loss is not None else y
        write_file(out / f"poison-{seed}.npz", arrays_writer({"X": X, "y": y, "copies": poison.mass}))
        if picture and len(self.task.shape) == 3 and self.task.shape[0] in (1, 3):
            write_file(out / f"poison-{seed}.png", lambda stream: save_grid(stream, found.seeds, poison.X, y))


def code_of(module: Any) -> str:
    """What a module is and does, as text: its layers, and the files in which those that torch does not bring stand."""
    files = {inspect.getsourcefile(type(part)) for part in module.modules() if not _of_torch(type(part))}
    files |= {inspect.getsourcefile(type(part).forward) for part in module.modules() if not _of_torch(type(part))}
    texts = [Path(file).read_text(encoding="utf-8", errors="replace") for file in sorted(filter(None, files))]
    buffers = [to_numpy(value).tobytes() for value in module.buffers()]
    return "\n".join([repr(module), *texts, hashlib.sha256(b"".join(buffers)).hexdigest()])


def _of_torch(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "torch"


def output_of(text: str | None) -> str | int | None:
    """A place if it is a number, otherwise a key."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


def _of_loss(loss: str, task: Task) -> tuple[bool, Task]:
    """Whether it is a loss of the margin; the task then has labels in {-1, +1}."""
    margin = resolve(loss)[1] is not None
    if not margin:
        return False, task
    if task.classes != 2:
        raise InputError(f"data of two classes with the loss {loss}", f"{task.classes}", "Such as digits:3:8.")
    parts = [Sample(part.X, np.where(np.asarray(part.y) > 0, 1.0, -1.0)) for part in (task.train, task.test)]
    return True, replace(task, train=parts[0], test=parts[1])


def _device(name: str) -> Any:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.zeros(1, device=name)
        place.item()  # which a device without numbers, such as meta, cannot tell
        return place.device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError("a device that torch can use", f"{name!r} ({str(error).splitlines()[0]})") from None
