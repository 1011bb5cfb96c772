"""Examples 1 to 3 and Figure 3.1 (left) of Lu's thesis, and the same map behind a defence, which the thesis has not.

    python experiments/theory/thresholds.py --out DIR

``examples.md``: what the thesis says, what the library computes, and what a search that knows no theory finds.

1. Least squares with real labels: any budget will do. One point, at the direction of the gradient and with the label
   that cancels it, is added with mass 0.1, 0.001 and 1e-6, and the distance of the retrained model from the target
   (the clean model turned around) is given, relative to its length. With labels -1 and 1 there is a threshold after
   all.
2. Margin losses: the constant ``sup_t t psi(t)``, for the logistic loss ``W(1/e)``, which the thesis rounds to 0.28;
   the search is a grid of 10^6 margins.
3. Cross-entropy of c classes: ``W((c - 1) / e)``; the search maximises over the scores from ten random starts. For
   two classes the threshold of a model must be the one of the logistic loss.

And what Theorem 4 leaves open: the free matrix of equation (3.11) cannot prove more than the trace where features lie
anywhere (`free_matrix` has the proof; the search finds suprema that grow with the scores), and the rank of the gradient
bounds the number of distinct poison rows (`few_rows`): it finds as many as a model was learned with.

``breakdown.md``: the budget for the clean model turned around, on breast cancer and digits 1 against 7: by the
thesis, which has no regulariser in it; with the regulariser (reg 0.1, mean scaling); and inside the balls of the L2
defence.

``figure31.png`` and ``figure31.md``: budgets over two planes of models. The OR set (four corners, 50 rows each,
deviation 0.03) under logistic regression with reg 0.001, targets ``(w1, w2, 1)``, ``w1, w2`` from -4 to -1.5, all of
which err on every row: with the offset's feature free as in the thesis, with the offset's feature 1, and behind the
L2 defence. And breast cancer under logistic regression with reg 0.1: multiples of the clean model across, shifts of
the intercept up, points anywhere and behind the L2 defence.

Expected: library and search agree to 1e-6. Thresholds with the regulariser are above those without, those behind a
defence above those without one, and the map of the thesis is nowhere above ours. No target of the OR set can be
reached behind the L2 defence with any budget, since its balls hold no point that pulls the right way. Half a minute;
``--quick`` takes coarse maps.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from phase_transition import or_rows
from scipy.optimize import minimize
from scipy.special import lambertw, log_softmax
from tables import canvas, options, write

from linpoison import Dataset, LinearModel, Problem, SolverFailed, load
from linpoison.certificates import min_budget
from linpoison.certificates.theory import reachability_threshold
from linpoison.datasets import gaussians
from linpoison.defenses import make_defense
from linpoison.learners import make_learner
from linpoison.losses import Logistic, MarginLoss, Squared, make_loss
from linpoison.risk import LBFGSTrainer, LinearRisk, Sample, least_residuals, reachability
from linpoison.sets import ByLabel

EXAMPLES = ("example", "quantity", "thesis", "library", "search")
BREAKDOWN = ("data", "loss", "without regulariser", "with regulariser", "behind the L2 defence", "attained")
FIGURE = ("plane", "points", "models", "reachable", "least", "median", "greatest", "exact")


class BudgetPlane(NamedTuple):
    """Budgets over a grid of models, shape (len(up), len(across)), and which of those inside are attained."""

    across: Any
    up: Any
    anywhere: Any
    inside: Any
    exact: Any


class Map(NamedTuple):
    """Budgets over a plane, and how to draw them."""

    name: str
    points: str
    values: Any
    exact: Any
    axes: tuple[Any, Any]
    names: tuple[str, str]


def balls(train: Dataset) -> ByLabel:
    """The sets of the L2 defence, fitted to the clean rows."""
    fitted = make_defense("l2").fit(train.X, train.y)
    return ByLabel({label: fitted.feasible_set(label) for label in (1, -1)})


def turned(problem: Problem, train: Dataset) -> LinearModel:
    """The clean model with its sign turned."""
    return LinearModel.from_vector(-make_learner(problem).fit(train).vector)


def examples() -> Iterator[list[str]]:
    """The lines of the first table."""
    train = gaussians(n=200, d=5, seed=0).train
    for epsilon in (0.1, 1e-3, 1e-6):
        yield ["1, least squares", f"distance at budget {epsilon:g}", "0", "-", f"{regression(train, epsilon):.1e}"]
    problem = Problem(Squared(), 1e-9, fit_intercept=False)
    needed = reachability_threshold(problem, turned(problem, train), train).epsilon
    yield ["1, least squares", "threshold, labels -1 and 1", "-", f"{needed:.6f}", "-"]
    words = {"logistic": "W(1/e) = 0.28", "hinge": "1"}
    for loss in (*map(make_loss, ("logistic", "hinge", "squared_hinge", "squared")), Exponential()):
        cells = [words.get(loss.name, "-"), f"{loss.reach:.6f}", f"{search_margin(loss):.6f}"]
        yield ["2, margin losses", f"constant, {loss.name}", *cells]
    for c in (2, 3, 10, 100):
        closed = float(lambertw((c - 1) / np.e).real)
        words = f"W({c - 1}/e) = {closed:.6f}"
        ours, searched = LinearRisk(c).reach, search_scores(c)
        yield ["3, cross-entropy", f"constant, {c} classes", words, f"{ours:.6f}", f"{searched:.6f}"]
    pair, single = two_ways(train)
    yield ["3, cross-entropy", "threshold, two classes", f"{single:.6f} (3.4)", f"{pair:.6f}", "-"]
    yield from free_matrix()
    yield from few_rows()


class Exponential(MarginLoss):
    """``exp(-m)``, which Corollary 1 names; no loss of the library, as it is beyond floating point at large losses."""

    name, lipschitz, smoothness = "exponential", np.inf, np.inf

    def value(self, m: Any) -> Any:
        return np.exp(-m)

    def derivative(self, m: Any) -> Any:
        return -np.exp(-m)

    def second_derivative(self, m: Any) -> Any:
        return np.exp(-m)

    def expression(self, m: Any) -> Any:
        import cvxpy as cp

        return cp.exp(-m)

    def margin_at_loss(self, value: float) -> float:
        return float(-np.log(value))

    def worst_pull(self, r: Any) -> Any:
        """``sup_t exp(-t) (t + r)``, at ``t = 1 - r``."""
        best = np.exp(r - 1.0)
        return best, best


def free_matrix(c: int = 4) -> Iterator[list[str]]:
    """Equation (3.11): what its free matrix can prove, where features lie anywhere.

    ``sup_(h, y) <A (e_y - p), h>`` bounds what poison supplies, so that A proves something only where it is finite.
    Along ``h = t v`` with one greatest entry k of v, p tends to ``e_k``, and it is finite only if
    ``<A (e_k - e_y), v> >= 0`` for all v of greatest entry k and all y. By Farkas ``A (e_k - e_y)`` is a non-negative
    combination of ``e_k - e_j``; with k and y exchanged, minus one of ``e_y - e_j``; so it is ``a (e_k - e_y)``, with
    one ``a >= 0`` for all pairs as these add up. Hence ``A = a I + u 1'``, whose second part vanishes on ``e_y - p``:
    with features anywhere, no A proves more than the trace, equation (3.6).
    """
    rng = np.random.default_rng(0)
    shifted = np.eye(c) + np.outer(rng.standard_normal(c), np.ones(c))
    closed = f"{float(lambertw((c - 1) / np.e).real):.6f}"
    yield ["3.11, free matrix", f"supremum, I + u 1', {c} classes", "-", closed, f"{search_matrix(shifted, 30.0):.6f}"]
    tilted = np.eye(c) + 0.05 * rng.standard_normal((c, c))
    for size in (10.0, 100.0, 1000.0):
        name = f"supremum for scores up to {size:g}, I + 0.05 normal"
        yield ["3.11, free matrix", name, "may tighten", "infinite", f"{search_matrix(tilted, size):.4g}"]


def search_matrix(A: Any, size: float) -> float:
    """``max <A (e_y - p(h)), h>`` over classes and scores in a box, by ascent from random starts."""
    c, rng, best = len(A), np.random.default_rng(1), -np.inf
    for y in range(c):

        def negative(h: Any, y: int = y) -> float:
            p = np.exp(log_softmax(h))
            return float((A @ p - A[:, y]) @ h)

        for _ in range(6):
            start = rng.uniform(-size, size, c)
            found = minimize(negative, start, bounds=[(-size, size)] * c, method="L-BFGS-B")
            best = max(best, -float(found.fun))
    return best


def few_rows() -> Iterator[list[str]]:
    """The rank of the gradient, after (3.10), of models that were learned with so many distinct rows of poison."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    data, risk, mass = Sample(X[:200] / 16, y[:200]), LinearRisk(10, 0.01), 0.3
    for count in (1, 2, 5):
        poison = Sample(data.X[:count], (data.y[:count] + 1) % 10, np.full(count, mass * data.n / count))
        w = LBFGSTrainer(1e-11).fit(risk, data.joined(poison, risk)).w
        rows = np.count_nonzero(least_residuals(risk, w, data, mass))
        yield ["3.10, support", f"least rows, learned with {count}", f"rank G1 <= {count}", str(rows), "-"]


def regression(train: Dataset, epsilon: float) -> float:
    """How far one real-labelled point of this mass leaves least squares from the target."""
    X, y = np.asarray(train.X), train.y
    moments, target = X.T @ X / train.n, -np.linalg.lstsq(X, y, rcond=None)[0]
    g = moments @ target - X.T @ y / train.n
    x = g / np.linalg.norm(g)
    label = x @ target + np.linalg.norm(g) / epsilon
    again = np.linalg.solve(moments + epsilon * np.outer(x, x), X.T @ y / train.n + epsilon * label * x)
    return float(np.linalg.norm(again - target) / np.linalg.norm(target))


def search_margin(loss: MarginLoss) -> float:
    """``sup_t t psi(t)`` on a grid, approaching the kink from below."""
    t = np.linspace(0.0, 10.0, 1_000_001)
    return float((t * loss.pull(t - 1e-9)).max())


def search_scores(c: int) -> float:
    """``sup_h <h, e_0 - softmax(h)>`` by ascent."""

    def negative(h: Any) -> float:
        return float(h @ np.exp(log_softmax(h)) - h[0])

    rng = np.random.default_rng(0)
    return max(-float(minimize(negative, rng.standard_normal(c)).fun) for _ in range(3 if c > 10 else 10))


def two_ways(train: Dataset) -> tuple[float, float]:
    """The threshold of one model by cross-entropy over two columns, and by the logistic loss."""
    problem = Problem(Logistic(), 1e-9, fit_intercept=False)
    model = LinearModel([0.3, -0.5, 0.2, -0.1, -0.4])
    w = np.append(-model.coef, model.coef) / 2
    found = reachability(LinearRisk(2, fit_intercept=False), w, Sample(train.X, (train.y > 0).astype(int)))
    return found.threshold, reachability_threshold(problem, model, train).epsilon


def breakdown(quick: bool) -> Iterator[list[str]]:
    """The lines of the second table."""
    for name in ("breast_cancer",) if quick else ("breast_cancer", "digits17"):
        train = load(name).train
        sets = balls(train)
        for loss in ("hinge", "squared_hinge", "logistic", "squared"):
            problem = Problem(make_loss(loss), 0.1)
            target = turned(problem, train)
            plain = reachability_threshold(Problem(problem.loss, 1e-9), target, train)
            found = reachability_threshold(problem, target, train)
            try:
                inside = min_budget(train, problem, sets, target)
                cells = [f"{float(inside.bound):.4f}", "yes" if inside.exact else "no"]
            except SolverFailed:
                cells = ["-", "-"]
            yield [name, loss, f"{plain.ratio:.4f}", f"{found.epsilon:.4f}", *cells]


def or_maps(size: int, seed: int) -> Iterator[Map]:
    """The planes of the OR set."""
    train, problem = or_rows(np.random.default_rng(seed)), Problem(Logistic(), 1e-3)
    steps, names = np.linspace(-4.0, -1.5, size), ("w1", "w2")
    models = [[LinearModel([a, b], 1.0) for a in steps] for b in steps]
    if min(model.error(train) for line in models for model in line) < 1:
        raise SystemExit("expected targets that err on every row.")
    free = np.array([[reachability_threshold(problem, model, train).ratio for model in line] for line in models])
    yield Map("OR", "anywhere, offset free", free, None, (steps, steps), names)
    plane = budget_plane(
        train, problem, balls(train), origin=LinearModel([0.0, 0.0], 1.0), first=[1, 0, 0], second=[0, 1, 0],
        across=steps, up=steps,
    )  # fmt: skip
    yield from _maps("OR", plane, names)


def cancer_maps(size: int) -> Iterator[Map]:
    """The planes of breast cancer."""
    train, problem = load("breast_cancer").train, Problem(Logistic(), 0.1)
    clean = make_learner(problem).fit(train)
    plane = budget_plane(
        train, problem, balls(train), origin=LinearModel(np.zeros(train.d)), first=clean.vector,
        second=np.eye(train.d + 1)[-1], across=np.linspace(-1, 1, size), up=np.linspace(-0.5, 0.5, size),
    )  # fmt: skip
    yield from _maps("breast cancer", plane, ("multiple of the clean model", "shift of the intercept"))


def budget_plane(
    train: Dataset,
    problem: Problem,
    sets: ByLabel,
    *,
    origin: LinearModel,
    first: Any,
    second: Any,
    across: Any,
    up: Any,
) -> BudgetPlane:
    """Budgets of the models ``origin + across[j] first + up[i] second``: with points anywhere, and in the sets."""
    plane = BudgetPlane(across, up, *(np.full((len(up), len(across)), np.nan) for _ in range(3)))
    for i, j in np.ndindex(plane.anywhere.shape):
        steps = across[j] * np.asarray(first) + up[i] * np.asarray(second)
        model = LinearModel.from_vector(origin.vector + steps)
        plane.anywhere[i, j] = reachability_threshold(problem, model, train).epsilon
        try:
            found = min_budget(train, problem, sets, model)
            plane.inside[i, j], plane.exact[i, j] = float(found.bound), bool(found.exact)
        except SolverFailed:  # what is known without a solver stands
            plane.exact[i, j] = False
    return plane._replace(inside=np.fmax(plane.inside, plane.anywhere * (1 - 1e-6)), exact=plane.exact > 0)


def _maps(name: str, plane: BudgetPlane, names: tuple[str, str]) -> Iterator[Map]:
    axes = (plane.across, plane.up)
    yield Map(name, "anywhere", plane.anywhere, None, axes, names)
    yield Map(name, "behind L2", plane.inside, plane.exact, axes, names)


def summary(item: Map) -> list[str]:
    """A line of the third table."""
    finite = np.isfinite(item.values)
    known = np.where(finite, item.values, np.inf).ravel()
    cells = [f"{value:.4g}" for value in (known.min(), float(np.quantile(known, 0.5, method="lower")), known.max())]
    exact = "-" if item.exact is None or not finite.any() else f"{100 * float(item.exact[finite].mean()):.0f} %"
    return [item.name, item.points, str(known.size), f"{100 * float(finite.mean()):.0f} %", *cells, exact]


def draw(path: Path, maps: Sequence[Map]) -> None:
    """Heat maps on one logarithmic scale each; white where no budget will do."""
    from matplotlib.colors import LogNorm

    shown = [item for item in maps if np.isfinite(item.values).any()]
    panels, save = canvas(path, len(shown), 3.4)
    for axes, item in zip(panels, shown, strict=True):
        same = [other.values[np.isfinite(other.values)] for other in shown if other.name == item.name]
        low, high = max(min(part.min() for part in same), 0.01), min(max(part.max() for part in same), 100.0)
        drawn = np.ma.masked_invalid(np.clip(item.values, low, None))
        mesh = axes.pcolormesh(*item.axes, drawn, norm=LogNorm(low, high), shading="nearest")
        axes.figure.colorbar(mesh, ax=axes, label="budget / clean rows")
        axes.set_title(f"{item.name}: {item.points}", fontsize="small")
        axes.set_xlabel(item.names[0])
        axes.set_ylabel(item.names[1])
    save()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    given = options(__doc__, quick="coarse maps, breast cancer only").parse_args(argv)
    write(given.out, "examples", EXAMPLES, list(examples()))
    write(given.out, "breakdown", BREAKDOWN, list(breakdown(given.quick)))
    size = 3 if given.quick else 17
    maps = [*or_maps(size, given.seed), *cancer_maps(size)]
    write(given.out, "figure31", FIGURE, [summary(item) for item in maps])
    draw(given.out / "figure31.png", maps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
