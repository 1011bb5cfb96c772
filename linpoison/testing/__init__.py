"""Contracts: what every attack keeps, as functions to run on one of your own."""

from .attacks import check_attack

__all__ = ["check_attack"]
