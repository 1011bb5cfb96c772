"""Two processes on one machine give what one gives."""

from __future__ import annotations

import json
import os
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
import numpy as np, torch
torch.set_num_threads(1)
from deep import Adam, Alone, Box, GradientCanceling, L2AroundSeed, LinearRisk, ProjectedGradient, Sample, TorchRisk
from linpoison.core import InputError

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
                run = GradientCanceling(optimiser, sets).run(risk, w, data, 0.2, start=start, ranks=ranks)
                key = f"{kind} {optimiser} {type(sets).__name__}"
                found[key] = [np.asarray(run.poison.X).tolist(), run.residual, run.history.tolist()]
    try:
        GradientCanceling(Adam(steps=1), rows=1).run(risk, w, data, 0.2, ranks=ranks)
    except InputError as error:
        found["few"] = str(error)
    return found

if sys.argv[1] == "alone":
    found = results(Alone())
else:
    from deep import Torchrun
    torch.distributed.init_process_group("gloo")
    found = results(Torchrun())
    rank = torch.distributed.get_rank()
    torch.distributed.destroy_process_group()
    sys.argv[2] += f".{rank}"
with open(sys.argv[2], "w") as file:
    json.dump(found, file)
"""


def test_two_processes_agree_with_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for command, place in (([sys.executable], "alone"), (two, "both")):
        outcome = subprocess.run(
            [*command, str(script), place, str(tmp_path / place)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(deep.__file__).parent.parent)},
        )
        assert outcome.returncode == 0, outcome.stderr[-2000:]
    alone = json.loads((tmp_path / "alone").read_text())
    parts = [json.loads((tmp_path / f"both.{rank}").read_text()) for rank in (0, 1)]
    assert "2 processes" in parts[0].pop("few")
    parts[1].pop("few")
    assert parts[0] == parts[1]
    assert len(alone) == 8
    for key, values in alone.items():
        for first, second in zip(values, parts[0][key], strict=True):
            np.testing.assert_allclose(second, first, rtol=1e-12, atol=1e-12)
        assert values[2][-1] < values[2][0]


def test_a_group_is_needed():
    with pytest.raises(InputError, match="process group"):
        Torchrun()
