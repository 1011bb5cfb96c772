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
    parser.add_argument("--steps", type=whole, default=1000, metavar="N", help="steps of the optimiser (default: 1000)")
    parser.add_argument("--step", type=number, metavar="F", help="their length, in units of the rows (adam: 0.1; "
                        "gradient: found by trial; lbfgs has none)")  # fmt: skip
    parser.add_argument("--params", metavar="NAMES", help="comma list of parameters to cancel; the published code "
                        "cancels the first tensor only (default: all)")  # fmt: skip
    parser.add_argument("--free", action="store_true", help="poison may lie anywhere, not only where pixels do")


def _add_tgda(commands: Any) -> None:
    parser = _command(commands, "tgda", "total gradient descent ascent: poison against what a learner becomes")
    _add_epsilon(parser)
    parser.add_argument("--leader", choices=("network", "pixels"), default="network",
                        help="what is optimised: an autoencoder's weights, or the rows (default: network)")  # fmt: skip
    parser.add_argument("--pretrain", type=whole, default=10, metavar="N",
                        help="epochs of the autoencoder before the game; 0 for none (default: 10)")  # fmt: skip
    parser.add_argument("--epochs", type=whole, default=200, metavar="N", help="of the game (default: 200)")
    parser.add_argument("--leader-steps", type=whole, default=1, metavar="M", help="in each turn (default: 1)")
    parser.add_argument("--follower-steps", type=whole, default=20, metavar="N", help="in each turn (default: 20)")
    parser.add_argument("--leader-step", type=number, default=0.01, metavar="F", help="default: 0.01")
    parser.add_argument("--follower-precision", choices=("ieee", "tf32", "bf16"), default="ieee",
                        help="of the follower's products, not of what the leader solves (default: ieee)")  # fmt: skip
    parser.add_argument("--follower-step", type=number, default=0.1, metavar="F", help="default: 0.1")
    parser.add_argument("--rule", choices=("ascent", "adam"), default="ascent", help="of the leader (default: ascent)")
    parser.add_argument("--batch-size", type=whole, default=1000, metavar="N", help="of the game (default: 1000)")
    parser.add_argument("--validation", type=number, default=0.3, metavar="F",
                        help="share of the training rows that only the attacker uses (default: 0.3)")  # fmt: skip
    parser.add_argument("--solver", choices=("minres", "cg", "gauss-newton", "normal-cg"), default="minres",
                        help="of the Hessian: cg is for a convex objective, gauss-newton leaves out the network's own "
                        "curvature, normal-cg is the published one, on its square (default: minres)")  # fmt: skip
    parser.add_argument("--solver-steps", type=whole, default=16, metavar="N", help="its iterations (default: 16)")
    parser.add_argument("--damping", type=number, default=0.01, metavar="F",
                        help="of the Hessian, in units of its mean curvature (default: 0.01)")  # fmt: skip
    parser.add_argument("--past-sever", type=number, metavar="F", help="weight of what SEVER would see of the poison "
                        "against damage (default: it is not looked at)")  # fmt: skip
    parser.add_argument("--order", choices=("attacker", "defender"), default="attacker", help="who moves first")
    parser.add_argument("--start", choices=("warm", "cold"), default="warm", help="of the follower in each turn")
    parser.add_argument("--game", choices=("non-zero-sum", "zero-sum"), default="non-zero-sum", help="what it is about")


def _add_gradpc(commands: Any) -> None:
    text = "parameters to plant: their accuracy, and the least poison they need where the last layer proves any"
    _add_target(_command(commands, "gradpc", text))


def _add_back_gradient(commands: Any) -> None:
    parser = _command(commands, "back-gradient", "poison by the derivative through all steps of one training")
    _add_epsilon(parser)
    _add_descent(parser, steps=30, step=0.05)
    _add_unrolled(parser, steps=100, batch=None)
    parser.add_argument("--start", choices=("scratch", "learned"), default="scratch",
                        help="of the unrolled training: drawn anew, or learned (default: scratch)")  # fmt: skip
    parser.add_argument("--labels", choices=("flipped", "clean"), default="flipped", help="default: flipped")


def _add_metapoison(commands: Any) -> None:
    parser = _command(commands, "metapoison", "poison through a few steps of an ensemble of models of all ages")
    _add_epsilon(parser)
    _add_descent(parser, steps=60, step=0.02)
    _add_unrolled(parser, steps=2, batch=200)
    parser.add_argument("--signed", action="store_true", help="move each pixel by the same length")
    parser.add_argument("--models", type=whole, default=24, metavar="N", help="of the ensemble (default: 24)")
    parser.add_argument("--epochs", type=whole, default=20, metavar="N",
                        help="after which a model of the ensemble begins anew (default: 20)")  # fmt: skip
    parser.add_argument("--near", type=number, metavar="F",
                        help="most that a pixel may change (default: no bound, 0 with --colour)")  # fmt: skip
    parser.add_argument("--colour", type=number, metavar="F",
                        help="beside --near, most that a whole colour may change (default: 0)")  # fmt: skip
    parser.add_argument("--target", metavar="LIST", help="comma list of test rows, from 0, to be misclassified and "
                        "measured; the attacker judges by them and not by --validation (default: all test rows, which "
                        "the attacker does not see)")  # fmt: skip
    parser.add_argument("--labels", choices=("clean", "flipped"), default="clean", help="default: clean")


def _add_min_max(commands: Any) -> None:
    parser = _command(commands, "min-max", "rows of greatest loss by turns with steps of the model")
    _add_epsilon(parser)
    parser.add_argument("--decoy", choices=("none", "relabeled", "gradpc"), default="none", help="parameters under "
                        "which poison looks right, the improved attack of Koh et al. (default: none)")  # fmt: skip
    parser.add_argument("--most-loss", type=number, default=0.25, metavar="F", help="under the decoy (default: 0.25)")
    parser.add_argument("--labels", choices=("chosen", "fixed"), default="chosen",
                        help="those of greatest loss, or those of the rows (default: chosen)")  # fmt: skip
    parser.add_argument("--tries", type=whole, default=32, metavar="N",
                        help="clean rows from which one of greatest loss is looked for (default: 32)")  # fmt: skip
    parser.add_argument("--ascent", type=whole, default=10, metavar="N", help="steps of that search (default: 10)")
    parser.add_argument("--step", type=number, default=0.1, metavar="F", help="their length (default: 0.1)")
    parser.add_argument(
        "--batch-size", type=whole, default=500, metavar="N", help="of the model's steps (default: 500)"
    )
    parser.add_argument("--rate", type=number, default=0.03, metavar="F", help="of AdaGrad (default: 0.03)")
    parser.add_argument("--repeats", type=whole, default=2, metavar="N", help="copies of each row (default: 2)")


def _add_pgan(commands: Any) -> None:
    parser = _command(commands, "pgan", "poison of a generator, against a discriminator and the learner at once")
    _add_epsilon(parser)
    parser.add_argument("--alpha", type=number, default=0.5, metavar="F",
                        help="weight of not being detected against damage, 0 to 1 (default: 0.5)")  # fmt: skip
    parser.add_argument("--share", type=number, default=0.5, metavar="F",
                        help="of poison in the learner's steps (default: 0.5)")  # fmt: skip
    parser.add_argument("--epochs", type=whole, default=20, metavar="N", help="of the game (default: 20)")
    parser.add_argument("--batch-size", type=whole, default=100, metavar="N", help="of the game (default: 100)")
    parser.add_argument("--step", type=number, default=2e-4, metavar="F", help="of both networks' Adam (default: 2e-4)")
    parser.add_argument("--follower-step", type=number, default=0.1, metavar="F", help="default: 0.1")


def _add_descent(parser: Any, *, steps: int, step: float) -> None:
    parser.add_argument("--steps", type=whole, default=steps, metavar="N", help=f"of Adam (default: {steps})")
    parser.add_argument("--step", type=number, default=step, metavar="F",
                        help=f"their length, in units of the rows (default: {step:g})")  # fmt: skip


def _add_unrolled(parser: Any, *, steps: int, batch: int | None) -> None:
    parser.add_argument("--unrolled", type=whole, default=steps, metavar="N",
                        help=f"steps of training that are differentiated through (default: {steps})")  # fmt: skip
    parser.add_argument("--unrolled-step", type=number, default=0.1, metavar="F", help="their length (default: 0.1)")
    parser.add_argument("--unrolled-batch", type=whole, default=batch, metavar="N",
                        help=f"clean rows of such a step (default: {batch or 'all'})")  # fmt: skip
    parser.add_argument("--validation", type=number, default=0.3, metavar="F",
                        help="share of the training rows that only the attacker uses (default: 0.3)")  # fmt: skip


def _add_flip(commands: Any) -> None:
    parser = _command(commands, "flip", "clean rows with wrong labels: the baseline")
    _add_epsilon(parser)
    parser.add_argument("--rule", choices=("reverse", "random"), default="reverse", help="default: reverse")


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
    parser.add_argument("--target-steps", type=whole, default=30, metavar="N", help="of GradPC (default: 30)")


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
    parser.add_argument("--reg", type=number, default=0.0, metavar="F", help="L2 regulariser (default: 0)")
    parser.add_argument("--rows", type=whole, metavar="N", help="use only N training rows, drawn with the first seed")
    parser.add_argument("--epochs-train", type=whole, default=100, metavar="N", help="default: 100")
    parser.add_argument("--batch-train", type=whole, default=1000, metavar="N", help="default: 1000")
    parser.add_argument("--step-train", type=number, default=0.1, metavar="F", help="default: 0.1")
    parser.add_argument("--momentum", type=number, default=0.0, metavar="F", help="default: 0")
    parser.add_argument("--copies-train", type=whole, default=1, metavar="N", help="MaxUp: of so many perturbed "
                        "copies of each row of a batch, that of greatest loss is learned (default: 1)")  # fmt: skip
    parser.add_argument("--noise-train", type=number, default=0.0, metavar="F",
                        help="deviation of the normal numbers that are added to each copy (default: 0)")  # fmt: skip
    parser.add_argument("--training", metavar="NAME", help="package.module:function of a module, a dataset and a seed "
                        "that gives the module trained, in the place of SGD and its options above")  # fmt: skip
    parser.add_argument("--tensors", action="store_true", help="write what is learned, and targets, as safetensors")
    parser.add_argument("--seed", default="0", metavar="LIST", help="comma list of seeds, one run each (default: 0)")
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="cpu, cuda, ... (default: cuda if there is one)"
    )
    parser.add_argument("--precision", choices=("float32", "float64"), default="float32",
                        help="of the module; sums are float64 (default: float32)")  # fmt: skip
    parser.add_argument("--chunk", type=whole, default=2048, metavar="N", help="rows at a time (default: 2048)")
    parser.add_jobs("seeds at a time (default: 1)", default=1)
    middle = "in the middle of gc (adam, gradient; not lbfgs) and tgda too"
    parser.add_out(f"output folder; a rerun resumes, {middle} (default: deep-report)", default="deep-report")
    parser.add_output()
    return parser
