"""Every attack of the library with the least work that it can be told to do."""

from __future__ import annotations

from linpoison.attacks import (
    ALFA,
    KKT,
    Attack,
    Breakdown,
    Exchange,
    GradientCanceling,
    Influence,
    InfluenceBasic,
    KKTGrid,
    LabelFlipDecoys,
    MinMax,
    MinMaxBasic,
    ModelTargeted,
    RandomFlips,
    Refined,
)
from linpoison.attacks.kkt import IterativeKKT

FEW = LabelFlipDecoys(quantiles=(0.3,), repeats=(3,))
SMALL: dict[str, Attack] = {
    "random-flips": RandomFlips(draws=2),
    "alfa": ALFA(finalists=2),
    "breakdown": Breakdown(directions=2, ascents=2, chains=1, steps=2, inside=False),
    "exchange": Exchange(singles=1, ratings=20, tries=2),
    "kkt": KKT(decoys=FEW, generations=1, refits=1, finalists=2),
    "kkt-grid": KKTGrid(decoys=FEW, splits=2, finalists=1),
    "kkt-iterative": IterativeKKT(decoys=FEW, chains=1, refits=1, draws=1, finalists=1),
    "min-max-basic": MinMaxBasic(refits=1, finalists=1),
    "min-max": MinMax(decoys=FEW, generations=1, tries=1, finalists=1),
    "influence-basic": InfluenceBasic(steps=10, finalists=1),
    "influence": Influence(starts=1, steps=10, finalists=1),
    "model-targeted": ModelTargeted(decoys=FEW, most_decoys=1, finalists=1),
    "gradient-canceling": GradientCanceling(decoys=FEW, most_decoys=1, finalists=1),
    "refined": Refined(start=RandomFlips(draws=1), rounds=1, steps=10, chains=1),
}
