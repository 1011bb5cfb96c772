"""Feasible sets of defences and domains, each stated once as a cone and once in numpy."""

from .ball import Ball
from .base import FeasibleSet, Relation
from .box import Box, NonNegative, everywhere
from .by_label import ByLabel, pack_sets, sets_digest, unpack_sets
from .count_ball import CountBall
from .domain import domain_set, in_domain
from .halfspace import Halfspace, Slab, loss_cap, rival_caps
from .intersection import Intersection, intersect
from .oracle import Oracle
from .piece import Piece
from .programs import NearestProgram, SolvedBy, SupportProgram
from .subspace import SubspaceTube

__all__ = [
    "Ball",
    "Box",
    "ByLabel",
    "CountBall",
    "FeasibleSet",
    "Halfspace",
    "Intersection",
    "NearestProgram",
    "NonNegative",
    "Oracle",
    "Piece",
    "Relation",
    "Slab",
    "SolvedBy",
    "SubspaceTube",
    "SupportProgram",
    "domain_set",
    "everywhere",
    "in_domain",
    "intersect",
    "loss_cap",
    "pack_sets",
    "rival_caps",
    "sets_digest",
    "unpack_sets",
]
