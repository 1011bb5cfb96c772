"""The command line. Parsing needs the standard library only; the rest is imported when it is used."""

from .main import main

__all__ = ["main"]
