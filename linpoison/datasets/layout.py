"""How a user's table is laid out: header line, label, row numbers and weights. Nothing is guessed in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError

LABEL_NAMES = (("label", "labels", "target", "class"), ("y",))
"""Names of label columns, those of the first group before those of the second."""
HEADERS = ("first", "none")
NO_COLUMN = "none"
_ROW_NAMES = ("id", "idx", "index", "row", "row_id", "rowid", "row_number", "rownames", "level_0", "__index_level_0__")
_ENOUGH = 20  # rows from which a column that counts them up is no accident
_MARKS = "It is 0 in all rows but the trusted ones, and the same number in these."


@dataclass(frozen=True)
class Layout:
    """What the user says of a table.

    Parameters
    ----------
    label : str, optional
        The label column. By default the only column called label, target or class, else the one called y, else
        the last column, if no other has two values as well.
    header : {"first", "none"}, optional
        Whether the first line names the columns. By default it does, and is refused where it looks like data.
    index : str, optional
        A column of row numbers or names (or several between commas) that is no feature; "none" if there is none.
    weight : str, optional
        The column of sample weights (for ``.npz`` the array), which is no feature.
    trusted : str, optional
        The column (for ``.npz`` the array) that is 0 in all rows but those known to be clean, which is no feature.
    """

    label: str | None = None
    header: str | None = None
    index: str | None = None
    weight: str | None = None
    trusted: str | None = None

    def __post_init__(self) -> None:
        if self.header is not None and not (isinstance(self.header, str) and self.header in HEADERS):
            raise InputError("header as 'first' or 'none'", repr(self.header))
        for name in ("label", "index", "weight", "trusted"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InputError(f"the name of the {name} column as text", repr(value))

    def given(self) -> dict[str, str]:
        """What was said, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


def check_names(header: Sequence[str], first: Sequence[str], layout: Layout, name: str) -> None:
    """Raise unless the fields of a first line can be the names of columns.

    Parameters
    ----------
    header, first : sequence of str
        The first line and the one behind it.
    name : str
        Of the file.
    """
    if header and len(first) > len(header):
        raise InputError(f"lines of equal length in {name}", "a row longer than the header", ONE_LINE)
    if layout.header == "none":
        return
    blank = [number for number, field in enumerate(header) if not field.strip()]
    if blank and layout.index is None:
        raise InputError(
            f"a name for every column of {name}",
            f"no name for column {blank[0] + 1}",
            f"If it is a row number, write the table without it (pandas: index=False), or pass index='Unnamed: "
            f"{blank[0]}' (--index).",
        )
    doubled = sorted({field for field in header if header.count(field) > 1})
    numbers = [field for field in header if _is_number(field)]
    if layout.header is None and numbers and (doubled or not _counts_up(header)):
        raise InputError(
            f"a header line in {name}",
            f"a first line {'of' if len(numbers) == len(header) else 'with'} numbers ({numbers[0]})",
            "If the table has no header, pass header='none' (--header none); if these are names, header='first'.",
        )
    if doubled:
        raise InputError(
            f"different column names in {name}", f"{doubled[0]!r} more than once",
            "Rename one of them, or pass header='none' (--header none) if the table has no header.",
        )  # fmt: skip


def check_header_is_no_row(frame: Any, layout: Layout, name: str) -> None:
    """Raise if every column holds its own name among its values: the header is a row of text, most likely."""
    if layout.header is not None or len(frame) < 2:
        return
    if all(is_text(frame[column]) and (frame[column] == column).any() for column in frame):
        raise InputError(
            f"a header line in {name}",
            "a first line whose words are values of their columns",
            "If the table has no header, pass header='none' (--header none); if these are names, header='first'.",
        )


ONE_LINE = "Write one header line, then one line for each row, with the same number of fields in each."


def index_columns(frame: Any, layout: Layout, name: str, label: Any) -> list[Any]:
    """The columns that number or name the rows, as the user says; a column that looks like one is asked about."""
    if layout.index == NO_COLUMN:
        return []
    if layout.index is not None:
        words = [layout.index] if layout.index in frame.columns else [w.strip() for w in layout.index.split(",")]
        return [_existing(frame, word, "an index column", name) for word in words]
    for column in frame.columns:
        if column == label or column in (layout.weight, layout.trusted):
            continue
        unnamed = str(column).startswith("Unnamed: ") or not str(column).strip()
        called = str(column).strip().lower() in _ROW_NAMES
        if unnamed or _numbers_rows(frame[column], any_order=called):
            what = "without a name" if unnamed else "of numbers of rows" if called else "that counts the rows"
            raise InputError(
                f"feature columns in {name}",
                f"the column {column!r} {what}",
                f"If it is a row number, pass index={str(column)!r} (--index) or write the table without it (pandas: "
                "index=False); if it is a feature, index='none'.",
            )
    return []


def label_column(frame: Any, layout: Layout, name: str, *, raw: bool = False) -> Any:
    """The label column: the one that was named, or the only one that bears such a name, or the last.

    The last one is taken only if it is the only column of two values, or the only one of text where no feature may be
    text.

    Parameters
    ----------
    name : str
        Of the file.
    raw : bool, default False
        Whether features may be text, for an estimator's own preprocessing.
    """
    if layout.label is not None:
        return _existing(frame, layout.label, "a label column", name)
    others = {layout.weight, layout.trusted, *(layout.index or "").split(",")}
    columns = [column for column in frame.columns if str(column) not in others]
    for words in LABEL_NAMES:
        found = [column for column in columns if str(column).strip().lower() in words]
        if len(found) > 1:
            raise _several(found, name, "with a name of a label")
        if found:
            return found[0]
    two = [column for column in columns if _has_two_values(frame[column])]
    if len(two) > 1 and columns[-1] in two and (raw or [columns[-1]] != [c for c in columns if is_text(frame[c])]):
        raise _several(two, name, "of two values, and none called label")
    return columns[-1] if columns else None


def _several(found: Sequence[Any], name: str, what: str) -> InputError:
    shown = ", ".join(repr(column) for column in found[:5]) + (", ..." if len(found) > 5 else "")
    return InputError(f"one label column in {name}", f"{len(found)} columns {what} ({shown})",
                      f"Name it: label={str(found[-1])!r} (--label).")  # fmt: skip


def _existing(frame: Any, word: str, what: str, name: str) -> Any:
    for column in frame.columns:
        if str(column) == word:
            return column
    shown = ", ".join(map(str, frame.columns[:10])) + (", ..." if len(frame.columns) > 10 else "")
    raise InputError(f"{what} {word!r} in {name}", f"the columns {shown}")


def weight_column(frame: Any, layout: Layout, name: str) -> Any:
    """The column of sample weights, if one was named."""
    return None if layout.weight is None else _existing(frame, layout.weight, "a weight column", name)


def trusted_column(frame: Any, layout: Layout, name: str) -> Any:
    """The column that marks trusted rows, if one was named."""
    return None if layout.trusted is None else _existing(frame, layout.trusted, "a column of trusted rows", name)


def marked_in_column(frame: Any, layout: Layout, name: str) -> NDArray[np.intp]:
    """Places of the rows of a table that its column of trusted rows marks."""
    marks = frame[trusted_column(frame, layout, name)]
    where = f"column {layout.trusted!r} of {name}"
    try:
        values = marks.to_numpy(dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"a number for each row in {where}", f"values of {marks.dtype}", _MARKS) from None
    return marked(values, where)


def marked(marks: NDArray[Any], where: str) -> NDArray[np.intp]:
    """Places that are not 0; a gap is neither, and a column of several other numbers was not made to mark rows."""
    if marks.ndim != 1 or marks.dtype.kind not in "biuf":
        raise InputError(f"a number for each row in {where}", f"{marks.dtype} {marks.shape}", _MARKS)
    if np.isnan(marks).any():
        raise InputError(f"a number for each row in {where}", "NaN or an empty field", _MARKS)
    numbers = np.unique(marks[marks != 0])
    if numbers.size > 1:
        shown = ", ".join(f"{number:g}" for number in numbers[:3])
        raise InputError(f"0 and one other number in {where}", f"{numbers.size} others ({shown}, ...)", _MARKS)
    return np.flatnonzero(marks)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _counts_up(header: Sequence[str]) -> bool:
    """Whether the numbers among names are those of the columns, as pandas writes a table without names."""
    return any(
        all(not _is_number(field) or field == str(number + start) for number, field in enumerate(header))
        for start in (0, 1)
    )


def _numbers_rows(column: Any, *, any_order: bool) -> bool:
    """Whether a column counts the rows from 0 or 1, or (in `any_order`) gives each a whole number of its own."""
    from pandas.api.types import is_integer_dtype

    if len(column) < _ENOUGH or not is_integer_dtype(column.dtype) or column.isna().any():
        return False
    if any_order:
        return bool(column.is_unique)
    values = column.to_numpy(dtype=np.int64)
    return bool(values[0] in (0, 1) and (np.diff(values) == 1).all())


def is_text(column: Any) -> bool:
    from pandas.api.types import is_numeric_dtype

    return not is_numeric_dtype(column.dtype)


def _has_two_values(column: Any) -> bool:
    return int(column.iloc[:1000].nunique(dropna=True)) <= 2 == int(column.nunique(dropna=True))
