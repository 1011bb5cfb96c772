"""Certificates as files: written with hashes of the data, read only as far as the data justify."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.archives import arrays_writer, check_file, read_arrays
from ..core.dataset import Dataset
from ..core.errors import CertificateInvalid, InputError, LinpoisonError
from ..core.validation import Array
from ..core.writing import text_writer, write_all
from ..losses import Problem, make_loss
from ..sets import pack_sets, sets_digest, unpack_sets
from .claim import Claim

FORMAT = 2
"""Of the files: 1 had hashes of 16 digits."""
_TEXT = 1 << 26
"""Bytes of the JSON half at most."""
_ROOM = 64
"""Numbers that each array may hold for each pair of a row (clean or bounded) and a feature or bounded row."""


def write_fields(
    path: Any,
    summary: Mapping[str, Any],
    *,
    claim: Claim,
    bound: float | Array,
    exact: Any,
    witness: Mapping[str, Array],
    info: Mapping[str, Any],
) -> None:
    """Write both halves of a certificate, whole or not at all: its summary and fields."""
    base = _base(path)
    specification, arrays = pack_sets(claim.sets)
    document = {
        "format": FORMAT,
        **summary,
        "bound": {"array": "bound"} if np.ndim(bound) else plain(bound),
        **_document(claim, specification),
        "info": info,
    }
    stored: dict[str, Any] = {
        **arrays,
        **{f"witness.{name}": value for name, value in witness.items()},
        "bound": np.asarray(bound),
        "exact": np.asarray(exact),
    }
    text = json.dumps(document, indent=2, default=plain) + "\n"
    write_all(base.parent, {f"{base.name}.npz": arrays_writer(stored), f"{base.name}.json": text_writer(text)})


def _document(claim: Claim, specification: dict[str, Any]) -> dict[str, Any]:
    problem = claim.problem
    return {
        "problem": {
            "loss": {"name": problem.loss.name, **problem.loss.parameters},
            "reg": problem.reg,
            "penalize_intercept": problem.penalize_intercept,
            "fit_intercept": problem.fit_intercept,
            "scaling": problem.scaling,
            "n_reference": problem.n_reference,
        },
        "sets": specification,
        "digests": {
            "train": claim.train.digest(),
            "rows": None if claim.rows is None else claim.rows.digest(),
            "sets": sets_digest(claim.sets),
        },
    }


def read_fields(path: Any, train: Dataset, rows: Dataset | None = None) -> dict[str, Any]:
    """The fields of the certificate that `write_fields` wrote, see `Certificate.load`."""
    base = _base(path)
    document = _read_document(base)
    stored = _read_arrays(base, train, rows)
    try:
        return _fields(document, stored, train, rows)
    except LinpoisonError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        reason = f"files without what it needs ({type(error).__name__}: {error})"
        raise InputError(f"a certificate in {base}.json and {base}.npz", reason) from None


def _fields(document: dict[str, Any], stored: dict[str, Array], train: Dataset, rows: Dataset | None) -> dict[str, Any]:
    _check_data("train", document["digests"]["train"], train)
    _check_data("rows", document["digests"]["rows"], rows)
    sets = unpack_sets(document["sets"], stored)
    if sets_digest(sets) != document["digests"]["sets"]:
        raise CertificateInvalid(f"expected sets of hash {document['digests']['sets']}, got {sets_digest(sets)}.")
    spec = dict(document["problem"])
    loss = dict(spec.pop("loss"))
    problem = Problem(make_loss(loss.pop("name"), **loss), **spec)
    bound, exact = (_of_rows(name, stored[name], rows) for name in ("bound", "exact"))
    words = {"array": "bound"} if bound.ndim else plain(float(bound))
    if document["bound"] != words:
        raise CertificateInvalid(f"expected one bound in both files, got {document['bound']} beside {words}.")
    return {
        "name": document["name"],
        "kind": document["kind"],
        "claim": Claim(train, problem, sets, document["epsilon"], rows),
        "bound": bound if bound.ndim else float(bound),
        "exact": exact if exact.ndim else bool(exact),
        "assumptions": tuple(document["assumptions"]),
        "witness": {name[8:]: value for name, value in stored.items() if name.startswith("witness.")},
        "seconds": document["seconds"],
        "info": document["info"],
    }


def _of_rows(name: str, values: Array, rows: Dataset | None) -> Array:
    """One number, or one for each row of the claim."""
    if values.shape not in ((), (0 if rows is None else rows.n,)):
        count = 0 if rows is None else rows.n
        raise InputError(f"one {name}, or one for each of {count} rows", f"an array of shape {values.shape}")
    return values


def _check_data(what: str, expected: Any, data: Dataset | None) -> None:
    """That data have the hash that a file says; only rows may be absent, from both."""
    if expected is None and data is None and what == "rows":
        return
    if data is None:
        raise InputError(f"the data {what!r} that the certificate speaks of", "none")
    if data.digest() != expected:
        raise CertificateInvalid(f"expected data {what!r} of hash {expected}, got {data.digest()}.")


def _read_document(base: Path) -> dict[str, Any]:
    file = check_file(f"{base}.json", "the statement of a certificate")
    if file.stat().st_size > _TEXT:
        raise InputError(f"a certificate in {file} of at most {_TEXT >> 20} MiB", f"{file.stat().st_size} bytes")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"a certificate in {base}.json and {base}.npz", str(error)) from None
    if not isinstance(document, dict):
        raise InputError(f"a certificate in {base}.json", f"a {type(document).__name__}")
    if document.get("format") != FORMAT:
        raise InputError(
            f"a certificate of format {FORMAT}",
            repr(document.get("format"))[:40],
            "Make it again with this version: its hashes are too short to be believed."
            if document.get("format") == 1
            else "",
        )
    return document


def _read_arrays(base: Path, train: Dataset, rows: Dataset | None) -> dict[str, Array]:
    return read_arrays(
        f"{base}.npz", "the arrays of a certificate", largest=_largest(train, rows),
        remedy="A claim about these rows needs no more.",
    )  # fmt: skip


def _largest(train: Dataset, rows: Dataset | None) -> int:
    """Numbers that no array of a certificate about such data holds more of."""
    bounded = 0 if rows is None else rows.n
    return _ROOM * (train.n + bounded + 64) * (train.d + bounded + 64)


def _base(path: Any) -> Path:
    base = Path(path)
    return base.with_suffix("") if base.suffix in (".json", ".npz") else base


def plain(value: Any) -> Any:
    """Arrays and numbers as JSON has them: infinities as text, NaN as null."""
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
