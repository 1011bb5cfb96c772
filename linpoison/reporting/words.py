"""What the numbers mean, in words that travel with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core import ERROR, Dataset, Measure, parse_measure
from ..defenses import Defense
from ..losses import Problem
from .cells import percent
from .findings import AttackEntry

_THREAT: dict[str, Any] = {
    "goal": "indiscriminate: raise the error of the deployed classifier (availability)",
    "capability": "insert labelled training rows; existing rows are neither changed nor removed",
    "knowledge": "white box: training rows, learner, its settings, and the defences with their thresholds",
    "identifiers": [
        {
            "source": "NIST AI 100-2 E2025",
            "id": "NISTAML.013",
            "name": "Data Poisoning (availability)",
        },
        {
            "source": "MITRE ATLAS",
            "id": "AML.T0020",
            "name": "Poison Training Data",
        },
    ],
    "identifiers_version": "as published in 2025; ATLAS identifiers can move between releases",
}
"""The threat model in the vocabulary of auditors. The one table of such identifiers in the library."""

_TARGETED = {"source": "NIST AI 100-2 E2025", "id": "NISTAML.024", "name": "Targeted Poisoning (integrity)"}


def threat(n_rows: int = 0, words: str = "error") -> dict[str, Any]:
    """The threat model; targeted where the attacker wants `n_rows` chosen rows misclassified."""
    if not n_rows:
        return {**_THREAT, "goal": _THREAT["goal"].replace("error", words)}
    goal = f"targeted: have {n_rows} chosen test rows misclassified (integrity)"
    return {**_THREAT, "goal": goal, "identifiers": [_TARGETED, _THREAT["identifiers"][1]]}


_TARGETS = {
    "test": "The attacker looked at the scored test rows (the papers' protocol): it chose its decoy and its best "
    "candidate by their labels, so the error is an in-sample maximum and fresh rows may suffer less. Run with "
    "--target split:0.5 or --target train for error on unseen rows.",
    "train": "The attacker looked at training rows only. The test rows were unseen, so test_error and "
    "unseen_test_error are the same numbers; seen_error is the error on the training rows it tuned on.",
    "split": "The attacker looked at {share:.0%} of the test rows (stratified by class). test_error is on those rows "
    "and is an in-sample maximum; unseen_test_error is on the other test rows, which it never saw.",
    "rows": "The attacker wanted exactly the scored rows misclassified (a targeted attack). test_error is on those "
    "rows; unseen_test_error is the collateral damage on the other test rows, which it did not look at.",
    "given": "The poison was handed in: which rows its maker looked at is not known, so the error may be an in-sample "
    "maximum on these test rows.",
}


def measured(metric: str, error: str = "error") -> str:
    """What a report measures damage by, in words without an article; an error is called as is asked for.

    Examples
    --------
    >>> measured("error", "test error"), measured("recall:spam")
    ('test error', 'missed share of class spam')
    """
    return error if metric == ERROR.name else parse_measure(metric).words


RARE = 0.1
"""Share of a class below which an error hardly speaks of it."""


def rare_class(counts: Mapping[Any, int]) -> tuple[Any, float] | None:
    """The class of which an error hardly speaks and its share of the rows, of the rows by class; None if there is none.

    Examples
    --------
    >>> rare_class({"-1": 290, "+1": 10}), rare_class({"-1": 20, "+1": 20})
    (('+1', 0.03333333333333333), None)
    """
    total = sum(counts.values())
    if not total:
        return None
    rarest = min(counts, key=lambda name: counts[name])
    share = counts[rarest] / total
    return None if share >= min(RARE, 0.5 / len(counts)) else (rarest, share)


def measure_words(measure: Measure, train: Dataset) -> list[str]:
    """What an error is in a report, or which rare class it hardly speaks of."""
    if measure != ERROR:
        return [
            f"Damage is measured by the {measure.words}: wherever an error of clean or poisoned data stands here, it "
            "is that figure, and not the share of misclassified rows (but for subpopulations)."
        ]
    rare = rare_class(dict(enumerate(np.bincount(train.codes, minlength=train.k).tolist())))
    if rare is None:
        return []
    name = train.label_values([train.labels[rare[0]]])[0]
    return [
        f"Only {percent(rare[1])} of the training rows are of class {name}, so that the error misleads: it is "
        f"small for a learner that misses all of them. Measure by --metric recall:{name}, balanced or auc."
    ]


ROWS_ARE_NUMBERED = "; rows are numbered from 0, a header line not counted, as pandas does"


def label_words(data: Dataset) -> str:
    """The label column and which of its values is +1, where they are the user's; empty for data sets with a name."""
    if data.classes is None:
        return ""
    column = "" if data.label_name is None else f"the label is the column {data.label_name!r}: "
    if data.n_classes is not None:
        return f"{column}{', '.join(f'{value!r} is {code}' for code, value in enumerate(data.classes))}"
    negative, positive = data.classes
    return f"{column}{positive!r} is +1 and {negative!r} is -1"


WEIGHTED = (
    "The training rows carry the sample weights that were given, divided by their mean; a poison row weighs as much as "
    "the average row. Weights are for the learner: to a defence and to the budget each row is one row."
)


def class_weight_words(problem: Problem) -> list[str]:
    """What class weights mean for a poison row."""
    if problem.class_weight is None:
        return []
    how = "those of the counts with the poison in" if problem.class_weight == "balanced" else repr(problem.class_weight)
    return [
        f"Rows of the classes -1 and +1 carry class weights ({how}), poison rows as well. Every error stated is that "
        "of a learner with these weights; kkt, min-max, influence, exchange and flips search with them, other "
        "attacks with those of the clean rows."
    ]


def target_words(target: str) -> str:
    """What the attacker saw."""
    if target.startswith("split:"):
        return _TARGETS["split"].format(share=float(target.partition(":")[2]))
    return _TARGETS["rows" if target.startswith("rows:") else target]


def learner_words(problem: Problem) -> list[str]:
    """Intercept and scaling of the regulariser."""
    if not problem.fit_intercept:
        intercept = "The learner has no intercept."
    elif problem.penalize_intercept:
        intercept = "The intercept is penalised like a coefficient (as in scikit-learn's LinearSVC)."
    else:
        intercept = "The intercept is not penalised (as in scikit-learn's LogisticRegression and SVC)."
    if problem.scaling == "mean":
        scaling = (
            f"The regulariser is {problem.reg:g} times half the squared norm beside the mean loss, poison included."
        )
    else:
        scaling = (
            f"The regulariser has a fixed C, taken as fitted on {problem.n_reference:g} rows: it is {problem.reg:g} "
            "beside their mean loss and weakens as rows are added."
        )
    return [intercept, scaling]


def reading(
    target: str,
    problem: Problem,
    defenses: Mapping[str, Defense],
    remove: float,
    blind: tuple[str, ...] = (),
    *,
    certified: bool = False,
) -> list[str]:
    """Everything a reader must know before quoting a number; `blind` defences cannot tell rows apart."""
    return [
        target_words(target),
        _defence_words(defenses, remove),
        *(_blind_words(name, defenses[name].blind_because) for name in blind),
        "The attacker only inserts rows: it neither changes nor removes existing ones.",
        "Preprocessing is fixed: scaling, vocabulary and other steps before the learner are taken as given and are not "
        "refitted on poisoned rows.",
        *learner_words(problem),
        "An attack gives a lower bound on the damage within the budget. A weak result does not mean that the "
        "learner is safe: a better attack may exist"
        + (_CERTIFIED if certified else ", and no certificate was computed."),
    ]


_CERTIFIED = (
    ". The certificates bound every poison of the budget, for this learner behind filters that are fitted on the clean "
    "rows and stay fixed; they say nothing about filters that are fitted again with the poison in."
)


def _defence_words(defenses: Mapping[str, Defense], remove: float) -> str:
    if not defenses:
        return "No defence was run: all errors are those of the undefended learner."
    own = [name for name, one in defenses.items() if not one.drops_share or one.remove != remove]
    but = f" ({', '.join(own)}: by a rule or share of its own)" if own else ""
    return (
        f"Each defence is fitted on clean and poison rows together, removes {remove:.0%} of each class{but} and the "
        "learner is retrained. Behind every filter at once: one poison has to pass all of them, and its error is the "
        f"least over {', '.join(defenses)}, as if the defender had chosen the best of them in hindsight. Behind one "
        "filter alone: the attacker knows which, and has a poison of its own for it, so the error is never less."
    )


def _blind_words(name: str, why: str) -> str:
    return (
        f"The scores of {name} are the same for all clean rows up to rounding{why}: what it removes is arbitrary, and "
        "so are its error and a least error that rests on it. Leave it out of --defenses."
    )


def finding(
    entry: AttackEntry, clean: Mapping[str, float], epsilon: float, n_chosen: int = 0, metric: str = "error"
) -> str:
    """The headline of one poison; `clean` holds the error by defence without it.

    Both errors are least ones over the defences run: the best defence with the poison, and the best without it. They
    are those of `n_chosen` rows if the attack was targeted.
    """
    before = min([error for name, error in clean.items() if name != "none"] or [clean["none"]])
    after = entry.test_error_behind_all
    one = entry.n_poison == 1
    chosen = "chosen row" if n_chosen == 1 else f"{n_chosen} chosen rows"
    what = f"the {measured(metric)} on the {chosen}" if n_chosen else f"the {measured(metric)}"
    move = f"{'takes' if one else 'take'} {what} from {percent(before)} to {percent(after)}"
    if after <= before:
        does, them = ("does", "it") if one else ("do", "them")
        move = f"{does} no damage: {what} was {percent(before)} without {them} and is {percent(after)} with {them},"
    where = "behind every filter at once" if len(entry.test_error) > 1 else "without a defence"
    rows = "1 poison row" if one else f"{entry.n_poison} poison rows"
    line = f"{rows} ({epsilon:.3g} of the training rows) {move} {where}"
    if entry.unseen_test_error_behind_all is not None and n_chosen:
        line += f"; the {measured(metric)} on the other test rows is {percent(entry.unseen_test_error_behind_all)} then"
    elif entry.unseen_test_error_behind_all is not None:
        line += f"; on rows that the attacker did not see, to {percent(entry.unseen_test_error_behind_all)}"
    return line + "."


def cautions(entry: AttackEntry) -> list[str]:
    """What is out of the ordinary about one poison."""
    notes = []
    if not entry.within_budget:
        allowed = "1 is" if entry.n_allowed == 1 else f"{entry.n_allowed} are"
        notes.append(f"{entry.name}: over budget, {entry.n_poison} rows where {allowed} allowed.")
    if entry.domain_violation > 1e-9:
        notes.append(f"{entry.name}: rows leave the domain of the data by up to {entry.domain_violation:.3g}.")
    if entry.n_failed_solves:
        notes.append(f"{entry.name}: {entry.n_failed_solves} of {entry.n_solves} conic solves failed.")
    return notes
