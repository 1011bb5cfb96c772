"""How many rows of a class a defence drops, and how far a row has to lie to drag their mean."""

from __future__ import annotations


def quota(remove: float, n: int) -> int:
    """Rows that are dropped of a class of `n` rows: ``n - round((1 - remove) n)``, halves rounded to even.

    Examples
    --------
    >>> [quota(0.05, n) for n in (130, 150, 160, 170, 190, 210)]
    [6, 8, 8, 8, 10, 10]
    """
    return n - round((1 - remove) * n)


def drag_ratio(n_clean: int, working: int, dragging: int = 1) -> float:
    """How many times as far as the working rows a dragging row has to lie for them to stay behind l2 and slab.

    Put ``w`` working rows at ``c + R u`` and ``q`` dragging rows at ``c + rho R u``, with ``c`` the mean of the class
    and ``u`` of length 1. The mean of all ``N = n_clean + w + q`` rows moves by ``a = (w + q rho) R / N`` along u. As
    R grows a clean row scores ``a`` plus a constant and a working row ``|R - a|``, so the working rows score less
    than every clean row iff ``R < 2 a``, that is

    ::

        rho > (N - 2 w) / (2 q)

    whatever share the defence removes. What it drops are the dragging rows, then clean ones.

    Examples
    --------
    >>> drag_ratio(148, 11)
    69.0
    """
    return (n_clean + dragging - working) / (2 * dragging)
