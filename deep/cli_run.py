"""What ``python -m deep`` does: learn, poison, learn again from scratch, for each seed; and what it writes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from linpoison._frame import say, tell
from linpoison.core import InputError, check_seed
from linpoison.core.writing import alone_in, check_folder, text_writer, write_file
from linpoison.risk.checkpoints import Checkpoint, digest_of

from .cli_attacks import ATTACKS, Run
from .cli_data import load_task
from .cli_lab import Lab, code_of
from .sgd import deterministic

EVERY = 5.0
"""Least seconds between two lines of progress."""
_FREE = ("out", "resume", "quiet", "seed", "no_picture")


class Ticker:
    """Lines of progress on standard error, not too often."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.last = quiet, 0.0

    def __call__(self, what: str, *, now: bool = False) -> None:
        """Tell what is being done, if nothing was told for a while."""
        moment = time.monotonic()
        if not self.quiet and (now or moment - self.last >= EVERY):
            self.last = moment
            tell(f"deep: {what}")


def run(arguments: Any) -> None:
    """Run a command for all of its seeds, and write ``results.json`` and the poison of each seed."""
    seeds = _seeds(arguments.seed)
    out, tick = check_folder(arguments.out), Ticker(arguments.quiet)
    settings = {name: value for name, value in sorted(vars(arguments).items()) if name not in _FREE}
    task = load_task(arguments.data, arguments.rows, seeds[0])
    with alone_in(out), deterministic():
        lab = Lab.of(arguments, task)
        digest = digest_of(repr(settings), task.train, task.test, code_of(lab.risk.module), *_versions().items())
        attack = ATTACKS[arguments.command](lab, arguments)
        runs = _all(lab, attack, seeds, out, tick, digest, arguments)
    summary = {"settings": settings, "device": lab.device, **_versions(), "runs": runs, "summary": _summary(runs)}
    _write(out / "results.json", summary)
    if not arguments.quiet:
        say(f"{_table(runs)}\n\nWritten to {out}: {', '.join(sorted(p.name for p in out.iterdir()))}\n")


def _all(
    lab: Lab, attack: Run, seeds: list[int], out: Path, tick: Ticker, digest: str, arguments: Any
) -> list[dict[str, Any]]:
    """The record of each seed, read back where an earlier run has finished it."""
    _begin(out, resume=arguments.resume)
    runs = []
    for seed in seeds:
        place = out / f"seed-{seed}.json"
        record = _finished(place, digest)
        if record is None:
            picture = not getattr(arguments, "no_picture", True)
            record = {**_one(lab, attack, seed, out, tick, digest, picture=picture), "digest": digest}
            _write(place, record)
            for kind in ("clean", "canceling"):
                (out / f"{kind}-{seed}.npz").unlink(missing_ok=True)
        runs.append(record)
    return runs


def _begin(out: Path, *, resume: bool) -> None:
    """Remove what an earlier run left, unless it is resumed."""
    if not resume:
        for kind in ("seed-*.json", "game-*.npz", "clean-*.npz", "canceling-*.npz"):
            for stale in out.glob(kind):
                stale.unlink()


def _one(lab: Lab, attack: Run, seed: int, out: Path, tick: Ticker, digest: str, *, picture: bool) -> dict[str, Any]:
    """Everything for one seed."""
    tick(f"seed {seed}: learning from {lab.train.n} clean rows", now=True)
    clean = lab.learn_clean(seed, Checkpoint(out / f"clean-{seed}.npz", digest), tick)
    record: dict[str, Any] = {"seed": seed, "clean_accuracy": lab.accuracy(clean)}
    record |= {"clean_seconds": clean.seconds, "clean_gradient": clean.grad_norm}
    began = time.perf_counter()
    found = attack(clean, seed, out, tick)
    record |= {"attack_seconds": time.perf_counter() - began, "memory_mib": lab.memory(), **found.notes}
    if found.poison is None:
        return record
    rows = "1 poison row" if found.poison.n == 1 else f"{found.poison.n} poison rows"
    tick(f"seed {seed}: learning again with {rows}", now=True)
    again = lab.learn(lab.train.joined(found.poison, lab.risk), seed, tick)
    record |= {"accuracy": lab.accuracy(again), "poison_rows": found.poison.n, "constraint": found.constraint}
    record["drop"] = record["clean_accuracy"] - record["accuracy"]
    if found.target is not None:
        record["relative_distance"] = lab.distance(again, found.target, clean)
    lab.save(out, seed, found, picture=picture)
    return record


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:  # of too many digits, too
        raise InputError("seeds as whole numbers with commas between them", repr(text)) from None
    for seed in seeds:
        check_seed(seed)
    if len(set(seeds)) < len(seeds):
        raise InputError("different seeds", repr(text))
    return seeds


def _finished(place: Path, digest: str) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if record.get("digest") == digest else None


def _write(place: Path, record: dict[str, Any]) -> None:
    write_file(place, text_writer(json.dumps(_plain(record), indent=1, allow_nan=False) + "\n"))


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
    import torch

    from linpoison._version import __version__

    return {"linpoison": __version__, "torch": str(torch.__version__)}


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
