"""Fixed sets that hold every poison which a filter with poisoned centroids keeps."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import CapabilityError
from ...core.validation import Array, check_number
from ...sets import ByLabel, FeasibleSet, Piece, intersect

_TOL = 1e-6


def inflate(sets: ByLabel, train: Dataset, epsilon: float) -> ByLabel:
    """Trusted sets for a filter whose centroids are means of clean rows *and* poison.

    Let ``mu_y`` be the clean mean of a class, ``p_y`` its share of the clean rows, ``r_y`` and ``s_y`` the thresholds
    of the sphere and of the slab, held fixed. If no clean row is removed and every poison row of the classes, of masses
    ``e_+ + e_- <= epsilon``, passes the filter around the centroids ``mu'_y`` of all rows, then

    ::

        |x - mu_y|          <=  r_y (1 + epsilon / p_y)
        |w . (x - mu_y)|    <=  s_y + epsilon r_y (max_k r_k / p_k + |w| / p_y),      w = mu_+ - mu_-

    *Sphere.* The mean ``a`` of the poison of a class lies in the ball around ``mu'_y``, and
    ``a - mu'_y = p_y / (p_y + e_y) (a - mu_y)``, so ``|a - mu_y| <= r_y (1 + e_y / p_y)`` and
    ``|mu'_y - mu_y| <= r_y e_y / p_y =: D_y``; each row is at most ``r_y`` further.

    *Slab.* With ``w = mu_+ - mu_-`` and ``w'`` its poisoned counterpart, ``|w' - w| <= D_+ + D_- <= D``, where
    ``D = epsilon max_y r_y / p_y``. From ``|w' . (x - mu'_y)| <= s_y`` follows
    ``|w . (x - mu_y)| <= s_y + r_y D + |w| D_y``. Where the filter divides ``w`` by its length, ``r_y D`` becomes
    ``2 r_y D / |w|`` and ``|w| D_y`` becomes ``D_y``.

    Boxes do not depend on the data and stay as they are.

    Parameters
    ----------
    sets : ByLabel
        For each class a ball (or its envelope for counts) around the mean of its clean rows, alone or intersected with
        the slab of the clean means and with boxes.
    train : Dataset
        The clean rows.
    epsilon : float
        Mass of the poison as a fraction of the clean rows.

    Returns
    -------
    ByLabel

    Raises
    ------
    CapabilityError
        If a class has no ball, if a ball or slab is not that of the clean means, or if there are other sets, which
        depend on the poison in a way that is not bounded here.

    References
    ----------
    Steinhardt, Koh, Liang: Certified defenses for data poisoning attacks (2017), section 5, where the data-dependent
    case is relaxed by a semidefinite program instead.

    Examples
    --------
    >>> from linpoison.sets import Ball
    >>> train = Dataset([[-2.0], [0.0], [2.0], [0.0]], [-1, -1, 1, 1])
    >>> inflate(ByLabel({+1: Ball([1.0], 1.5), -1: Ball([-1.0], 1.5)}), train, 0.1)[1].radius  # 1.5 (1 + 0.1 / 0.5)
    1.8
    """
    check_number(epsilon, "epsilon", at_least=0)
    classes = {label: CentroidSets.of(sets[label], train, label, epsilon) for label in (1, -1)}
    w = classes[1].mean - classes[-1].mean
    moved = max(part.moved for part in classes.values())
    return ByLabel({label: part.inflated(w, moved) for label, part in classes.items()})


@dataclass(frozen=True, eq=False)
class CentroidSets:
    """The sets of one class, its clean mean, its radius, and how far its centroid can move."""

    parts: tuple[FeasibleSet, ...]
    mean: Array
    radius: float
    moved: float

    @classmethod
    def of(cls, feasible: FeasibleSet, train: Dataset, label: int, epsilon: float) -> CentroidSets:
        share = np.where(train.y == label, train.weight, 0.0)
        mean = np.asarray(train.X.T @ share) / share.sum()
        radius = inf
        for piece in (part.piece or Piece() for part in feasible.parts):
            if piece.center is not None:
                if float(np.linalg.norm(piece.center - mean)) > _TOL * (1 + float(np.linalg.norm(mean))):
                    raise CapabilityError(f"balls around the clean mean of the class {label:+d}", "another center")
                radius = min(radius, piece.radius)
        if radius == inf:
            raise CapabilityError(f"a ball for the class {label:+d}", "none", "Without one a centroid can go anywhere.")
        return cls(feasible.parts, mean, radius, radius * epsilon * train.total / float(share.sum()))

    def inflated(self, w: Array, moved: float) -> FeasibleSet:
        """The parts, each grown by what the centroids can move."""
        return intersect(*[self._grown(part, w, moved) for part in self.parts])

    def _grown(self, part: FeasibleSet, w: Array, moved: float) -> FeasibleSet:
        piece = part.piece
        if piece is not None and piece.is_box:
            return part
        slab = None if piece is None else piece.slab
        if slab is None:
            return part.grown(self.moved)
        return part.grown(self._slack(part, slab, w, moved) / float(np.linalg.norm(slab[0])))

    def _slack(self, part: FeasibleSet, slab: tuple[Array, float, float], w: Array, moved: float) -> float:
        normal, offset, _ = slab
        length, size = float(np.linalg.norm(w)), float(np.linalg.norm(normal))
        along = abs(float(normal @ w))
        middle = abs(float(normal @ self.mean) - offset)
        if length == 0 or along < (1 - _TOL) * size * length or middle > _TOL * (size + abs(offset)):
            raise CapabilityError("slabs between the clean means", repr(part))
        if abs(size - length) <= _TOL * length:
            return self.radius * moved + length * self.moved
        if abs(size - 1) <= _TOL:
            return 2 * self.radius * moved / length + self.moved
        raise CapabilityError("slabs in the unit of the difference of the means, or of length 1", repr(part))
