"""Figure 5 of Koh et al.: feasible sets refitted with the poison in, against sets of the clean rows.

    python experiments/stronger_attacks/iterative.py --out DIR [--data mnist17 --epsilon 0.3 --attacks influence]

writes ``table.md``, ``table.csv`` and ``figure5.png``. The options in brackets give the paper's
illustration of section 5.4: a budget that turns the direction between the classes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from report import bars, number, percent, write
from runs import DEFENSES, arguments, case_of, clean_errors, measure, small

from linpoison.attacks import Attack
from linpoison.attacks.iterative import Iterative
from linpoison.core import worst_case

ATTACKS = "influence,kkt"
FIXED: dict[str, dict[str, Any]] = {
    "influence": {"refit": False},
    "kkt": {"generations": 0},
    "min-max": {"generations": 0},
}
"""Options that leave an attack with the sets of the clean rows; all attacks that this script knows."""
ROUNDS = {False: 3, True: 1}
"""Most repetitions, by `quick`."""
PAPER = {
    ("enron1", 0.03): {"influence, fixed": "18.3 %", "influence, iterative": "a few points more"},
    ("mnist17", 0.3): {"influence, fixed": "clean + 1.1 %", "influence, iterative": "clean + 7.5 %"},
}
PAPER_BARS = {("enron1", 0.03): {"influence, fixed": 0.183}}


def variants(quick: bool, names: Sequence[str]) -> dict[str, Attack]:
    """Both versions of each attack. The influence attack reads its sets again itself, the others are repeated."""
    found: dict[str, Attack] = {}
    for name in names:
        fixed = small(name, quick, **FIXED[name])
        found[f"{name}, fixed"] = fixed
        found[f"{name}, iterative"] = small(name, quick) if name == "influence" else Iterative(fixed, ROUNDS[quick])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = arguments(__doc__, attacks=ATTACKS)
    parser.add_argument("--epsilon", type=float, default=0.03, metavar="E", help="budget (default: 0.03)")
    given = parser.parse_args(argv)
    case = case_of(given.data, given.quick, epsilon=given.epsilon)
    clean = clean_errors(case)
    outcomes = [
        measure(case, name, attack, given.out, seed=given.seed, jobs=given.jobs)[0]
        for name, attack in variants(given.quick, given.attacks.split(",")).items()
    ]
    paper = PAPER.get((case.name, case.epsilon), {})
    rows = [["no poison", *(percent(clean[name]) for name in DEFENSES), percent(worst_case(clean)), "-", "-"]]
    rows += [
        [item.attack, *(percent(item.scored[name]) for name in DEFENSES), percent(item.worst),
         paper.get(item.attack, "-"), number(item.seconds)]
        for item in outcomes
    ]  # fmt: skip
    print(write(given.out, "table", ["attack", *DEFENSES, "worst", "paper", "seconds"], rows), end="")
    dashed = PAPER_BARS.get((case.name, case.epsilon), {})
    title = f"Sets of clean rows (fixed) and with the poison in (iterative), budget {100 * case.epsilon:g} %"
    bars(given.out / "figure5.png", {item.attack: item.scored for item in outcomes}, dashed, title)
    return 0


if __name__ == "__main__":
    sys.exit(main())
