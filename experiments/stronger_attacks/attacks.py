"""Figures 3 and 4, Tables 1 and 2 of Koh et al.: every attack on Enron or IMDB, and error against time.

    python experiments/stronger_attacks/attacks.py --out DIR [--data imdb --attacks min-max]

writes ``table.md`` (errors behind each defence, seconds, seconds to 17 % behind L2, the paper's
figures beside them), ``data.md`` (Table 1), ``figure3.png`` and ``figure4.png``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report import bars, curves, number, percent, write
from runs import Case, Outcome, arguments, attack_of, case_of, defender_of, measure, small

from linpoison.attacks import LabelFlipDecoys
from linpoison.attacks.minmax_paper import PaperLoop

ATTACKS = (
    "random-flips,alfa,influence,kkt,min-max,min-max-basic,refined,"
    "influence:paper,kkt:paper,min-max:paper,min-max-basic:paper"
)
PAPER = {
    "enron1": {"influence": 0.183, "kkt": 0.225, "min-max": 0.237, "min-max-basic": 0.100},
    "imdb": {"kkt": 0.29, "min-max": 0.29},
}
"""Worst of five defences at 3 %. For IMDB the paper's text has one figure for both attacks."""
IMDB_GRID = LabelFlipDecoys((0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (1, 2, 3, 4, 5), many_entries=10**9)
"""The paper's decoys for IMDB: 6 shares of the flipped rows, 5 numbers of copies (appendix B.2)."""
FEW_STEPS: dict[str, dict[str, dict[str, Any]]] = {
    "imdb": {
        "kkt": {"decoys": IMDB_GRID, "generations": 1, "refits": 1, "draws": 1},
        "kkt:paper": {"decoys": IMDB_GRID},
        "min-max": {"decoys": IMDB_GRID, "generations": 0, "tries": 4},
        "min-max:paper": {"decoys": IMDB_GRID, "tries": 2, "paper": PaperLoop(burn_in=0.02)},
    }
}
"""Options for data of which one step takes a minute; the burn-in on IMDB is that of the authors' program."""
PAPER_SECONDS = {"influence": 17_000.0, "kkt": 27.0, "min-max": 1_700.0}
"""Table 2: seconds to 17 % on Enron."""
PAPER_CLEAN = {"enron1": 0.029, "imdb": 0.119, "mnist17": 0.007}


def table(case: Case, outcomes: Sequence[Outcome], out: Path) -> str:
    """Errors and times beside the paper's."""
    paper = PAPER.get(case.name, {})
    times = PAPER_SECONDS if case.name == "enron1" else {}
    names = list(case.defenses)
    header = ["attack", *names, "worst", "paper", "seconds", "seconds to 17 % (l2)", "paper seconds", "kept by loss"]
    rows = [
        [item.attack, *(percent(item.scored[name]) for name in names), percent(item.worst),
         percent(paper.get(attack_of(item.attack))), number(item.seconds), number(item.seconds_to(0.17, "l2")),
         number(times.get(attack_of(item.attack))), percent(item.kept["loss"])]
        for item in outcomes
    ]  # fmt: skip
    return write(out, "table", header, rows)


def dashed(case: Case, outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The paper's figures by attack, beside both versions."""
    paper = PAPER.get(case.name, {})
    return {item.attack: paper[attack_of(item.attack)] for item in outcomes if attack_of(item.attack) in paper}


def data_table(case: Case, out: Path) -> str:
    """Table 1: size and clean error."""
    scores = defender_of(case).score(None, {"test": case.split.test}, [])
    train, test = case.split.train, case.split.test
    row = [case.name, str(train.n), str(test.n), str(train.d), percent(scores.error["test"]["none"])]
    header = ["data", "n", "n test", "d", "clean error", "paper"]
    return write(out, "data", header, [[*row, percent(PAPER_CLEAN.get(case.name))]])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = arguments(__doc__, attacks=ATTACKS)
    parser.add_argument("--domain", metavar="KIND", help="what a poison row may hold, such as counts:inf for breakdown")
    given = parser.parse_args(argv)
    case = case_of(given.data, given.quick, domain=given.domain)
    few = FEW_STEPS.get(case.name, {})
    chosen = {name: small(name, given.quick, **few.get(name, {})) for name in given.attacks.split(",")}
    print(data_table(case, given.out), end="")
    outcomes = [
        measure(case, name, attack, given.out, seed=given.seed, jobs=given.jobs)[0] for name, attack in chosen.items()
    ]
    print(table(case, outcomes, given.out), end="")
    bars(given.out / "figure3.png", {item.attack: item.scored for item in outcomes}, dashed(case, outcomes),
         "Error behind each defence. Dashed: worst of five in Koh et al.")  # fmt: skip
    lines = {item.attack: item.timeline.get("l2", []) for item in outcomes}
    curves(given.out / "figure4.png", lines, "Best error so far, L2 defence", "seconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
