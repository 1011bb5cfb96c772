"""Checks at the border of the library: raw input becomes clean arrays, or one clear error."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .errors import InputError

LABELS = (1.0, -1.0)
"""The labels of the two classes inside the library."""

Array = NDArray[np.float64]
Codes = NDArray[np.intp]
Mask = NDArray[np.bool_]
Matrix = Any  # a dense (n, d) float64 array or a scipy.sparse.csr_array of that shape


def as_matrix(X: Any, name: str = "X", *, allow_empty: bool = False) -> Matrix:
    """Return `X` as a finite float64 matrix, dense or CSR.

    Parameters
    ----------
    X : array_like or sparse, shape (n, d)
        Features. Sparse input stays sparse and becomes CSR; everything else becomes a dense array.
    name : str, default "X"
        How errors call it.
    allow_empty : bool, default False
        Whether zero rows are accepted.

    Returns
    -------
    ndarray or csr_array, shape (n, d), float64

    Raises
    ------
    InputError
        If it is not numeric, not two-dimensional, empty, or holds NaN or infinity.
    """
    if sp.issparse(X):
        if X.ndim != 2:
            raise InputError(f"{name} of shape (n_samples, n_features)", f"shape {X.shape}")
        check_kind(X, name)
        try:
            matrix: Matrix = sp.csr_array(X.tocsr()).astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise _not_numeric(name, error) from None
        matrix.sum_duplicates()
        values = matrix.data
    else:
        matrix = _as_dense(X, name)
        values = matrix
    _check_shape(matrix.shape, name, allow_empty)
    _check_finite(values, name)
    return matrix


def _as_dense(X: Any, name: str) -> Array:
    check_kind(X, name)
    try:
        if hasattr(X, "to_numpy") and hasattr(X, "iloc"):  # a frame of pandas, whose nullable columns hold pandas' NA
            X = X.to_numpy(dtype=np.float64, na_value=np.nan)
        dense = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise _not_numeric(name, error) from None
    if dense.ndim != 2:
        raise InputError(f"{name} of shape (n_samples, n_features)", f"shape {dense.shape}")
    return dense


def _not_numeric(name: str, error: Exception) -> InputError:
    reason = f"values that are not numbers ({error})"
    return InputError(f"numeric {name}", reason, "Encode text as numbers first.")


def check_unmasked(X: Any, name: str) -> None:
    """Refuse masked entries, for which numpy would take what stands behind the mask."""
    if np.ma.is_masked(X):
        raise InputError(f"{name} without masked entries", "some", "Fill them, or drop those rows first.")


def check_kind(X: Any, name: str) -> None:
    """Refuse complex numbers, dates, durations, records and masks, of which numpy would make real numbers silently."""
    check_unmasked(X, name)
    try:
        kind = np.dtype(X.dtype if isinstance(getattr(X, "dtype", None), np.dtype) else np.asarray(X).dtype).kind
    except (ValueError, TypeError):  # a ragged sequence, say, which is refused in its turn
        return
    of_columns = {getattr(one, "kind", "") for one in X.dtypes} if hasattr(X, "columns") else set()  # of a frame
    if kind in "mM" or of_columns & {"m", "M"}:  # numpy would count units of time
        raise InputError(f"numeric {name}", "dates or durations", "Turn them into numbers of a unit first.")
    if kind == "V":
        raise InputError(f"numeric {name}", "records", "Take the columns out of them.")
    if kind == "c":
        raise InputError(f"real {name}", "complex numbers")


def _check_shape(shape: tuple[int, ...], name: str, allow_empty: bool) -> None:
    if shape[1] == 0:
        raise InputError(f"{name} with at least one feature", f"shape {shape}")
    if shape[0] == 0 and not allow_empty:
        raise InputError(f"{name} with at least one row", f"shape {shape}")


def _check_finite(values: Array, name: str) -> None:
    if not np.isfinite(values).all():
        kind = "NaN" if np.isnan(values).any() else "infinity"
        raise InputError(f"finite {name}", f"{kind} among the values", "Drop or impute those rows first.")


def squared_norms(X: Matrix) -> Array:
    """``|x|^2`` of each row, or of one dense row."""
    if sp.issparse(X):
        return np.asarray(X.multiply(X).sum(axis=1)).ravel()
    return np.asarray(np.einsum("...i,...i->...", X, X))


def check_once(names: Sequence[str], what: str) -> None:
    """Raise if a name stands twice; `what` is what errors call the names."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{what} that are named once", f"{', '.join(twice)} twice", "Remove the repetition.")


def label_array(y: Any) -> NDArray[Any]:
    """Labels of any kind as an array."""
    check_unmasked(y, "labels")
    try:
        return np.asarray(y)
    except ValueError:
        raise InputError("labels of shape (n_samples,)", "a ragged sequence") from None


def as_labels(y: Any, n: int, n_classes: int | None = None) -> Array:
    """Labels of `n` rows as float64: signs, or with `n_classes` codes from 0 on."""
    return as_signed_labels(y, n) if n_classes is None else as_codes(y, n, n_classes).astype(np.float64)


def as_codes(y: Any, n: int, n_classes: int) -> Array:
    """Labels as whole numbers in {0, ..., n_classes - 1}, shape (n,)."""
    check_kind(y, "labels")
    labels, most = label_array(y), check_integer(n_classes, "n_classes", at_least=2)
    if labels.shape != (n,):
        raise InputError(f"labels of shape ({n},), one for each row", f"shape {labels.shape}")
    if labels.dtype.kind not in "biuf" or (labels != np.round(labels)).any() or (labels < 0).any():
        raise InputError("labels 0, 1, 2, ...", f"the values {labels[:5].tolist()}", "Encode them first.")
    if n and labels.max() >= most:
        raise InputError(f"labels below n_classes={most}", f"the label {int(labels.max())}")
    return labels.astype(np.intp)


def as_signed_labels(y: Any, n: int | None = None, *, both: bool = False) -> Array:
    """Return labels as float64 in {-1, +1}.

    Parameters
    ----------
    y : array_like, shape (n,)
        Labels that already are -1 or +1. Other label values are translated where data enter
        (`linpoison.datasets.LabelEncoding`), not here.
    n : int, optional
        The length that `y` must have.
    both : bool, default False
        Whether both classes must be present.
    """
    check_kind(y, "labels")
    try:
        labels = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("labels in {-1, +1}", "labels that are not numbers") from None
    if labels.ndim != 1:
        raise InputError("labels of shape (n_samples,)", f"shape {labels.shape}")
    if n is not None and labels.shape[0] != n:
        raise InputError(f"{n} labels, one for each row", f"{labels.shape[0]} labels")
    if not (np.abs(labels) == 1.0).all():
        raise InputError("labels in {-1, +1}", f"the values {np.unique(labels)[:5].tolist()}")
    if both and (labels == labels[:1]).all():
        raise InputError("rows of both classes", f"only the label {labels[:1].tolist()}")
    return labels


def refuse_missing(labels: NDArray[Any]) -> None:
    """Raise if a label is missing: None, NaN, NaT or pandas' NA."""
    if labels.dtype.kind in "mM":
        count = int(np.isnat(labels).sum())
    elif labels.dtype.kind in "fc":
        count = int(np.isnan(labels).sum())
    else:
        count = sum(_is_missing(value) for value in labels.tolist()) if labels.dtype.kind == "O" else 0
    if count:
        raise InputError("a label for every row", f"{count} missing labels", "Drop those rows first.")


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:  # what compares as unknown, as pandas' NA does
        return True


def as_weights(weight: Any, n: int, name: str = "weight") -> Array:
    """Return non-negative finite weights (copies) of shape (n,); ``None`` means one each.

    Parameters
    ----------
    weight : array_like of shape (n,), optional
    n : int
    name : str
        How an error calls it.
    """
    if weight is None:
        return np.ones(n)
    check_kind(weight, name)
    try:
        values = np.asarray(weight, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"numeric {name}", "values that are not numbers") from None
    if values.shape != (n,):
        raise InputError(f"{name} of shape ({n},)", f"shape {values.shape}")
    _check_finite(values, name)
    if (values < 0).any():
        raise InputError(f"non-negative {name}", f"a value of {values.min():g}")
    with np.errstate(over="ignore"):
        total = float(values.sum())
    if not 1e-305 <= total <= 1e305 and values.any():  # shares of less have no digits, of more no sum
        raise InputError(f"{name} of a sum between 1e-305 and 1e305", f"{total:g}", "Divide by the largest of them.")
    return values


def check_number(
    value: Any,
    name: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    remedy: str = "",
) -> float:
    """Return `value` as a float inside the given bounds, or say which bound it breaks.

    Parameters
    ----------
    value : object
    name : str
        How an error calls it.
    above, at_least, below, at_most : float, optional
        The bounds; `above` and `below` are not attained.
    remedy : str, optional
        What an error says to do.
    """
    limits = _limits(above, at_least, below, at_most)
    expected = f"{name} as a number{limits}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InputError(expected, repr(value), remedy)
    try:
        number = float(value)
    except OverflowError:  # of a whole number beyond the range of floating point
        raise InputError(expected, "a number of too many digits", remedy) from None
    broken = (
        not np.isfinite(number)
        or (above is not None and number <= above)
        or (at_least is not None and number < at_least)
        or (below is not None and number >= below)
        or (at_most is not None and number > at_most)
    )
    if broken:
        raise InputError(expected, f"{number:g}", remedy)
    if at_most is None and abs(number) > LARGEST_NUMBER:
        raise InputError(f"{expected}, of a size of at most {LARGEST_NUMBER:g}", f"{number:g}", remedy)
    return number


def _limits(above: float | None, at_least: float | None, below: float | None, at_most: float | None) -> str:
    parts = [
        f"{word} {bound:g}"
        for word, bound in (("above", above), ("of at least", at_least), ("below", below), ("of at most", at_most))
        if bound is not None
    ]
    return (" " + " and ".join(parts)) if parts else ""


def check_integer(value: Any, name: str, *, at_least: int) -> int:
    """Return `value` as an int that is at least `at_least`.

    Parameters
    ----------
    value : object
    name : str
        How an error calls it.
    at_least : int
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < at_least:
        raise InputError(f"{name} as a whole number of at least {at_least}", _digits(value))
    if int(value) > LARGEST_INTEGER:
        raise InputError(f"{name} as a whole number of at most {LARGEST_INTEGER}", _digits(value))
    return int(value)


def check_integers(of: Any, *names: str, at_least: int) -> None:
    """`check_integer` of several fields of an object.

    Parameters
    ----------
    of : object
    *names : str
        Of its fields.
    at_least : int
    """
    for name in names:
        check_integer(getattr(of, name), name, at_least=at_least)


def check_among(value: Any, what: str, *known: str) -> None:
    """Raise unless `value` is one of some words.

    Parameters
    ----------
    value : object
    what : str
        How an error calls it.
    *known : str

    Examples
    --------
    >>> check_among("both", "the method", "fast", "exact")
    Traceback (most recent call last):
    linpoison.core.errors.InputError: expected the method 'fast' or 'exact', got 'both'.
    """
    if value not in known:
        *others, last = map(repr, known)
        raise InputError(f"{what} {', '.join(others)} or {last}", repr(value))


def _digits(value: Any) -> str:
    """A value in words; Python refuses to write out whole numbers of thousands of digits."""
    try:
        return repr(value)
    except ValueError:
        return "a number of thousands of digits"


LARGEST_NUMBER = 1e30
"""No option means anything beyond: squares of such numbers leave single precision, and their cubes double."""
LARGEST_INTEGER = 2**63 - 1
SEEDS = 2**32
"""Seeds are below this: what scikit-learn and numpy's older generators take."""


def as_number(text: str) -> Any:
    """The number that a text says, or the text itself, which `check_number` then refuses."""
    try:
        return float(text)
    except ValueError:
        return text


def as_whole(text: str) -> int:
    """A whole number as people write it, of at most 18 digits.

    Raises
    ------
    InputError
        For anything else; it is a `ValueError`, as that of ``int``.
    """
    number = text.strip()
    digits = number.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
        raise InputError("a whole number of at most 18 digits", repr(text))
    return int(number)


def as_count(value: Any) -> Any:
    """The whole number that digits say, or anything else itself, which `check_integer` then refuses."""
    return as_whole(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


def check_seed(value: Any, name: str = "seed") -> int:
    """Return a seed as an int from 0 to 2**32 - 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 0 <= int(value) < SEEDS:
        raise InputError(f"{name} as a whole number of at least 0 and below 2**32", _digits(value))
    return int(value)


def as_generator(rng: Any) -> np.random.Generator:
    """Return a numpy Generator for a seed, a Generator or ``None`` (fresh entropy)."""
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None:
        return np.random.default_rng()
    if isinstance(rng, numbers.Integral) and not isinstance(rng, bool) and int(rng) >= 0:
        return np.random.default_rng(int(rng))
    raise InputError("a seed: a whole number of at least 0, a numpy Generator or None", repr(rng))
