"""Figures 6 and 7 of Koh et al.: what the envelope, concentration and decoys are worth.

    python experiments/stronger_attacks/ablations.py --out DIR [--parts influence,min-max]

writes ``table.md``, ``table.csv``, ``figure6.png`` (influence attacks) and ``figure7.png`` (min-max attacks).

Both are taken apart twice: as the library runs them by default, and as the paper describes them (``:paper``: mean
loss as objective, no defence in the objective, sets of the clean rows, fixed class balance; Algorithm 5 for
min-max). From ``influence:paper`` ``influence-basic`` differs only in what the paper took away: the envelope, then
the concentration. As in the reference implementation thresholds are the 90th percentile of clean scores with the
envelope, the 80th without.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from report import bars, number, percent, write
from runs import DEFENSES, Outcome, arguments, case_of, measure, small

from linpoison.attacks import Attack, SetPolicy

PAPER = {
    "influence": "18.3 %",
    "influence, no envelope": "a few points less",
    "influence:paper": "18.3 %",
    "influence:paper, no envelope": "a few points less",
    "influence-basic": "at most 11 %",
    "min-max": "23.7 %",
    "min-max-basic": "10.0 %",
    "min-max:paper": "23.7 %",
    "min-max-basic:paper": "10.0 %",
}
"""Worst of five defences, as far as the text gives it."""
PAPER_BARS = {"influence": 0.183, "min-max": 0.237, "min-max-basic": 0.100}
PAPER_BARS |= {f"{name}:paper": share for name, share in PAPER_BARS.items()}


def variants(quick: bool) -> dict[str, dict[str, Attack]]:
    """The attacks of both figures by name, the complete ones first."""
    return {
        "influence": {
            "influence": small("influence", quick),
            "influence, no envelope": small("influence", quick, policy=SetPolicy(envelope=False)),
            "influence:paper": small("influence:paper", quick),
            "influence:paper, no envelope": small(
                "influence:paper", quick, policy=SetPolicy(assumed_removal=0.2, envelope=False)
            ),
            "influence-basic": small("influence-basic", quick),
        },
        "min-max": {
            name: small(name, quick) for name in ("min-max", "min-max-basic", "min-max:paper", "min-max-basic:paper")
        },
    }


def line(item: Outcome, paper: str) -> list[str]:
    """One line of the table."""
    errors = [percent(item.scored[name]) for name in DEFENSES]
    kept = [percent(item.kept[name]) for name in ("loss", "svd")]
    return [item.attack, *errors, percent(item.worst), paper, *kept, number(item.seconds)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    given = arguments(__doc__, parts="influence,min-max").parse_args(argv)
    case = case_of(given.data, given.quick)
    compare = case.name == "enron1"
    rows: list[list[str]] = []
    for part, attacks in variants(given.quick).items():
        if part not in given.parts.split(","):
            continue
        outcomes = [
            measure(case, name, attack, given.out, seed=given.seed, jobs=given.jobs)[0]
            for name, attack in attacks.items()
        ]
        rows += [line(item, PAPER[item.attack] if compare else "-") for item in outcomes]
        figure = "figure6.png" if part == "influence" else "figure7.png"
        bars(given.out / figure, {item.attack: item.scored for item in outcomes}, PAPER_BARS if compare else {},
             "Error behind each defence. Dashed: worst of five in Koh et al.")  # fmt: skip
    header = ["attack", *DEFENSES, "worst", "paper", "kept by loss", "kept by svd", "seconds"]
    print(write(given.out, "table", header, rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
