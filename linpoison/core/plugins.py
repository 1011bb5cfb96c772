"""Defences, attacks and the like of someone else: handed over as objects, or found by name in other packages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .errors import InputError

_SAFE = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)


class Named(str):
    """A name in reports, files and tables that brings the object it stands for."""

    thing: Any

    def __new__(cls, name: str, thing: Any) -> Named:
        made = super().__new__(cls, name)
        made.thing = thing
        return made

    def __reduce__(self) -> tuple[type[Named], tuple[str, Any]]:
        return Named, (str(self), self.thing)


def offered(group: str, name: str) -> Any:
    """What another package registers under the entry points ``linpoison.<group>`` as `name`; None if none does.

    Only the package that is asked for is imported.

    Raises
    ------
    InputError
        If two packages do, or if what is registered cannot be imported.
    """
    found = _entries(group, name)
    if not found:
        return None
    if len(found) > 1:
        makers = " and ".join(sorted(_maker(entry) for entry in found))
        raise InputError(f"one package that registers {name!r} under linpoison.{group}", makers, "Uninstall one.")
    try:
        return found[0].load()
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{name!r} of {_maker(found[0])} as an object to import", reason) from error


def find(group: str, name: str, known: Mapping[str, Any], what: str) -> Any:
    """What stands behind a name: what it brings, one of the library's own, or what another package registers.

    Parameters
    ----------
    group : str
        Of the entry points ``linpoison.<group>``.
    known : mapping of str to object
        The library's own.
    what : str
        What errors call them.

    Raises
    ------
    InputError
        If nothing stands behind it.

    Examples
    --------
    >>> find("losses", "two", {"two": 2}, "a number")
    2
    """
    if isinstance(name, Named):
        return name.thing
    found = known.get(name) if isinstance(name, str) else None
    if found is None and isinstance(name, str):
        found = offered(group, name)
    if found is None:
        raise InputError(f"{what} among {', '.join(known)}, or of an entry point linpoison.{group}", repr(name))
    return found


def named(things: Iterable[Any] | Mapping[str, Any], what: str, name_of: Callable[[Any], str]) -> tuple[str, ...]:
    """Names as they are, and objects under distinct names that are safe in the name of a file.

    Parameters
    ----------
    things : iterable or mapping of str to object
        Names, and objects among them; a mapping says the names of its objects, and None stands for no object.
    what : str
        What errors call them, in the plural.
    name_of : callable
        The name of an object; where it is taken, a number is added.

    Raises
    ------
    InputError
        For a name that is not safe, or an object that cannot be pickled, as worker processes need it.

    Examples
    --------
    >>> named(["l2", 3, 4], "numbers", lambda number: "number")
    ('l2', 'number', 'number-2')
    """
    if isinstance(things, Mapping):
        pairs = [(_checked(name, what), thing) for name, thing in things.items()]
        return tuple(name if thing is None else _brought(name, thing, what) for name, thing in pairs)
    items = list(things)
    taken = {str(item) for item in items if isinstance(item, str)}
    names = []
    for item in items:
        name = item
        if not isinstance(item, str):
            name = _brought(_free(_checked(name_of(item), what), taken), item, what)
            taken.add(str(name))
        names.append(name)
    return tuple(names)


def stated(group: str, name: str) -> str:
    """What results depend on where they depend on a name: for an object its class, its parameters and a hash of them.

    Examples
    --------
    >>> stated("defenses", "l2")
    'l2'
    """
    if isinstance(name, Named):
        from joblib import hash as digest

        told = " ".join(re.sub(r" at 0x\w+", "", repr(name.thing)).split())
        return f"{name}: {told[:200]} [{type(name.thing).__module__}, {digest(name.thing)[:12]}]"
    makers = [_maker(entry) for entry in _entries(group, name)]
    return f"{name} ({makers[0]})" if makers else str(name)


def _entries(group: str, name: str) -> list[Any]:
    from importlib.metadata import entry_points

    return list(entry_points(group=f"linpoison.{group}", name=name))


def _maker(entry: Any) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else str(entry.value)


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _checked(name: Any, what: str) -> str:
    if not isinstance(name, str) or not _SAFE.fullmatch(name) or name in ("none", "all"):
        remedy = "Letters, digits, '_', '-' and '.'; not 'none' or 'all'."
        raise InputError(f"names of {what} that are safe in the name of a file", repr(name), remedy)
    return name


def _brought(name: str, thing: Any, what: str) -> Named:
    from joblib import hash as digest

    try:
        digest(thing)
    except Exception as error:  # whatever its own pickling raises
        reason = " ".join(str(next(iter(error.args), error)).split())
        raise InputError(
            f"{what} that can be pickled, as worker processes need it", f"{name} ({reason})",
            "Define its class at the top of a module, and keep functions without a name and open files out of it.",
        ) from None  # fmt: skip
    return Named(name, thing)
