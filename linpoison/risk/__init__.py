"""Objectives with their derivatives, for any model, and what is computed with them on arrays alone.

`Risk` is what an attack knows of a model. Two satisfy it: `LinearRisk`, a linear model in numpy with a margin loss or
with cross-entropy, and `deep.TorchRisk`, any torch module. Nothing here needs torch, cvxpy or scikit-learn.

Data come as a `Sample`: rows, labels, copies. Parameters are flat float64 vectors (ndarray or tensor, as the risk is).

`PoisonObjective` with the fields `Cancel`, `Align`, `Match`
    what the attacks of `linpoison.attacks.gradient` minimise: another attack is another field.
`ProjectedGradient`, `Accelerated`, `Adam`, `LBFGS`
    how rows move. `Everywhere`, `Box`, `L2Ball`, `L2AroundSeed`, `LinfAroundSeed`, `Sphere`, `Tied`, `Intersection`:
    where they may lie.
`CG`, `MINRES`, `GaussNewton`, `NormalCG`, `Dense`, `Identity`
    ``H x = b`` from products with H; MINRES where H may be indefinite.
`LBFGSTrainer`
    learning from scratch to a certified gradient.
`reachability`, `least_residuals`
    the least mass that makes parameters optimal; what few distinct rows leave at least.
"""

from .descent import LBFGS, Accelerated, Adam, Descent, ProjectedGradient
from .fields import Align, Cancel, Match, PoisonObjective
from .implicit import hessian
from .linear_risk import LinearRisk
from .measuring import accuracy, relative_distance
from .parameters import DirectRows
from .projections import Box, Everywhere, Intersection, L2AroundSeed, L2Ball, LinfAroundSeed, Sphere, Tied
from .protocols import InverseHVP, PoisonParameters, Projection, Risk, Solution, TargetGenerator, Trainer
from .ranks import Alone
from .samples import Sample
from .solvers import CG, MINRES, Dense, GaussNewton, Identity, NormalCG
from .thresholds import Condition, Reachability, least_residuals, reachability
from .training import LBFGSTrainer, Trained, objective

__all__ = [
    "CG",
    "LBFGS",
    "MINRES",
    "Accelerated",
    "Adam",
    "Align",
    "Alone",
    "Box",
    "Cancel",
    "Condition",
    "Dense",
    "Descent",
    "DirectRows",
    "Everywhere",
    "GaussNewton",
    "Identity",
    "Intersection",
    "InverseHVP",
    "L2AroundSeed",
    "L2Ball",
    "LBFGSTrainer",
    "LinearRisk",
    "LinfAroundSeed",
    "Match",
    "NormalCG",
    "PoisonObjective",
    "PoisonParameters",
    "ProjectedGradient",
    "Projection",
    "Reachability",
    "Risk",
    "Sample",
    "Solution",
    "Sphere",
    "TargetGenerator",
    "Tied",
    "Trained",
    "Trainer",
    "accuracy",
    "hessian",
    "least_residuals",
    "objective",
    "reachability",
    "relative_distance",
]
