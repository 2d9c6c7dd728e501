"""Train, evaluate and use segmentation networks with EM attention."""

import argparse
import logging
import sys
from collections.abc import Sequence

from train.commands import run_evaluate, run_predict, run_train
from train.errors import UserError

MULTI_SCALE = "--config.evaluation.scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75)"
FLIP = "--config.evaluation.flip=true"
OVERRIDES = """\
Any field of the config can be set: --config.optimizer.learning_rate=0.01
configs/default.py explains them all.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(prog="main.py", description=__doc__)
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, epilog: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    train = add("train", "train a network, or go on where it was stopped", OVERRIDES)
    train.add_argument("--config", required=True, help="such as configs/shapes.py")
    train.add_argument("--workdir", required=True, help="folder of the run")

    evaluate = add("evaluate", "print the scores of a trained network", OVERRIDES)
    evaluate.add_argument("--split", help="another split than the config's")

    predict = add("predict", "write the masks of images", OVERRIDES)
    predict.add_argument("images", nargs="+", help="image files, or folders of them")
    predict.add_argument("--output", required=True, help="folder of the masks")
    for command in (evaluate, predict):
        command.add_argument("--workdir", required=True, help="folder of the run")
        command.add_argument(
            "--checkpoint", default="best", help="best (default), last or a step"
        )
        command.add_argument(
            "--multi_scale",
            action="append_const",
            dest="shorthands",
            const=MULTI_SCALE,
            help="sum the logits over six scales of the image",
        )
        command.add_argument(
            "--flip",
            action="append_const",
            dest="shorthands",
            const=FLIP,
            help="and of its mirror image",
        )
    return root


def log_to_stderr() -> None:
    """Show our own log lines as they are, and nothing of the libraries'."""
    log = logging.getLogger("ema_jax")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = [logging.StreamHandler()]
    logging.getLogger("absl").setLevel(logging.ERROR)


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    log_to_stderr()
    options, overrides = parser().parse_known_args(arguments)
    try:
        if options.command == "train":
            run_train(options.config, options.workdir, overrides)
            return 0
        overrides = [*(options.shorthands or ()), *overrides]
        if options.command == "evaluate":
            run_evaluate(options.workdir, options.checkpoint, options.split, overrides)
        else:
            run_predict(
                options.workdir,
                options.checkpoint,
                options.images,
                options.output,
                overrides,
            )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
