"""Figure 9 of Koh et al., and what carries over: error on rows that the attacker saw and on rows it did not.

    python experiments/stronger_attacks/unobserved.py --out DIR [--targets train,test,split:0.5 --seeds 5]

For each attack: the test error when the attacker looks at training rows only, at the test rows (the
paper's protocol), and at half of the test rows, over several divisions of them (seeds). ``refined`` starts
from the poison that is strongest on the rows seen. Writes ``table.md``, ``table.csv`` and ``figure9.png``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from report import bars, percent, write
from runs import Case, Outcome, arguments, attack_of, case_of, measure, small

from linpoison.core import Poison

ATTACKS = "influence,kkt,min-max,influence:paper,min-max:paper,refined"
PAPER = {
    "train": {"influence": 0.109, "kkt": 0.165, "min-max": 0.190},
    "test": {"influence": 0.183, "kkt": 0.226, "min-max": 0.237},
}
HEADER = [
    "attacker sees",
    "attack",
    "runs",
    "worst, seen rows",
    "worst, unseen rows",
    "range",
    "start, unseen",
    "paper",
]


@dataclass(frozen=True)
class Runs:
    """The options of one call."""

    case: Case
    attacks: tuple[str, ...]
    out: Path
    quick: bool
    jobs: int

    def of_seed(self, target: str, seed: int) -> dict[str, tuple[Outcome, Outcome | None]]:
        """Each attack once; `refined` from the strongest of the others, with where it started."""
        found: dict[str, tuple[Outcome, Poison]] = {}
        others = [name for name in self.attacks if name != "refined"]
        for name in others:
            attack = small(name, self.quick)
            found[name] = measure(self.case, name, attack, self.out, target=target, seed=seed, jobs=self.jobs)
        outcomes: dict[str, tuple[Outcome, Outcome | None]] = {name: (item, None) for name, (item, _) in found.items()}
        if "refined" not in self.attacks:
            return outcomes
        begun, poison = max(found.values(), key=lambda pair: pair[0].worst_seen)
        label = f"refined-after-{'-'.join(others)}"
        attack = small("refined", self.quick, start=poison)
        ended, _ = measure(self.case, label, attack, self.out, target=target, seed=seed, jobs=self.jobs)
        return outcomes | {"refined": (ended, begun)}


def seeds_of(target: str, seed: int, number: int) -> list[int]:
    """Several divisions of the test rows for a split, one run otherwise."""
    return list(range(seed, seed + number)) if target.startswith("split") else [seed]


def average(shares: Sequence[float | None]) -> float | None:
    """The mean; None if any is."""
    known = [share for share in shares if share is not None]
    return mean(known) if known and len(known) == len(shares) else None


def line(target: str, name: str, pairs: Sequence[tuple[Outcome, Outcome | None]], paper: float | None) -> list[str]:
    """One line of the table: means over the seeds, and the range on unseen rows."""
    unseen = [item.worst_unseen for item, _ in pairs]
    known = [share for share in unseen if share is not None]
    spread = f"{percent(min(known))} to {percent(max(known))}" if len(known) > 1 else "-"
    begun = average([None if start is None else start.worst_unseen for _, start in pairs])
    seen = percent(average([item.worst_seen for item, _ in pairs]))
    return [target, name, str(len(pairs)), seen, percent(average(unseen)), spread, percent(begun), percent(paper)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = arguments(__doc__, attacks=ATTACKS, targets="train,test,split:0.5")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="divisions of the test rows (default: 5)")
    given = parser.parse_args(argv)
    case = case_of(given.data, given.quick)
    runs = Runs(case, tuple(given.attacks.split(",")), given.out, given.quick, given.jobs)
    rows: list[list[str]] = []
    groups: dict[str, dict[str, float]] = {}
    dashed: dict[str, float] = {}
    for target in given.targets.split(","):
        found = [runs.of_seed(target, seed) for seed in seeds_of(target, given.seed, given.seeds)]
        paper = PAPER.get(target, {}) if case.name == "enron1" else {}
        for name in found[0]:
            pairs = [outcomes[name] for outcomes in found]
            rows.append(line(target, name, pairs, paper.get(attack_of(name))))
            groups[f"{name}\n{target}"] = pairs[0][0].unseen or pairs[0][0].scored
        dashed |= {f"{name}\n{target}": paper[attack_of(name)] for name in found[0] if attack_of(name) in paper}
    print(write(given.out, "table", HEADER, rows), end="")
    bars(given.out / "figure9.png", groups, dashed, "Test error by what the attacker saw (first seed; unseen rows)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
