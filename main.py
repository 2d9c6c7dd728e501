"""Train, evaluate and use segmentation networks with EM attention."""

import argparse
import logging
import sys
from collections.abc import Sequence

from train.commands import load, run_convert, run_evaluate, run_predict, run_train
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
        add_network_options(command)

    convert = add("convert", "write weights as safetensors, by the released names")
    convert.add_argument("source", help="a .pth, .pt or .safetensors, or a workdir")
    convert.add_argument("output", help="a .safetensors to write")
    return root


def add_network_options(command: argparse.ArgumentParser) -> None:
    """Which network, and how it sees an image."""
    network = command.add_mutually_exclusive_group(required=True)
    network.add_argument("--workdir", help="folder of the run")
    network.add_argument("--weights", help="or a file of weights, with --config")
    command.add_argument("--config", help="the config that the weights fit")
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
        help="sum the logits with those of the mirror image",
    )


def log_to_stderr() -> None:
    """Show our own log lines as they are, and nothing of the libraries'."""
    log = logging.getLogger("ema_jax")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = [logging.StreamHandler()]
    logging.getLogger("absl").setLevel(logging.ERROR)


def run(options: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Call the function of the command."""
    if options.command == "train":
        return run_train(options.config, options.workdir, overrides)
    if options.command == "convert":
        if overrides:
            raise UserError(f"{overrides[0]} is no option of convert; see --help")
        return run_convert(options.source, options.output)
    trained = load(
        options.workdir,
        options.checkpoint,
        options.weights,
        options.config,
        [*(options.shorthands or ()), *overrides],
    )
    if options.command == "evaluate":
        return run_evaluate(trained, options.split)
    return run_predict(trained, options.images, options.output)


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    log_to_stderr()
    options, overrides = parser().parse_known_args(arguments)
    try:
        run(options, overrides)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
