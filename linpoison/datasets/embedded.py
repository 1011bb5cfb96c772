"""Real data that come with scikit-learn, so that a first audit needs no files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Array, Dataset, Domain, Split
from .scaling import standardize


def breast_cancer() -> Split:
    """Wisconsin breast cancer: 398 training and 171 test rows of 30 features, malignant = +1.

    Features are standardised with the training statistics and divided by sqrt(30). The split is
    stratified, 70 to 30, and fixed.

    Examples
    --------
    >>> split = breast_cancer()
    >>> split.train.X.shape, split.test.n, split.train.domain.kind
    ((398, 30), 171, 'real')
    """
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    bunch = load_breast_cancer()
    y = np.where(bunch.target == 0, 1.0, -1.0)  # scikit-learn writes 0 for malignant
    parts = train_test_split(bunch.data, y, test_size=0.3, stratify=y, random_state=0)
    train, test = standardize(parts[0], parts[1], divide_by_root_d=True)
    names = tuple(str(name) for name in bunch.feature_names)
    return Split(
        Dataset(train, parts[2], name="breast_cancer", feature_names=names),
        Dataset(test, parts[3], name="breast_cancer", feature_names=names),
    )


def digits17() -> Split:
    """Handwritten 8 x 8 digits 1 (+1) and 7 (-1) with pixels in [0, 1]: 252 training and 109 test rows.

    The split is stratified, 70 to 30, and fixed.

    Examples
    --------
    >>> split = digits17()
    >>> split.train.X.shape, split.test.n, split.train.domain.kind
    ((252, 64), 109, 'box')
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    rows = np.isin(bunch.target, (1, 7))
    return _pictures(bunch.data[rows] / 16.0, np.where(bunch.target[rows] == 1, 1.0, -1.0), "digits17")


def digits() -> Split:
    """Handwritten 8 x 8 digits of ten classes with pixels in [0, 1]: 1257 training and 540 test rows.

    The split is stratified, 70 to 30, and fixed.

    Examples
    --------
    >>> split = digits()
    >>> split.train.X.shape, split.test.n, split.train.k
    ((1257, 64), 540, 10)
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return _pictures(bunch.data / 16.0, bunch.target, "digits", n_classes=10)


def _pictures(X: Array, y: Array, name: str, **more: Any) -> Split:
    from sklearn.model_selection import train_test_split

    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    more |= {"domain": Domain.box(0.0, 1.0, d=X.shape[1]), "name": name, "image_shape": (8, 8)}
    return Split(Dataset(X_train, y_train, **more), Dataset(X_test, y_test, **more))
