"""What ``python -m deep`` does: learn, attack, learn again from scratch, for each seed; and what it writes."""

from __future__ import annotations

import json
import platform
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from linpoison._frame import say
from linpoison._progress import ProgressLine
from linpoison._version import __version__
from linpoison.attacks import Progress
from linpoison.attacks.gradient.stage import Stage
from linpoison.attacks.parallel import as_finished
from linpoison.core import InputError, LinpoisonError, Poison, check_integer, check_number, check_seed
from linpoison.core.journal import FolderJournal, code_digest
from linpoison.core.validation import as_count
from linpoison.core.writing import alone_in, check_folder, text_writer, write_file
from linpoison.defenses import Defense, make_defense
from linpoison.risk import reachability
from linpoison.risk.arrays import norm, to_numpy
from linpoison.risk.checkpoints import digest_of
from linpoison.risk.measuring import accuracy, peak_memory
from linpoison.risk.protocols import Trainer

from .cli_attacks import attack_of, share_of, target_rule
from .cli_data import Task, load_task
from .function_trainer import as_trainer
from .interchange import load_images, save_images
from .learner import NetworkLearner
from .models import imported, make_model
from .need_torch import torch
from .pictures import save_grid
from .sgd import SGDTrainer, deterministic
from .tensors import save_tensors
from .torch_losses import resolve
from .torch_risk import TorchRisk

_FREE = ("out", "quiet", "json", "jobs", "seed", "no_picture")


def run(arguments: Any) -> None:
    """Run a command for all of its seeds, and write ``results.json`` and the poison of each seed."""
    seeds, out = _seeds(arguments.seed), check_folder(arguments.out)
    jobs = check_integer(arguments.jobs, "--jobs", at_least=1)
    task, learner = prepared(arguments, seeds[0])
    settings = {name: value for name, value in sorted(vars(arguments).items()) if name not in _FREE}
    rows = [(part.X, part.y) for part in (task.train, task.test)]
    told = (repr(settings), *(a for pair in rows for a in pair), learner.origin, _versions())
    digest = digest_of(*told, code_digest("linpoison", "deep"))
    with alone_in(out), deterministic():
        given = [(seed, (arguments, seed, out, digest)) for seed in seeds]
        found = dict(as_finished(one, given, jobs))
    runs = [found[seed] for seed in seeds]
    device = str(learner.risk.layout.first.device)
    report = {"settings": settings, "device": device, **_versions(), "runs": runs, "summary": _summary(runs)}
    text = json.dumps(_plain(report), indent=1, allow_nan=False) + "\n"
    write_file(out / "results.json", text_writer(text))
    if arguments.json:
        say(text)
    elif not arguments.quiet:
        say(f"{_table(runs)}\n\nWritten to {out}: {', '.join(sorted(p.name for p in out.iterdir()))}\n")


def prepared(arguments: Any, first_seed: int) -> tuple[Task, NetworkLearner]:
    """Rows, module and recipe, all arguments checked."""
    task = load_task(arguments.data, arguments.rows, first_seed)
    if getattr(arguments, "free", False):
        task = task.free()
    if getattr(arguments, "target", None) is not None:
        task = task.aimed(arguments.target)
    margin = resolve(arguments.loss)[1] is not None
    if margin and task.train.k != 2:
        raise InputError(f"data of two classes with the loss {arguments.loss}", f"{task.train.k}", "As digits:3:8.")
    module = make_model(arguments.model, task.shape, 1 if margin else task.train.k)
    module = module.to(_device(arguments.device), getattr(torch, arguments.precision))
    options = {"reg": arguments.reg, "chunk": arguments.chunk, "output": output_of(arguments.output)}
    learner = NetworkLearner(TorchRisk(module, arguments.loss, **options), _trainer(arguments), shape=task.shape)
    attack_of(arguments, task, learner)
    if arguments.command != "gradpc":
        defenses_of(arguments, task, learner)
    return task, learner


def _trainer(arguments: Any) -> Trainer:
    if arguments.training is not None:
        return as_trainer(imported(arguments.training))
    return SGDTrainer(
        arguments.epochs_train,
        arguments.batch_train,
        step=arguments.step_train,
        momentum=arguments.momentum,
        copies=arguments.copies_train,
        noise=arguments.noise_train,
    )


def one(arguments: Any, seed: int, out: Path, digest: str) -> dict[str, Any]:
    """The record of a seed, read back where an earlier run has finished it."""
    place = out / f"seed-{seed}.json"
    record = _finished(place, digest)
    if record is None:
        journal = FolderJournal(out / "journal" / f"{digest}-{seed}")
        with ProgressLine(sys.stderr, quiet=arguments.quiet, program="deep") as line:
            told: Progress = lambda done, total, what: line(done, total, f"seed {seed}: {what}")  # noqa: E731
            record = {**_attacked(arguments, seed, out, journal, told), "digest": digest}
        write_file(place, text_writer(json.dumps(_plain(record), indent=1, allow_nan=False) + "\n"))
        journal.discard()
    return record


def _attacked(arguments: Any, seed: int, out: Path, journal: FolderJournal, told: Progress) -> dict[str, Any]:
    task, given = prepared(arguments, _seeds(arguments.seed)[0])
    options: dict[str, Any] = {"shape": task.shape, "seed": seed, "journal": journal, "progress": told}
    learner = NetworkLearner(given.risk, given.trainer, **options)
    clean = learner.fit(task.train)
    record: dict[str, Any] = {"seed": seed, "clean_accuracy": 1 - clean.error(task.test)}
    record |= {"clean_seconds": clean.trained.seconds, "clean_gradient": clean.trained.grad_norm}
    scenario = learner.scenario(task.train, task.test, getattr(arguments, "epsilon", 1.0))
    if arguments.command == "gradpc":
        return record | _target(arguments, Stage(scenario), seed, out)
    attack, began = attack_of(arguments, task, learner), time.perf_counter()
    result = attack.run(scenario, seed=seed, progress=told, journal=journal)
    best = result.best
    record |= {"attack_seconds": time.perf_counter() - began, **best.facts, "epsilon": best.poison.total / task.train.n}
    record |= {"memory_mib": peak_memory(learner.risk.layout.first), "poison_rows": int(best.poison.total)}
    record |= {"accuracy": 1 - best.test_error["none"], "constraint": _constraint(arguments, task)}
    record["drop"] = record["clean_accuracy"] - record["accuracy"]
    record |= _behind(arguments, task, learner, best.poison)
    if arguments.command == "gc":
        record |= _canceled(attack, learner, best)
    write_file(out / f"poison-{seed}.npz", best.poison.write)
    if arguments.tensors:
        poisoned = learner.fit(task.train.mix(best.poison.expanded())).trained
        for name, found in (("clean", clean.trained), ("poisoned", poisoned)):
            save_tensors(out / f"{name}-{seed}.safetensors", found.risk, found.w)
    if arguments.images:
        record |= _as_images(learner, task, best.poison, out / f"images-{seed}")
    stage = Stage(scenario)
    made, first = stage.view.sample(best.relaxed.as_dataset()).X, attack.first_rows(stage, seed)
    if first is not None:
        record["largest_change"] = float(abs(to_numpy(made) - to_numpy(first.X)).max())
    if not arguments.no_picture and len(task.shape) == 3 and task.shape[0] in (1, 3):
        labels, clean = best.relaxed.y.astype(int), made if first is None else first.X
        write_file(out / f"poison-{seed}.png", partial(save_grid, clean=clean, poison=made, labels=labels))
    return record


def defenses_of(arguments: Any, task: Task, learner: NetworkLearner) -> dict[str, Defense]:
    """The defences by name, told the share of the poison, and those that can be told so, rows that are clean."""
    share, rows = share_of(arguments), learner.row_learner()
    names = filter(None, map(str.strip, (arguments.defenses or "").split(",")))
    found = {name: make_defense(name, remove=share, problem=rows) for name in names}
    if arguments.trusted is None:
        return found
    most = max(round(check_number(arguments.trusted, "--trusted", above=0, at_most=1) * task.train.n), 1)
    known = task.train.take(np.random.default_rng(learner.seed).permutation(task.train.n)[:most])
    told = [one for one in found.values() if "trusted" in one.get_params(deep=False)]
    if not told:
        raise InputError("a defence that looks at trusted rows, such as self-influence", arguments.defenses or "none")
    for one in told:
        one.set_params(trusted=(known.X, known.y))
    return found


def _behind(arguments: Any, task: Task, learner: NetworkLearner, poison: Poison) -> dict[str, Any]:
    """Accuracy of what is learned behind each defence, and the share of the poison that it leaves.

    Of one that cannot judge this network, or would drop a class whole, it says why.
    """
    record: dict[str, Any] = {}
    for name, defense in defenses_of(arguments, task, learner).items():
        try:
            scenario = learner.scenario(task.train, task.test, arguments.epsilon, {name: defense})
            found = scenario.defender.score(poison, {"test": task.test})
        except LinpoisonError as error:
            record[f"nothing_behind_{name}"] = str(error)
            continue
        record[f"accuracy_behind_{name}"] = 1 - found.error["test"][name]
        record[f"poison_left_by_{name}"] = float(found.kept_fraction[name] or 0.0)
    return record


def _target(arguments: Any, stage: Stage, seed: int, out: Path) -> dict[str, Any]:
    """Parameters to plant, which are written, and what is known of them."""
    target = target_rule(arguments).target(stage.risk, stage.w, stage.train)
    write_file(out / f"target-{seed}.npy", lambda stream: np.save(stream, to_numpy(target)))
    if arguments.tensors:
        save_tensors(out / f"target-{seed}.safetensors", stage.risk, target)
    found, length = reachability(stage.risk, target, stage.train), stage.moved(target)
    record: dict[str, Any] = {"target_accuracy": accuracy(stage.risk, target, stage.target)}
    record |= {"threshold": found.threshold, "threshold_kind": found.kind}
    return record | {"target_distance": length, "target_relative_length": length / norm(stage.w)}


def _as_images(learner: NetworkLearner, task: Task, poison: Poison, folder: Path) -> dict[str, float]:
    """The poison written as pictures, and what is learned from these: the rounding, and its accuracy."""
    bounds = (task.low, task.high)
    change = save_images(folder, poison, task.shape, bounds)
    read = load_images(folder, poison, bounds)
    accuracy = 1 - learner.fit(task.train.mix(read.expanded())).error(task.test)
    return {"images_rounding": change, "images_accuracy": accuracy}


def _canceled(attack: Any, learner: NetworkLearner, best: Any) -> dict[str, Any]:
    layout = learner.risk.on(learner.risk.module, attack.params).layout
    record = {"residual": best.residual, "parameters": list(layout.names), "parameters_size": layout.size}
    record["threshold_kind"] = "necessary"
    if attack.params is None:
        record["relative_distance"] = best.distance / best.facts["target_distance"]
    return record


def _constraint(arguments: Any, task: Task) -> str:
    if arguments.command == "flip":
        return "clean rows, wrong labels"
    if getattr(arguments, "colour", None) is not None:
        return f"colour {arguments.colour:g}, pixels {arguments.near or 0:g}"
    return "none" if getattr(arguments, "free", False) else f"box [{task.low:g}, {task.high:g}]"


def output_of(text: str | None) -> str | int | None:
    """A place if it is a number, otherwise a key."""
    place: str | int | None = as_count(text)
    return place


def _device(name: str) -> Any:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.zeros(1, device=name)
        place.item()  # which a device without numbers, such as meta, cannot tell
        return place.device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError("a device that torch can use", f"{name!r} ({str(error).splitlines()[0]})") from None


def _seeds(text: str) -> list[int]:
    try:
        seeds = [check_seed(int(part)) for part in text.split(",")]
    except ValueError as error:  # of too many digits, too
        if isinstance(error, InputError):
            raise
        raise InputError("seeds as whole numbers with commas between them", repr(text)) from None
    if len(set(seeds)) < len(seeds):
        raise InputError("different seeds", repr(text))
    return seeds


def _finished(place: Path, digest: str) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if record.get("digest") == digest else None


def _plain(value: Any) -> Any:
    """Numbers that JSON has: NaN becomes null, infinity a string."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else "infinity" if np.isinf(value) else float(value)
    return value.item() if isinstance(value, np.generic) else value


def _versions() -> dict[str, str]:
    found = {"linpoison": __version__, "torch": str(torch.__version__), "numpy": np.__version__}
    return found | {"python": platform.python_version()}


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds of every number."""
    found = {}
    for key in runs[0]:
        values = [record.get(key) for record in runs]
        if key != "seed" and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            numbers = np.array(values, dtype=np.float64)
            sd = float(numbers.std(ddof=1)) if len(numbers) > 1 else float("nan")
            found[key] = {"mean": float(numbers.mean()), "sd": sd}
    return found


def _table(runs: list[dict[str, Any]]) -> str:
    keys = ("seed", "clean_accuracy", "target_accuracy", "accuracy", "drop", "residual", "threshold")
    shown = [key for key in keys if key in runs[0]]
    lines = ["  ".join(f"{key.replace('_', ' '):>15}" for key in shown)]
    lines += ["  ".join(f"{_cell(key, record):>15}" for key in shown) for record in runs]
    return "\n".join(lines)


def _cell(key: str, record: dict[str, Any]) -> str:
    """Of a threshold that only bounds from below, zero says nothing, and so does NaN, of a loss without a reach."""
    value = record.get(key)
    unknown = value is None or value != value or (value == 0 and record.get("threshold_kind") == "necessary")
    return "none proved" if key == "threshold" and unknown else _short(value)


def _short(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
