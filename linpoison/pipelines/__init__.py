"""Raw rows behind fixed steps: what the steps can make of them, and the way back."""

from .raw import RawRows, raw_rows
from .table import RawTable

__all__ = ["RawRows", "RawTable", "raw_rows"]
