"""The arguments of ``python -m deep``. Imports nothing but argparse, so that ``--help`` is quick."""

from __future__ import annotations

from typing import Any

from linpoison._frame import CODES, Parser, number, whole


class DeepParser(Parser):
    """The parser of ``python -m deep`` and of its commands."""

    program = "deep"


def build_parser() -> DeepParser:
    """The parser of ``python -m deep``."""
    parser = DeepParser(
        prog="python -m deep",
        description="Poison what a network is trained on, train it again from scratch, and report the damage.",
        epilog=f"{CODES} Use it on models and data that are yours to test.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=DeepParser)
    _add_gc(commands)
    _add_tgda(commands)
    _add_gradpc(commands)
    _add_back_gradient(commands)
    _add_min_max(commands)
    _add_metapoison(commands)
    _add_pgan(commands)
    _add_flip(commands)
    return parser


def _add_gc(commands: Any) -> None:
    parser = _command(commands, "gc", "gradient canceling: poison that makes chosen parameters stationary")
    _add_epsilon(parser)
    _add_target(parser)
    parser.add_argument("--optimiser", choices=("adam", "gradient", "lbfgs"), default="adam",
                        help="default: adam; lbfgs keeps nothing in its middle: interrupted, it starts the descent "
                        "of that seed again")  # fmt: skip
    parser.add_whole("--steps", 1000, "steps of the optimiser")
    parser.add_argument("--step", type=number, metavar="F", help="their length, in units of the rows (adam: 0.1; "
                        "gradient: found by trial; lbfgs has none)")  # fmt: skip
    parser.add_argument("--params", metavar="NAMES", help="comma list of parameters to cancel; the published code "
                        "cancels the first tensor only (default: all)")  # fmt: skip
    parser.add_argument("--free", action="store_true", help="poison may lie anywhere, not only where pixels do")


def _add_tgda(commands: Any) -> None:
    parser = _command(commands, "tgda", "total gradient descent ascent: poison against what a learner becomes")
    _add_epsilon(parser)
    parser.add_choice("--leader", ("network", "pixels"), "what is optimised: an autoencoder's weights, or the rows")
    parser.add_whole("--pretrain", 10, "epochs of the autoencoder before the game; 0 for none")
    parser.add_whole("--epochs", 200, "of the game")
    parser.add_whole("--leader-steps", 1, "in each turn")
    parser.add_whole("--follower-steps", 20, "in each turn")
    parser.add_number("--leader-step", 0.01)
    parser.add_choice("--follower-precision", ("ieee", "tf32", "bf16"), "of the follower's products, not of what the "
                      "leader solves")  # fmt: skip
    parser.add_number("--follower-step", 0.1)
    parser.add_choice("--rule", ("ascent", "adam"), "of the leader")
    parser.add_whole("--batch-size", 1000, "of the game")
    parser.add_number("--validation", 0.3, "share of the training rows that only the attacker uses")
    parser.add_choice("--solver", ("minres", "cg", "gauss-newton", "normal-cg"), "of the Hessian: cg is for a convex "
                      "objective, gauss-newton leaves out the network's own curvature, normal-cg is the published one, "
                      "on its square")  # fmt: skip
    parser.add_whole("--solver-steps", 16, "its iterations")
    parser.add_number("--damping", 0.01, "of the Hessian, in units of its mean curvature")
    parser.add_argument("--past-sever", type=number, metavar="F", help="weight of what SEVER would see of the poison "
                        "against damage (default: it is not looked at)")  # fmt: skip
    parser.add_choice("--order", ("attacker", "defender"), "who moves first")
    parser.add_choice("--start", ("warm", "cold"), "of the follower in each turn")
    parser.add_choice("--game", ("non-zero-sum", "zero-sum"), "what it is about")


def _add_gradpc(commands: Any) -> None:
    text = "parameters to plant: their accuracy, and the least poison they need where the last layer proves any"
    _add_target(_command(commands, "gradpc", text))


def _add_back_gradient(commands: Any) -> None:
    parser = _command(commands, "back-gradient", "poison by the derivative through all steps of one training")
    _add_epsilon(parser)
    _add_descent(parser, steps=30, step=0.05)
    _add_unrolled(parser, steps=100, batch=None)
    parser.add_choice("--start", ("scratch", "learned"), "of the unrolled training: drawn anew, or learned")
    parser.add_choice("--labels", ("flipped", "clean"))


def _add_metapoison(commands: Any) -> None:
    parser = _command(commands, "metapoison", "poison through a few steps of an ensemble of models of all ages")
    _add_epsilon(parser)
    _add_descent(parser, steps=60, step=0.02)
    _add_unrolled(parser, steps=2, batch=200)
    parser.add_argument("--signed", action="store_true", help="move each pixel by the same length")
    parser.add_whole("--models", 24, "of the ensemble")
    parser.add_whole("--epochs", 20, "after which a model of the ensemble begins anew")
    parser.add_argument("--near", type=number, metavar="F",
                        help="most that a pixel may change (default: no bound, 0 with --colour)")  # fmt: skip
    parser.add_argument("--colour", type=number, metavar="F",
                        help="beside --near, most that a whole colour may change (default: 0)")  # fmt: skip
    parser.add_argument("--target", metavar="LIST", help="comma list of test rows, from 0, to be misclassified and "
                        "measured; the attacker judges by them and not by --validation (default: all test rows, which "
                        "the attacker does not see)")  # fmt: skip
    parser.add_choice("--labels", ("clean", "flipped"))


def _add_min_max(commands: Any) -> None:
    parser = _command(commands, "min-max", "rows of greatest loss by turns with steps of the model")
    _add_epsilon(parser)
    parser.add_choice("--decoy", ("none", "relabeled", "gradpc"), "parameters under which poison looks right, the "
                      "improved attack of Koh et al.")  # fmt: skip
    parser.add_number("--most-loss", 0.25, "under the decoy")
    parser.add_choice("--labels", ("chosen", "fixed"), "those of greatest loss, or those of the rows")
    parser.add_whole("--tries", 32, "clean rows from which one of greatest loss is looked for")
    parser.add_whole("--ascent", 10, "steps of that search")
    parser.add_number("--step", 0.1, "their length")
    parser.add_whole("--batch-size", 500, "of the model's steps")
    parser.add_number("--rate", 0.03, "of AdaGrad")
    parser.add_whole("--repeats", 2, "copies of each row")


def _add_pgan(commands: Any) -> None:
    parser = _command(commands, "pgan", "poison of a generator, against a discriminator and the learner at once")
    _add_epsilon(parser)
    parser.add_number("--alpha", 0.5, "weight of not being detected against damage, 0 to 1")
    parser.add_number("--share", 0.5, "of poison in the learner's steps")
    parser.add_whole("--epochs", 20, "of the game")
    parser.add_whole("--batch-size", 100, "of the game")
    parser.add_number("--step", 2e-4, "of both networks' Adam")
    parser.add_number("--follower-step", 0.1)


def _add_descent(parser: Any, *, steps: int, step: float) -> None:
    parser.add_whole("--steps", steps, "of Adam")
    parser.add_number("--step", step, "their length, in units of the rows")


def _add_unrolled(parser: Any, *, steps: int, batch: int | None) -> None:
    parser.add_whole("--unrolled", steps, "steps of training that are differentiated through")
    parser.add_number("--unrolled-step", 0.1, "their length")
    parser.add_argument("--unrolled-batch", type=whole, default=batch, metavar="N",
                        help=f"clean rows of such a step (default: {batch or 'all'})")  # fmt: skip
    parser.add_number("--validation", 0.3, "share of the training rows that only the attacker uses")


def _add_flip(commands: Any) -> None:
    parser = _command(commands, "flip", "clean rows with wrong labels: the baseline")
    _add_epsilon(parser)
    parser.add_choice("--rule", ("reverse", "random"))


def _add_epsilon(parser: Any) -> None:
    parser.add_epsilon()
    parser.add_argument("--defenses", metavar="LIST", help="comma list of defences behind which the poison is learned "
                        "too, each told how many rows are poison: trim, sever, spectral, clusters, self-influence, "
                        "l2, knn, ...")  # fmt: skip
    parser.add_argument("--trusted", type=number, metavar="F", help="share of the training rows, drawn at random, that "
                        "self-influence is told are clean: rows go by what they do to the loss of these")  # fmt: skip
    parser.add_argument("--no-picture", action="store_true", help="write no grid of poisoned images")
    parser.add_argument("--images", action="store_true", help="write the poison as PNG of 8 bits too, in folders by "
                        "class, and learn it again from there")  # fmt: skip


def _add_target(parser: Any) -> None:
    parser.add_argument("--radius", type=number, metavar="F", help="of GradPC's ball, absolute")
    parser.add_argument(
        "--relative-radius",
        type=number,
        metavar="F",
        help="of GradPC's ball, as a multiple of the length of the clean ones (default: 0.5)",
    )
    parser.add_whole("--target-steps", 30, "of GradPC")


def _command(commands: Any, name: str, text: str) -> Any:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    parser.add_logging()
    parser.add_argument(
        "data",
        metavar="DATA",
        help="digits (embedded), mnist (in the folder named by "
        "LINPOISON_DATA), two digits of either such as digits:3:8, or an .npz file with X_train, y_train, X_test, "
        "y_test, labels from 0",
    )
    parser.add_argument("--model", default="lr", metavar="NAME",
                        help="lr, nn, cnn, gc-nn, gc-cnn, lenet, resnet18, resnet18-thin, or package.module:function "
                        "of a row's shape and the number of classes (default: lr)")  # fmt: skip
    parser.add_argument("--loss", default="cross_entropy", metavar="NAME",
                        help="cross_entropy; or hinge, squared_hinge, smooth_hinge, logistic or squared, of data of "
                        "two classes and a model of one output (default: cross_entropy)")  # fmt: skip
    parser.add_argument("--output", metavar="NAME", help="part of what the model returns that is its scores: a key, "
                        "such as logits, or a place, such as 0 (default: it returns one tensor)")  # fmt: skip
    parser.add_number("--reg", 0.0, "L2 regulariser")
    parser.add_argument("--rows", type=whole, metavar="N", help="use only N training rows, drawn with the first seed")
    parser.add_whole("--epochs-train", 100)
    parser.add_whole("--batch-train", 1000)
    parser.add_number("--step-train", 0.1)
    parser.add_number("--momentum", 0.0)
    parser.add_whole("--copies-train", 1, "MaxUp: of so many perturbed copies of each row of a batch, that of greatest "
                     "loss is learned")  # fmt: skip
    parser.add_number("--noise-train", 0.0, "deviation of the normal numbers that are added to each copy")
    parser.add_argument("--training", metavar="NAME", help="package.module:function of a module, a dataset and a seed "
                        "that gives the module trained, in the place of SGD and its options above")  # fmt: skip
    parser.add_argument("--tensors", action="store_true", help="write what is learned, and targets, as safetensors")
    parser.add_argument("--seed", default="0", metavar="LIST", help="comma list of seeds, one run each (default: 0)")
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="cpu, cuda, ... (default: cuda if there is one)"
    )
    parser.add_choice("--precision", ("float32", "float64"), "of the module; sums are float64")
    parser.add_whole("--chunk", 2048, "rows at a time")
    parser.add_jobs("seeds at a time (default: 1)", default=1)
    middle = "in the middle of gc (adam, gradient; not lbfgs) and tgda too"
    parser.add_out(f"output folder; a rerun resumes, {middle} (default: deep-report)", default="deep-report")
    parser.add_output()
    return parser
