"""Fitted estimators from files, without running what strangers wrote into them."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

from ..core import InputError, MissingDependency
from ..core.archives import UNREADABLE, check_file, user_path

_HARMLESS = ("numpy.dtype",)
"""Types beside those that skops trusts itself: a `SimpleImputer` keeps the type of its numbers."""
_REMEDY = "Save it with skops.io.dump(estimator, 'model.skops')."


def read_estimator(source: Any) -> Any:
    """A fitted estimator as it is, or read from a ``.skops`` file of trusted types only.

    Raises
    ------
    InputError
        For a pickle or joblib file (loading one runs any code in it), for a file that is not
        skops, or one with types outside of scikit-learn, scipy and numpy.
    """
    if not isinstance(source, (str, os.PathLike)):
        return source
    path = user_path(source, "an estimator file (.skops)")
    _check_file(path)
    try:
        from skops import io
    except ImportError:
        raise MissingDependency("skops", "to read estimator files", "skops") from None
    return _load(io, path)


def _check_file(path: Path) -> None:
    if path.suffix.lower() in (".pkl", ".pickle", ".joblib"):
        raise InputError(
            "an estimator file (.skops)", f"the pickle {path}", f"A pickle can run any code when it is read. {_REMEDY}"
        )
    check_file(path, "an existing estimator file (.skops)")
    if not zipfile.is_zipfile(path):
        raise InputError("an estimator file (.skops)", f"{path}, which is not one", _REMEDY)


def _load(io: Any, path: Path) -> Any:
    try:
        unknown = [name for name in io.get_untrusted_types(file=path) if name not in _HARMLESS]
        if unknown:
            raise InputError(
                "an estimator file with trusted types only",
                f"{path} with {', '.join(sorted(unknown)[:3])}",
                "Use an estimator made of scikit-learn's own parts.",
            )
        return io.load(path, trusted=list(_HARMLESS))
    except InputError:
        raise
    except (*UNREADABLE, ImportError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError("an estimator file (.skops) that can be read", f"{path} ({reason})", _REMEDY) from None
