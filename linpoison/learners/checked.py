"""scikit-learn's own checks of rows and labels, in the exceptions of this library."""

from __future__ import annotations

from typing import Any

from ..core.errors import InputError
from ..core.validation import check_unmasked


class Refused(InputError):
    """What scikit-learn says of rows and labels, word for word, and on one line unless it is a list of names."""

    def __init__(self, message: str) -> None:
        super().__init__("rows and labels that scikit-learn takes", message)
        self.args = (message if message.startswith("The feature names") else " ".join(message.split()),)

    def __reduce__(self) -> Any:
        return type(self), self.args


class RefusedType(Refused, TypeError):
    """The same, of values that are no numbers."""


def validate_data(estimator: Any, *rows: Any, **options: Any) -> Any:
    """`sklearn.utils.validation.validate_data`.

    Raises
    ------
    InputError
        With the words of scikit-learn; it is a `TypeError` where that is one.
    """
    from sklearn.utils import validation

    for given in rows:
        check_unmasked(given, "rows and labels")
    with translated():
        return validation.validate_data(estimator, *rows, **options)


class translated:  # noqa: N801
    """A context in which complaints of scikit-learn become `Refused`."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from sklearn.exceptions import NotFittedError

        if isinstance(error, (InputError, NotFittedError)):
            return
        if isinstance(error, TypeError):
            raise RefusedType(str(error)) from None
        if isinstance(error, (ValueError, AttributeError, IndexError, OverflowError)):
            raise Refused(str(error)) from None
