"""A learner as another package would write it."""

import numpy as np

from linpoison.core import LinearModel
from linpoison.learners import Learner
from linpoison.losses import Logistic, Problem


class Descent(Learner):
    """Logistic regression by steps down the gradient, as long as they are needed."""

    def __init__(self, problem=None):
        super().__init__(Problem(Logistic(), 0.05, penalize_intercept=False) if problem is None else problem)

    def _fit(self, data, start):
        vector = np.zeros(data.d + 1) if start is None else start.vector
        lengths = np.asarray((data.X**2).sum(axis=1)).ravel() + 1
        step = 1 / (0.25 * data.weight @ lengths / data.total + self.problem.reg)
        for _ in range(5000):
            gradient = self.problem.gradient(LinearModel.from_vector(vector), data)
            if np.linalg.norm(gradient) < 1e-6:
                break
            vector = vector - step * gradient
        return LinearModel.from_vector(vector)
