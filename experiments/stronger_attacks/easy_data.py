"""Figure 12 of Koh et al.: the influence attack on data sets that are harder to poison.

    python experiments/stronger_attacks/easy_data.py --out DIR

writes ``table.md``, ``table.csv`` and ``figure12.png`` for Enron and MNIST-1-7. Dogfish is not
available here: its line has the paper's figures only.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from report import bars, number, percent, write
from runs import DEFENSES, arguments, case_of, clean_errors, measure, small

from linpoison.core import worst_case

PAPER = {
    "enron1": ("3 %", "23 %"),
    "mnist17": ("0.7 %", "not appreciably more"),
    "dogfish": ("1.3 %", "8 %"),
}
"""Clean error, and error under the influence attack, as the text of appendix C and Table 1 have it."""
ABSENT = "dogfish (not available)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    given = arguments(__doc__, data="enron1,mnist17", attacks="influence,influence:paper").parse_args(argv)
    rows: list[list[str]] = []
    groups: dict[str, dict[str, float]] = {}
    for data in ["quick"] if given.quick else given.data.split(","):
        case = case_of(data, given.quick)
        clean = clean_errors(case)
        groups[f"{case.name}, clean"] = clean
        for attack in given.attacks.split(","):
            made = small(attack, given.quick)
            item, _ = measure(case, attack, made, given.out, seed=given.seed, jobs=given.jobs)
            before, after = PAPER.get(case.name, ("-", "-"))
            rows.append(
                [case.name, attack, percent(worst_case(clean)), before,
                 *(percent(item.scored[name]) for name in DEFENSES), percent(item.worst), after, number(item.seconds)]
            )  # fmt: skip
            groups[f"{case.name}, {attack}"] = item.scored
    before, after = ("-", "-") if given.quick else PAPER["dogfish"]
    rows.append([ABSENT, "-", "-", before, *("-" for _ in DEFENSES), "-", after, "-"])
    header = ["data", "attack", "clean, worst", "paper", *DEFENSES, "worst", "paper", "seconds"]
    print(write(given.out, "table", header, rows), end="")
    bars(given.out / "figure12.png", groups, {}, "The influence attack by data set")
    return 0


if __name__ == "__main__":
    sys.exit(main())
