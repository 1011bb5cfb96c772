"""Files of what a mistake costs, by true and predicted label."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .archives import check_file
from .errors import InputError
from .validation import as_number, check_number, check_once

_WHAT = "costs by true and predicted label in a .toml, .json or .csv file"
_REMEDY = "Such as [fraud] and below it ham = 10: what it costs to take fraud for ham. Right answers cost nothing."


def read_costs(path: str, labels: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """The costs of these labels in units of the greatest, a row for each true label.

    A table for each true label holds a cost for each label that it may be taken for; a .csv file has the predicted
    labels in its first line, behind one cell, and the true label first in each other line.

    Raises
    ------
    InputError
        Unless every mistake has a cost of at least 0, one of them above 0, and right answers none.
    """
    tables = _tables(check_file(path, _WHAT, _REMEDY))
    unknown = ({*tables} | {key for table in tables.values() for key in table}) - {*labels}
    if unknown:
        raise InputError(f"costs of the labels {', '.join(labels)}", repr(min(unknown)), _REMEDY)
    costs = [[_cost(tables, true, said) for said in labels] for true in labels]
    greatest = max(map(max, costs))
    if greatest <= 0:
        raise InputError("a cost above 0", f"none in {path}", _REMEDY)
    return tuple(tuple(cost / greatest for cost in row) for row in costs)


def _cost(tables: Mapping[str, Mapping[str, Any]], true: str, said: str) -> float:
    given = tables.get(true, {}).get(said)
    what = f"the cost of taking {true} for {said}"
    if true == said and given is None:
        return 0.0
    if given is None:
        raise InputError(what, "none", _REMEDY)
    return check_number(given, what, at_least=0, at_most=0 if true == said else None, remedy=_REMEDY)


def _tables(file: Path) -> dict[str, dict[str, Any]]:
    readers: dict[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": _of_json, ".csv": _of_lines}
    if file.suffix not in readers:
        raise InputError(_WHAT, repr(file.name), _REMEDY)
    try:
        tables = readers[file.suffix](file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise InputError(_WHAT, f"{file.name} ({error})", _REMEDY) from None
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise InputError(_WHAT, f"{file.name} without a table for each label", _REMEDY)
    return tables


def _of_lines(text: str) -> dict[str, dict[str, Any]]:
    header, *lines = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row] or [[]]
    costs = [(line[0], [(said, as_number(cost)) for said, cost in zip(header[1:], line[1:], strict=True)])
             for line in lines]  # fmt: skip
    return _each_once([(true, _each_once(row)) for true, row in costs])


def _of_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_each_once)


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A table that names no label twice, as TOML has it anyway."""
    check_once([name for name, _ in pairs], "labels in a file of costs")
    return dict(pairs)
