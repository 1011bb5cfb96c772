"""The arguments of every command. Imports nothing but argparse, so that ``--help`` is quick."""

from __future__ import annotations

import argparse
from typing import Any

from .._frame import CODES as _EXIT
from .._frame import Parser, number, place, whole
from .._version import __version__

MODELS = "svm, logistic, ridge"
ATTACKS = (
    "random-flips, alfa, breakdown, exchange, kkt, kkt-grid, kkt-iterative, min-max-basic, min-max, influence-basic, "
    "influence, model-targeted, gradient-canceling, refined"
)
DEFENSES = "l2,slab,loss,svd,knn"
KNOWN_DEFENSES = "l2, slab, loss, svd, knn, duplicates, trim, sever, self-influence, spectral, clusters"
CERTIFIABLE = "l2,slab,loss"


def build_parser() -> Parser:
    """The parser of ``linpoison``."""
    parser = Parser(
        prog="linpoison",
        description="Attack, defend and certify linear classifiers under data poisoning.",
        epilog=f"{_EXIT} Use it on models and data that are yours to test.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"linpoison {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    _add_audit(commands)
    _add_sweep(commands)
    _add_certify(commands)
    _add_budget(commands)
    _add_subpop(commands)
    _add_evaluate(commands)
    _add_sanitize(commands)
    _add_harden(commands)
    _add_inspect(commands)
    _add_check(commands)
    commands.add_parser(
        "datasets", help="list the data sets that have a name", allow_abbrev=False,
        description="List the data sets that have a name.",
    ).add_logging()  # fmt: skip
    _add_completion(commands)
    return parser


def _add_audit(commands: Any) -> None:
    parser = _command(
        commands, "audit", "attack a classifier and report the damage past every defence",
        "Build the strongest poison found within a budget, run it past every defence, and write report.json, "
        "report.html and poison.npz. An interrupted run resumes when it is started again.",
    )  # fmt: skip
    parser.add_argument("data", metavar="DATA", nargs="?", default="breast_cancer", help=_DATA_HELP)
    _add_learner(parser)
    parser.add_epsilon()
    parser.add_argument("--attacks", "--attack", dest="attacks", default="portfolio", metavar="NAMES",
                        help="portfolio (attacks from cheap to dear as far as a count of the work allows, and one for "
                        f"each filter alone); or a comma list among {ATTACKS}; or 'all', which is all but kkt-grid "
                        "(the paper's baseline of kkt) and passes over those that fail; refined runs last, from the "
                        "strongest of the others (default: portfolio)")  # fmt: skip
    _add_method(parser)
    _add_defenses(parser, DEFENSES)
    parser.add_argument(
        "--target", default="test", metavar="ROWS",
        help="rows that the attacker may look at: test (the papers' protocol), train, or split:F for a fraction F of "
        "the test rows; rows:I,J,... or rows:FILE for test rows to be misclassified (default: test)",
    )  # fmt: skip
    _add_metric(parser)
    parser.add_argument("--certify", action="store_true",
                        help="also bound what any poison of this budget could do behind filters that are held fixed, "
                        "and hold the attacks against it")  # fmt: skip
    parser.add_argument("--subpopulation", default=None, metavar="WHAT",
                        help="also report who would be hurt, the damage to each subpopulation: clusters or clusters:K, "
                        "found in the training rows, or columns:A,B,... in which rows agree (names or numbers; "
                        "one of more than six values is cut at its quartiles; all columns hold numbers, text has to "
                        "be encoded)")  # fmt: skip
    _add_time_limit(parser)
    parser.add_jobs("worker processes (default: all processors)")
    parser.add_out("output folder (default: linpoison-report)", default="linpoison-report")
    _add_gates(parser)


def _add_sweep(commands: Any) -> None:
    parser = _command(
        commands, "sweep", "audit every combination of budgets, seeds, attacks, defences and targets",
        "Audit every combination of the values that are listed, several at a time, and write sweep.csv and a folder of "
        "each audit. A sweep that is started again reads back the audits that are done and goes on. One that fails is "
        "reported and does not stop the others.",
    )  # fmt: skip
    parser.add_argument("data", metavar="DATA", help=f"{_DATA_HELP}; stands before the options")
    _add_learner(parser, several=True)
    parser.add_epsilon(**_several(0.03))
    parser.add_argument("--attacks", "--attack", dest="attacks", nargs="+", default=["portfolio"], metavar="NAMES",
                        help="for each audit one word as in 'audit --attacks', such as: kkt min-max kkt,refined "
                        "(default: portfolio)")  # fmt: skip
    _add_method(parser)
    _add_defenses(parser, DEFENSES, several=True)
    parser.add_argument("--target", nargs="+", default=["test"], metavar="ROWS",
                        help="for each audit one word as in 'audit --target' (default: test)")  # fmt: skip
    _add_metric(parser)
    _add_time_limit(parser, "for each audit: ")
    parser.add_jobs("audits at a time (default: one for each processor)")
    parser.add_out("output folder (default: linpoison-sweep)", default="linpoison-sweep")
    parser.add_output()


def _add_time_limit(parser: Parser, each: str = "") -> None:
    parser.add_argument("--time-limit", type=number, default=None, metavar="S",
                        help=f"{each}end after about S seconds of wall time, data and report included, with what has "
                        "been found by then (default: none, which finds the same on every machine)")  # fmt: skip


def _add_certify(commands: Any) -> None:
    parser = _command(
        commands, "certify", "bound the damage that any poison of a budget can do",
        "Prove, for filters that are fitted on the clean rows and then held fixed, how bad the test error can get at "
        "each budget, and hold attacks against it; or, with --kind, which rows withstand deleted rows, flipped labels, "
        "insertions into a partition, and up to which budget. Writes certify.json, certify.html and the certificates, "
        "which can be checked again without a solver; certificates that are there already are checked and kept.",
    )  # fmt: skip
    parser.add_argument("data", metavar="DATA", nargs="?", default="breast_cancer", help=_DATA_HELP)
    _add_learner(parser, class_weight=_NO_CLASS_WEIGHT)
    parser.add_argument("--kind", default="error", metavar="KIND",
                        help="error; or of single rows: deletions, flips, radius, partition "
                        "(default: error)")  # fmt: skip
    parser.add_argument("--count", default=None, metavar="N[,N...]",
                        help="rows deleted, relabelled or inserted, with --kind deletions, flips or partition "
                        "(default: 1,2,5)")  # fmt: skip
    parser.add_argument("--rows", default=None, metavar="FILE",
                        help="answer the rows of this table, which has no labels, and say how many deleted (planted) "
                        "or relabelled training rows each answer withstands, --count at most (default: 100); all rows "
                        "of DATA are trained on, without filters")  # fmt: skip
    parser.add_argument("--parts", type=whole, default=None, metavar="N",
                        help="models that vote, with --kind partition (default: 10)")  # fmt: skip
    parser.add_argument("--epsilon", dest="epsilons", default="0.003,0.01,0.03", metavar="E[,E...]",
                        help="budgets as fractions of the training rows (default: 0.003,0.01,0.03)")  # fmt: skip
    parser.add_argument("--attacks", "--attack", dest="attacks", default=None, metavar="NAMES",
                        help=f"attacks to hold against the bounds of the error, among {ATTACKS}; 'all' or 'none' "
                        "(default: kkt)")  # fmt: skip
    parser.add_argument("--certificates", default="test-error,average-loss", metavar="NAMES",
                        help="comma list among test-error and average-loss (default: both)")  # fmt: skip
    _add_defenses(parser, CERTIFIABLE)
    _add_metric(parser)
    parser.add_jobs("worker processes of the attacks (default: all)")
    parser.add_out("output folder; a rerun resumes (default: none)")
    parser.add_output("exit with code 1 if a certified error is above X")


def _add_budget(commands: Any) -> None:
    parser = _command(
        commands, "budget", "the least poison that makes a given model the learned one",
        "For a model, or for the decoys of the KKT attack: the least mass of poison inside the fixed filters that "
        "makes it the learned one, with a proof that no less will do. For the label of one test row: the same for the "
        "cheapest model found that turns it; 'certify' proves what no poison of a budget turns.",
    )  # fmt: skip
    parser.add_argument("data", metavar="DATA", nargs="?", default="breast_cancer", help=_DATA_HELP)
    _add_learner(parser, class_weight=_NO_CLASS_WEIGHT)
    parser.add_argument("--target", required=True, metavar="WHAT",
                        help="a model in FILE.npz (arrays coef and intercept), 'decoys', or 'flip:I' for the label of "
                        "test row I")  # fmt: skip
    _add_defenses(parser, CERTIFIABLE)
    parser.add_out("output folder for the certificates and poison")
    parser.add_output()


def _add_subpop(commands: Any) -> None:
    parser = _command(
        commands, "subpop", "attack subpopulations and report who is hurt",
        "Attack one subpopulation after another, retrain, and report the damage to it and to everybody else. Half of "
        "the training rows are the attacker's. Writes subpop.json, damage.png, map.png and map.npz; an interrupted run "
        "resumes.",
    )  # fmt: skip
    parser.add_argument("data", metavar="DATA", help=_DATA_HELP)
    _add_learner(parser)
    add = parser.add_argument_group("subpopulations").add_argument
    add("--attack", default="label-flip", metavar="NAME", help="label-flip or convex (default: label-flip)")
    add("--match", default="clusters", metavar="WHAT",
        help="clusters, or a comma list of columns in which rows agree (names or numbers; one of more than six values "
        "is cut at its quartiles; all columns hold numbers, text has to be encoded) (default: clusters)")  # fmt: skip
    add("--clusters", type=whole, default=20, metavar="N", help="number of clusters (default: 20)")
    add("--components", type=whole, default=10, metavar="N",
        help="principal components before clustering (default: 10)")  # fmt: skip
    add("--groups", type=whole, default=10, metavar="N", help="attack the N largest; 0 for all (default: 10)")
    add("--alpha", type=number, nargs="+", default=[0.5, 1.0, 2.0], metavar="A",
        help="poison rows for each of the attacker's rows of the subpopulation (default: 0.5 1 2)")  # fmt: skip
    add("--collateral", type=number, default=0.01, metavar="F",
        help="greatest growth of the error elsewhere that convex allows (default: 0.01)")  # fmt: skip
    add("--map", default="pca", metavar="NAME",
        help="of the test rows and the poison: pca or tsne (default: pca)")  # fmt: skip
    parser.add_out("output folder; a rerun resumes (default: none)")
    parser.add_output()


def _add_evaluate(commands: Any) -> None:
    parser = _command(
        commands, "evaluate", "run anyone's poison past the same defences",
        "Score poison rows that were made elsewhere, and print the same table or JSON as audit.",
    )  # fmt: skip
    parser.add_argument("data", metavar="DATA", help=_DATA_HELP)
    parser.add_argument("--poison", required=True, metavar="FILE.npz", help="poison rows (format: docs/files.md)")
    _add_learner(parser)
    parser.add_epsilon()
    _add_defenses(parser, DEFENSES)
    _add_metric(parser)
    parser.add_out("also write the report to this folder")
    _add_gates(parser)


def _add_sanitize(commands: Any) -> None:
    parser = _command(
        commands, "sanitize", "write the rows that survive the defences",
        "Run all rows of a file (or the training rows of a data set that has a name) through defences, one after "
        "another, and write what survives as a table like the input, with the numbers and scores of removed rows.",
    )  # fmt: skip
    parser.add_argument("data", metavar="DATA", help=_DATA_HELP)
    _add_learner(parser)
    _add_defenses(parser, None)
    parser.add_argument("--out", type=place, required=True, metavar="FILE",
                        help="output file, of the kind of the input, or .npz or .csv")  # fmt: skip
    parser.add_output()


def _add_harden(commands: Any) -> None:
    parser = _command(
        commands, "harden", "search what a defender controls for the least damage",
        "Attack one setting of filters and learner after another, by an attacker who knows it, and recommend the one "
        "that suffers least at a clean cost that is allowed. Writes harden.json, harden.html, hardened.py, "
        "hardened.skops and poison.npz; an interrupted search resumes.",
    )  # fmt: skip
    parser.add_argument("data", metavar="DATA", nargs="?", default="breast_cancer", help=_DATA_HELP)
    _add_learner(parser)
    parser.add_epsilon()
    _add_defenses(parser, DEFENSES)
    parser.add_argument("--trusted", default="0.5", metavar="WHICH",
                        help="training rows known to be clean: rows:3,17,42 or rows:FILE (numbers in the file of "
                        "data), column:NAME (0 in all others), or a share drawn at random (default: 0.5)")  # fmt: skip
    parser.add_argument("--max-cost", type=number, default=0.01, metavar="F",
                        help="how much the clean error may grow (default: 0.01, one point)")  # fmt: skip
    parser.add_whole("--finalists", 2, "settings that meet the whole portfolio of attacks at least")
    parser.add_argument("--certify", action="store_true", help="also bound the damage to the finalists that can be")
    parser.add_argument("--time-limit", type=number, default=None, metavar="S",
                        help="seconds in all; settings without time are named (default: none)")  # fmt: skip
    parser.add_jobs("worker processes (default: all processors)")
    parser.add_out("output folder; a rerun resumes (default: linpoison-harden)", default="linpoison-harden")
    parser.add_output()


def _add_inspect(commands: Any) -> None:
    parser = _command(
        commands, "inspect", "say which rows look planted, and what the model is without them",
        "Run every detector on all rows of a file, combine them into one ranking with reasons, and learn without the "
        "rows that stand out. Writes suspects.csv, inspect.json and inspect.html.",
    )  # fmt: skip
    parser.add_argument("data", metavar="DATA", help=_DATA_HELP)
    _add_learner(parser)
    add = parser.add_argument_group("rows to name").add_argument
    add("--top", type=whole, default=None, metavar="N", help="name N rows (default: those that stand out)")
    add("--share", type=number, default=None, metavar="F", help="name a share F of the rows")
    parser.add_out("output folder (default: none)")
    parser.add_output()


def _add_check(commands: Any) -> None:
    parser = _command(
        commands, "check", "run the audits of a suite and hold each against its gates",
        "Run the audits that linpoison.toml, or [tool.linpoison] in pyproject.toml, names, and hold each against its "
        "gates. Writes check.json, check.sarif (SARIF 2.1.0), check.xml (JUnit), check.md and a folder of each audit. "
        "Exits with code 1 if a gate is not met, with code 2 if an audit could not be done.",
    )  # fmt: skip
    parser.add_argument("--config", metavar="FILE", help="the suite (default: linpoison.toml or pyproject.toml here)")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="run these audits (default: all)")
    parser.add_argument("--baseline", metavar="DIR", help="output folder of an earlier check: fail only on what is "
                        "worse, by more than 1 point or the gate 'worse'")  # fmt: skip
    _add_redact(parser)
    parser.add_jobs("worker processes of each audit (default: as in the suite, or all processors)")
    parser.add_out("output folder; a rerun resumes (default: linpoison-check)", default="linpoison-check")
    parser.add_output()


def _add_completion(commands: Any) -> None:
    parser = _command(
        commands, "completion", "print the script that completes commands and options in a shell",
        "Print the script that completes commands, options and file names. For bash: linpoison completion bash > "
        "~/.local/share/bash-completion/completions/linpoison.",
    )  # fmt: skip
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh"), help="bash or zsh")


_FAIL_ABOVE = (
    "exit with code 1 if the test error behind every filter at once (of one poison, behind the filter that holds best; "
    "without a range check where both are reported) is above X"
)
_NO_CLASS_WEIGHT = "refused here: give weights of the rows (--weight) instead"
_DATA_HELP = "a name that 'linpoison datasets' lists, or a file: .npz, .csv, .tsv (or .gz of them), .parquet, .svmlight"


def _command(commands: Any, name: str, help_text: str, description: str) -> Parser:
    parser: Parser = commands.add_parser(
        name, help=help_text, description=description, epilog=_EXIT, allow_abbrev=False
    )
    parser.add_logging()
    return parser


def _add_learner(parser: Parser, *, several: bool = False, class_weight: str | None = None) -> None:
    add = parser.add_argument_group("data and learner").add_argument
    add("--model", metavar="NAME", help=f"one of {MODELS}: hinge loss with a penalised intercept, or logistic or "
        "squared loss with a free one (default: svm)")  # fmt: skip
    add("--estimator", metavar="FILE", help="a fitted scikit-learn linear classifier (.skops) instead of --model")
    add("--reg", type=number, metavar="LAMBDA", help="lambda of lambda/2 |theta|^2 + mean loss (default: 0.01)")
    add("--penalize-intercept", action=argparse.BooleanOptionalAction, help="override the convention of --model")
    add("--class-weight", metavar="WEIGHTS", help=class_weight or "balanced, or weights by label value such as "
        "spam=4,ham=1, beside --model")  # fmt: skip
    add("--domain", metavar="KIND", help="what a row may hold: real, box, counts (up to the largest of each column), "
        "counts:N (up to N, or inf), unit (rows of length 1), range (what the training rows show in each column) or "
        "range:F (that range, F times as wide) (default: that of the data)")  # fmt: skip
    add("--frozen", metavar="COLUMNS", help="columns of the raw table that an attacker cannot change (beside "
        "--estimator): each poison row takes their values from one clean row")  # fmt: skip
    add("--label", metavar="COLUMN", help="label column of a table: .csv, .tsv, .parquet (default: the one called "
        "label, target or class, else y, else the last if it alone has two values)")  # fmt: skip
    add(
        "--header",
        metavar="LINE",
        help="first or none: whether the first line of a .csv or .tsv file names the columns",
    )
    add("--index", metavar="COLUMN", help="column that numbers or names the rows and is no feature, or none")
    add("--weight", dest="sample_weight", metavar="COLUMN", help="column (of an .npz file the array) of sample weights")
    add("--test", metavar="FILE", help="file with the test rows")
    add("--test-fraction", type=number, metavar="F",
        help="share of a file's rows to hold out when it brings no test rows (default: 0.3)")  # fmt: skip
    seeds = _several(0) if several else {"default": 0}
    add("--seed", type=whole, metavar="N", help="seed of every random draw (default: 0)", **seeds)


def _add_method(parser: Parser) -> None:
    parser.add_argument("--attack-variant", default="library", metavar="NAME",
                        help="library: the attacks of this library; paper: random-flips, alfa, kkt, min-max-basic, "
                        "min-max, influence-basic and influence as published (default: library)")  # fmt: skip
    parser.add_argument("--solver", default=None, metavar="NAME",
                        help="conic solver for the programs, supports and projections of kkt, min-max and influence: "
                        "CLARABEL, ECOS, OSQP (linear sets only) or SCS (default: structured, far faster)")  # fmt: skip
    parser.add_argument("--distinct", action="store_true",
                        help="ask for poison rows that are no copies of each other, as the defence duplicates sees "
                        "it")  # fmt: skip


def _add_metric(parser: Parser) -> None:
    parser.add_argument("--metric", default="error", metavar="NAME",
                        help="what damage is measured by: error, balanced (mean over the classes), recall:CLASS (the "
                        "share of a class that is missed), fpr:CLASS (of the others taken for it), auc (1 less it) or "
                        "cost:FILE (mean cost by a table of costs); CLASS is a value of the label column; with "
                        "certificates error, recall or fpr (default: error)")  # fmt: skip


def _several(default: Any) -> dict[str, Any]:
    """One value or more."""
    return {"nargs": "+", "default": [default]}


def _add_defenses(parser: Parser, default: str | None, *, several: bool = False) -> None:
    group = parser.add_argument_group("defences")
    none = f", or 'none' (default: {default})" if default else ""
    lists = _several(default) if several else {"default": default}
    each = "for each audit one " if several else ""
    group.add_argument("--defenses", "--defense", dest="defenses", required=default is None, metavar="NAMES",
                       help=f"{each}comma list among {KNOWN_DEFENSES}{none}; or names that other packages register",
                       **lists)  # fmt: skip
    group.add_argument("--variant", default="paper", metavar="NAME",
                       help="definition of the defences: paper or reference (default: paper)")  # fmt: skip
    group.add_argument("--remove", type=number, default=0.05, metavar="F",
                       help="share of each class that a defence removes (default: 0.05)")  # fmt: skip


def _add_gates(parser: Parser) -> None:
    parser.add_output(_FAIL_ABOVE)
    parser.add_argument("--gate", type=_gate, action="append", default=[], metavar="NAME=X",
                        help="exit with code 1 if a figure is above X: error (as --fail-above), unseen (the same on "
                        "rows that the attacker did not see), damage (what poison adds), certified (with --certify); "
                        "may be given several times")  # fmt: skip
    _add_redact(parser)
    parser.add_argument("--baseline", metavar="FILE", help="report.json of an earlier audit: fail only on what is "
                        "worse, by more than 1 point or --gate worse=X")  # fmt: skip


def _add_redact(parser: Parser) -> None:
    parser.add_argument("--redact", action="store_true", help="leave the poison rows out of every file")


def _gate(text: str) -> tuple[str, float]:
    name, equals, limit = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected a gate as NAME=X, such as unseen=0.2, got {text!r}.")
    return name.strip(), number(limit)
