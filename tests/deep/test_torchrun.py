"""Two processes on one machine give what one gives."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import deep  # noqa: E402
from deep import Torchrun  # noqa: E402
from linpoison.core import InputError  # noqa: E402

SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from deep import TorchRisk
from linpoison.attacks.gradient import Canceler
from linpoison.risk import Adam, Alone, Box, L2AroundSeed, LinearRisk, ProjectedGradient, Sample
from deep import LeaderNetwork
from linpoison.attacks.gradient import TGDA
from linpoison.risk import CG, DirectRows
from linpoison.core import InputError
from linpoison.core.journal import FolderJournal

def results(ranks):
    rng = np.random.default_rng(0)
    data = Sample(rng.normal(size=(30, 4)), rng.integers(3, size=30))
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
    found = {}
    for kind, risk in (("torch", TorchRisk(net, reg=0.01)), ("numpy", LinearRisk(3, 0.01))):
        w = risk.current if kind == "torch" else rng.normal(size=15)
        for optimiser in (Adam(steps=6), ProjectedGradient(steps=6)):
            start = data.take([1, 3, 5, 7, 9])
            for sets in (Box(-2.0, 2.0), L2AroundSeed(start.X, 0.5)):
                run = Canceler(optimiser, sets).cancel(risk, w, data, 0.2, start=start, ranks=ranks)
                key = f"{kind} {optimiser} {type(sets).__name__}"
                found[key] = [np.asarray(run.poison.X).tolist(), run.residual, run.history.tolist()]
    try:
        Canceler(Adam(steps=1), rows=1).cancel(risk, w, data, 0.2, ranks=ranks)
    except InputError as error:
        found["few"] = str(error)
    return found

def games(ranks, place):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(41, 4))
    data = Sample(X, (X @ rng.normal(size=(4, 3))).argmax(axis=1))
    train, held = data.held_out(0.3, seed=0)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
    seeds = train.drawn(5, seed=0)
    seeds = Sample(seeds.X, seeds.y, [1.0, 2.0, 1.0, 3.0, 1.0])
    numpy_risk, torch_risk = LinearRisk(3, 0.05), TorchRisk(net, reg=0.05)
    rows = torch_risk.rows(seeds.X)
    leader = LeaderNetwork(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh()).double(), seeds,
                           label_input=False)
    found = {}
    for game, order in (("non-zero-sum", "attacker"), ("zero-sum", "defender")):
        rule = TGDA(leader_steps=2, follower_steps=3, leader_step=0.2, batch_size=10, game=game, order=order,
                    solver=CG(maxiter=5))  # all 15 directions would magnify rounding
        cases = {"numpy": (numpy_risk, 0.3 * rng.normal(size=15), DirectRows((5, 4)), seeds.X.ravel()),
                 "torch": (torch_risk, torch_risk.current, DirectRows((5, 4)), rows.reshape(-1)),
                 "leader": (torch_risk, torch_risk.current, leader, leader.current)}
        for kind, (risk, w, maker, phi) in cases.items():
            name = f"{place}-{kind}-{game}-{order}"
            for epochs in (1, 2):  # the second goes on from the checkpoint of the first
                rule = replace(rule, epochs=epochs)
                out = rule.play(risk, w, train, held, maker, phi, seeds, ranks=ranks, journal=FolderJournal(Path(name)))
            found[name.removeprefix(place)] = [np.asarray(out.poison.X).tolist(), np.asarray(out.w).tolist(),
                                               out.history["validation_loss"].tolist()]
    try:
        risk, w, *made = cases["numpy"]
        TGDA(epochs=1, follower_steps=0, batch_size=1).play(risk, w, train, held, *made, seeds, ranks=ranks)
    except InputError as error:
        found["few"] = str(error)
    return found

def job(ranks):
    return {"results": results(ranks), "games": games(ranks, sys.argv[2])}

if sys.argv[1] == "alone":
    found = job(Alone())
else:
    from deep import Torchrun
    torch.distributed.init_process_group("gloo")
    found = job(Torchrun())
    rank = torch.distributed.get_rank()
    torch.distributed.destroy_process_group()
    sys.argv[2] += f".{rank}"
with open(sys.argv[2], "w") as file:
    json.dump(found, file)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process finds, and what each of two finds, with the folder that they wrote to."""
    tmp_path = tmp_path_factory.mktemp("found")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), "alone", str(tmp_path / "alone")])
        runpy.run_path(str(script))
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    outcome = subprocess.run(
        [*two, str(script), "both", str(tmp_path / "both")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(deep.__file__).parent.parent)},
    )
    assert outcome.returncode == 0, outcome.stderr[-2000:]
    return tmp_path, *(json.loads((tmp_path / name).read_text()) for name in ("alone", "both.0", "both.1"))


def agree(alone, parts):
    parts[1].pop("few")
    assert "2 processes" in parts[0].pop("few")
    alone.pop("few", None)
    assert parts[0] == parts[1]
    for key, values in alone.items():
        for first, second in zip(values, parts[0][key], strict=True):
            np.testing.assert_allclose(second, first, rtol=1e-12, atol=1e-12)


def test_two_processes_agree_with_one(found):
    alone, *parts = (each["results"] for each in found[1:])
    agree(alone, parts)
    assert len(alone) == 8
    assert all(values[2][-1] < values[2][0] for values in alone.values())


def test_a_game_of_two_processes_is_that_of_one(found):
    folder, *told = found
    alone, *parts = (each["games"] for each in told)
    agree(alone, parts)
    assert len(alone) == 6
    assert all(len(values[2]) == 2 for values in alone.values())
    assert len(list(folder.glob("both-*/*.npz"))) == 6


def test_checkpoints_of_different_epochs_are_refused():
    from linpoison.attacks.gradient.tgda_parts import check_together
    from linpoison.risk.ranks import Alone

    class Ahead(Alone):
        def max(self, number):
            return number + 1

    check_together(Alone(), 3)
    with pytest.raises(InputError, match="same checkpoint"):
        check_together(Ahead(), 3)


def test_a_group_is_needed():
    with pytest.raises(InputError, match="process group"):
        Torchrun()
