"""The optimality condition of a given model under poison: what the poison must supply, and how nearly it can."""

from .nearest_point import NearestPoint
from .stationarity import VANISHING, KKTSolution, Stationarity

__all__ = ["VANISHING", "KKTSolution", "NearestPoint", "Stationarity"]
