"""Figure 13 of Koh et al.: label flips (alfa) behind the L2 defence only.

    python experiments/stronger_attacks/alfa.py --out DIR

writes ``table.md``, ``table.csv`` and ``figure13.png``; random flips stand beside alfa, and alfa as the authors'
program has it: the whole budget on one row, a vertex of its linear program.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from report import bars, number, percent, write
from runs import arguments, attack_of, case_of, clean_errors, measure, small

PAPER = {"alfa": "2 %"}
"""What the text says of the rise in test error on Enron."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    given = arguments(__doc__, attacks="random-flips,alfa,alfa:paper").parse_args(argv)
    case = case_of(given.data, given.quick, ("l2",))
    chosen = {name: small(name, given.quick) for name in given.attacks.split(",")}
    clean = clean_errors(case)
    outcomes = [
        measure(case, name, attack, given.out, seed=given.seed, jobs=given.jobs)[0] for name, attack in chosen.items()
    ]
    paper = PAPER if case.name == "enron1" else {}
    rows = [["no poison", percent(clean["none"]), percent(clean["l2"]), "-", "-", "-", "-"]]
    rows += [
        [item.attack, percent(item.scored["none"]), percent(item.scored["l2"]),
         percent(item.scored["l2"] - clean["l2"]), paper.get(attack_of(item.attack), "-"), percent(item.kept["l2"]),
         number(item.seconds)]
        for item in outcomes
    ]  # fmt: skip
    header = ["attack", "no defence", "l2", "increase (l2)", "paper's increase", "kept by l2", "seconds"]
    print(write(given.out, "table", header, rows), end="")
    groups = {"no poison": clean} | {item.attack: item.scored for item in outcomes}
    bars(given.out / "figure13.png", groups, {}, "Label flips behind the L2 defence")
    return 0


if __name__ == "__main__":
    sys.exit(main())
