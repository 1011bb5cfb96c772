"""The least poison that buys a given model, or the label of one row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..attacks import LabelFlipDecoys
from ..certificates import Certificate, budget_poison, budget_to_flip, min_budget
from ..core import CapabilityError, Dataset, InputError, LinearModel, Poison, as_whole
from ..core.archives import read_arrays
from ..core.writing import alone_in, check_folder
from ..reporting.budget import BudgetReport
from ..reporting.json_values import plain
from .assemble import command_line, describe_data, describe_model, versions
from .bracket import Progress, wrong
from .inputs import prepare
from .options import LearnerOptions, influences
from .trusted import Trusted, trusted


def budget(
    data: Any = "breast_cancer",
    target: Any = "decoys",
    options: LearnerOptions | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **keywords: Any,
) -> BudgetReport:
    """The least mass of poison, inside filters fixed on the clean rows, that makes the learner learn a target.

    Parameters
    ----------
    data : str, path, Split or tuple, default "breast_cancer"
        As in `audit`.
    target : LinearModel, path or str
        A model, a ``.npz`` file with arrays ``coef`` and ``intercept``; ``"decoys"`` for the models that the KKT
        attack aims at; ``"flip:I"`` for the cheapest model found that misclassifies test row I.
    options : LearnerOptions, optional
        As an object, in place of keywords.
    out : path, optional
        Folder for ``budget.json``, the certificates and the poisons.
    progress : callable, optional
    **keywords
        As in `certify`.

    Raises
    ------
    InputError
        For a target, option or data that cannot be used.
    """
    asked = LearnerOptions.of(options, keywords)
    folder = None if out is None else check_folder(out)
    with alone_in(folder):
        return _run(data, target, asked, folder, progress)


def _run(
    data: Any, target: Any, options: LearnerOptions, folder: Path | None, progress: Progress | None
) -> BudgetReport:
    wanted = _read(target)
    setting = prepare(data, options)
    if setting.problem.class_weight is not None:
        raise CapabilityError(
            "a learner without class weights for a least budget", repr(setting.problem.class_weight),
            "Write them out as sample weights (sample_weight, --weight); fit an estimator with these instead.",
        )  # fmt: skip
    d = setting.split.train.d
    if isinstance(wanted, LinearModel) and wanted.d != d:
        raise InputError(f"a target model of {d} features", f"{wanted.d}", "Use the data set that it was made for.")
    defender, test = trusted(setting), setting.split.test
    entries, proofs, poisons = [], [], {}
    for name, proof in _proofs(wanted, defender, test, progress):
        poison = budget_poison(proof)
        entries.append(_entry(name, proof, poison, defender, test))
        proofs.append(proof)
        if poison is not None:
            poisons[name] = poison
    words = dict.fromkeys(word for proof in proofs for word in proof.assumptions)
    report = BudgetReport(
        dataset=describe_data(setting), model=describe_model(setting), target=_named(target), entries=entries,
        certificates=[proof.summary() for proof in proofs], assumptions=list(words), n_trusted=defender.train.n,
        versions=versions(), seed=options.seed, options=plain(influences(options)), left_out=dict(defender.left_out),
        command=f"{command_line('budget', data, options)} --target {_named(target)}",
    )  # fmt: skip
    if folder is not None:
        for entry, proof in zip(entries, proofs, strict=True):
            proof.save(folder / "certificates" / entry["name"])
            if entry["name"] not in poisons:  # that of an earlier run is not this one's
                (folder / "certificates" / f"{entry['name']}.poison.npz").unlink(missing_ok=True)
        for name, poison in poisons.items():
            poison.save(folder / "certificates" / f"{name}.poison.npz")
        report.save(folder)
    return report


def _proofs(
    target: LinearModel | str | int, defender: Trusted, test: Dataset, progress: Progress | None
) -> Iterator[tuple[str, Certificate]]:
    train, problem, sets = defender.train, defender.problem, defender.sets
    if isinstance(target, LinearModel):
        yield "model", min_budget(train, problem, sets, target)
    elif isinstance(target, int):
        row = test.take(test.positions([target]))
        yield f"flip-{target}", budget_to_flip(train, problem, sets, row).certificate
    else:
        decoys = LabelFlipDecoys().generate(train, problem, test)
        for number, decoy in enumerate(decoys):
            if progress is not None:
                progress(number, len(decoys), "budgets of decoys")
            yield f"decoy-q{decoy.quantile:.2f}-r{decoy.repeats}", min_budget(train, problem, sets, decoy.model)


def _entry(name: str, proof: Certificate, poison: Poison | None, defender: Trusted, test: Dataset) -> dict[str, Any]:
    target = LinearModel.from_vector(proof.witness["model"])
    learned = None if poison is None else defender.learn(poison)[0]
    return {
        "name": name,
        "test_error": wrong(target, test),
        "bound": float(proof.bound),
        "primal": float(proof.info["primal"]),
        "exact": bool(proof.exact),
        "total": defender.train.total,
        "learned_test_error": None if learned is None else wrong(learned, test),
        "distance": None if learned is None else float(np.linalg.norm(learned.vector - target.vector)),
        "seconds": proof.seconds,
        "info": plain(proof.info),
    }


_TARGET = "a target: a .npz file with arrays coef (d,) and intercept, 'decoys', or 'flip:I'"


def _read(target: Any) -> LinearModel | str | int:
    if isinstance(target, LinearModel) or (isinstance(target, str) and target == "decoys"):
        return target
    if not isinstance(target, (str, os.PathLike)):
        raise InputError(_TARGET, repr(target))
    text = os.fspath(target)
    if text.startswith("flip:"):
        if not (text[5:].isascii() and text[5:].isdecimal()):
            raise InputError("the number of a test row after 'flip:'", repr(text[5:]), "Such as flip:17.")
        return as_whole(text[5:])
    arrays = read_arrays(text, _TARGET, names=("coef", "intercept"))
    missing = [name for name in ("coef", "intercept") if name not in arrays]
    if missing:
        raise InputError(_TARGET, f"{text} without {' and '.join(missing)}")
    coef, intercept = arrays["coef"], arrays["intercept"]
    if coef.ndim > 2 or (coef.ndim == 2 and len(coef) != 1) or intercept.size != 1:
        raise InputError(_TARGET, f"{text} with coef of shape {coef.shape} and intercept of shape {intercept.shape}")
    if coef.dtype.kind not in "biuf" or intercept.dtype.kind not in "biuf":
        raise InputError(_TARGET, f"{text} with numbers of type {coef.dtype} and {intercept.dtype}")
    try:
        return LinearModel(coef.ravel(), float(intercept.ravel()[0]))
    except InputError as error:
        raise InputError(_TARGET, f"{text} ({error})") from None


def _named(target: Any) -> str:
    return "<model>" if isinstance(target, LinearModel) else Path(os.fspath(target)).name
