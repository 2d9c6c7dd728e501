"""Train, evaluate and use segmentation networks with EM attention."""

import argparse
import gc
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from train.devices.pages import take_large_pages

if __name__ == "__main__":  # before all that takes time to import
    take_large_pages()
    gc.disable()  # what is imported lives on: a tenth of a start went to looking at it

try:
    from train.commands import (
        check_data_named,
        load,
        run_ablate,
        run_aot,
        run_convert,
        run_data,
        run_demo,
        run_evaluate,
        run_export,
        run_predict,
        run_profile,
        run_train,
        run_weights,
    )
    from train.configuration.config import join_overrides
    from train.devices.distributed import PREEMPTED, end, initialize
    from train.user.console import log_to_stderr
    from train.user.errors import Preempted, UserError
    from train.user.files import is_remote
    from train.user.programs import keep_programs
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] in ("train", "configs", "ema_jax"):
        raise
    raise SystemExit(
        f"main.py: this Python ({sys.executable}) has no {error.name}; after "
        "`make train` run .venv/bin/python main.py, or: pip install -r requirements.txt"
    ) from None

MULTI_SCALE = "--config.evaluation.scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75)"
FLIP = "--config.evaluation.flip=true"
WEB = ("http://", "https://", "ftp://", "s3://")
OVERRIDES = """\
Any field of the config can be set: --config.optimizer.learning_rate=0.01
configs/default.py explains them all.
"""
ABLATIONS = """\
The same command goes on where it was stopped. configs/ablations/default.py explains its
fields, such as --config.seeds=(0,1,2); any other field is set in every training.
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
    add_path(train, "--workdir", required=True, help="folder of the run")

    ablate = add("ablate", "train and compare variants, over seeds", ABLATIONS)
    ablate.add_argument("--config", required=True, help="of configs/ablations/")
    add_path(ablate, "--workdir", required=True, help="folder of all its runs")
    ablate.add_argument(
        "--jobs", type=int, default=1, help="trainings at a time, on a CPU (default 1)"
    )

    data = add("data", "look at the data before training on them", OVERRIDES)
    data.add_argument("--config", required=True, help="such as configs/folder.py")
    add_path(data, "--output", help="folder for pictures of the splits")

    evaluate = add("evaluate", "print the scores of a trained network", OVERRIDES)
    evaluate.add_argument("--split", help="another split than the config's")
    add_path(
        evaluate,
        "--output",
        help="folder for the scores of each image, the worst images and the confusion",
    )

    predict = add("predict", "write the masks of images", OVERRIDES)
    predict.add_argument("images", nargs="+", help="image files, or folders of them")
    add_path(predict, "--output", required=True, help="folder of the masks")
    predict.add_argument(
        "--confidence", action="store_true", help="the probabilities too, in grey"
    )
    predict.add_argument(
        "--bases",
        help="what bases explain, by EM iteration: numbers as 3,17 or 'telling'",
    )
    demo = add("demo", "serve a page on which a network can be tried", OVERRIDES)
    add_page_options(demo)
    for command in (evaluate, predict, demo):
        add_network_options(command)

    for command in (train, evaluate):
        add_cluster_options(command)

    add_profile_options(add("profile", "print what the networks cost"))
    add_aot_options(
        add("aot", "compile a training for TPUs that are not there", OVERRIDES)
    )

    convert = add("convert", "write a network, or weights alone, as one safetensors")
    add_path(convert, "source", help="a .pth, .pt or .safetensors, or a workdir")
    add_path(convert, "output", help="a .safetensors to write")
    convert.add_argument(
        "--config", help="that foreign weights fit, for the file to say their network"
    )
    convert.add_argument(
        "--backbone",
        action="store_true",
        help="the backbone alone, from which a training of any model can start",
    )
    convert.add_argument(
        "--half", action="store_true", help="in float16: half as large"
    )
    add_export_options(
        add("export", "write a network as one file that is used without this library")
    )
    add("weights", "list the weights that are known by name, and which are here")
    return root


def add_path(command: argparse._ActionsContainer, *names: str, **options: Any) -> None:
    """A path that is not empty; ~ is the home folder, also behind an equals sign.

    `a/../b` is `b`, whether or not there is an `a`.
    """

    def path(text: str) -> str:
        if not text:
            raise argparse.ArgumentTypeError("is empty; give a path")
        text = os.path.expanduser(text)
        return text if is_remote(text) else os.path.normpath(text)

    command.add_argument(*names, type=path, **options)


def add_network_options(command: argparse.ArgumentParser) -> None:
    """Which network, and how it sees an image."""
    network = command.add_mutually_exclusive_group(required=True)
    add_path(network, "--workdir", help="folder of the run")
    add_path(network, "--weights", "--model", help="or a file of weights")
    command.add_argument("--config", help="that the weights fit, if they do not say it")
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


def add_page_options(command: argparse.ArgumentParser) -> None:
    """Where the page is served, and what lies on it."""
    command.add_argument(
        "--host", default="127.0.0.1", help="default 127.0.0.1: this machine alone"
    )
    command.add_argument("--port", default="7860", help="default 7860; 0: any free one")
    add_path(command, "--examples", help="folder of images to choose from")
    command.add_argument(
        "--max_side",
        default="1024",
        help="images are shrunk to this longer side (default 1024)",
    )


def add_export_options(command: argparse.ArgumentParser) -> None:
    """Which network, in which file, and what it takes and gives."""
    add_path(command, "source", help="a workdir, or a file of weights")
    add_path(command, "file", metavar="OUT", help="to write; it must not exist")
    command.add_argument("--format", required=True, help="stablehlo, onnx or tflite")
    command.add_argument(
        "--size", required=True, help="HEIGHTxWIDTH of the images, such as 513x513"
    )
    command.add_argument(
        "--output", default="masks", help="masks with confidence (default), or logits"
    )
    command.add_argument("--config", help="that the weights fit, if they do not say it")
    command.add_argument(
        "--checkpoint", default="best", help="best (default), last or a step"
    )


def add_cluster_options(command: argparse.ArgumentParser) -> None:
    """Which processes work together, where the environment does not say it."""
    cluster = command.add_argument_group("one of several processes")
    cluster.add_argument("--coordinator", help="HOST:PORT of the first process")
    cluster.add_argument("--num_processes", type=int, help="how many there are")
    cluster.add_argument("--process_id", type=int, help="which one this is, from 0")


def add_profile_options(command: argparse.ArgumentParser) -> None:
    """What is counted and measured."""
    for option, text in {
        "models": "names with commas between (default: all with ResNet-101); with "
        "--growth such as em,psa (default: all modules)",
        "size": "height and width of the image (default 513)",
        "batch": "images of a forward pass and of an update (default 1)",
        "output_stride": "8 (default), 16 or 32",
        "device": "cpu, gpu or tpu (default: the best there is)",
        "dtype": "float32 (default) or bfloat16",
        "measure": "all (default); memory, without times; or nothing: only count",
        "runs": "timed samples of each program (default 10)",
        "output": "folder for the tables as text, CSV and Markdown, and the plot",
        "sides": "with --growth: heights of the features (default 33,65,129,257)",
        "channels": "with --growth: of the features (default 512)",
    }.items():
        command.add_argument(f"--{option}", help=text)
    command.add_argument(
        "--growth",
        action="store_true",
        help="the context modules alone, against the number of pixels",
    )


def add_aot_options(command: argparse.ArgumentParser) -> None:
    """For which TPUs, and what the config leaves open."""
    command.add_argument("--topology", required=True, help="such as v5e:4x4")
    command.add_argument("--config", required=True, help="such as configs/voc.py")
    for option, text in {
        "batch_per_chip": "images of an update on each chip, or on each "
        "config.mesh.space of them; sets config.batch_size",
        "num_classes": "default: of the data set, and 21 for a folder",
        "output": "folder for the tables as text, CSV and Markdown",
        "hlo": "file for the compiled program as text",
    }.items():
        command.add_argument(f"--{option}", help=text)


def run(options: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Call the function of the command."""
    if options.command in ("train", "evaluate", "predict"):
        keep_programs()
    if options.command in ("train", "evaluate"):
        initialize(options.coordinator, options.num_processes, options.process_id)
    if options.command == "train":
        return run_train(options.config, options.workdir, overrides)
    if options.command == "ablate":
        return run_ablate(options.config, options.workdir, overrides, options.jobs)
    if options.command == "data":
        return run_data(options.config, overrides, options.output)
    if options.command == "aot":
        return run_aot(options, overrides)
    if options.command in ("convert", "export", "profile", "weights") and overrides:
        command = options.command
        raise UserError(f"{overrides[0]} is no option of {command}; see --help")
    if options.command == "weights":
        return run_weights()
    if options.command == "export":
        return run_export(options)
    if options.command == "profile":
        return run_profile(options)
    if options.command == "convert":
        return run_convert(
            options.source,
            options.output,
            options.config,
            backbone=options.backbone,
            half=options.half,
        )
    load_network = partial(
        load,
        options.workdir,
        options.checkpoint,
        options.weights,
        options.config,
        [*(options.shorthands or ()), *overrides],
    )
    if options.command == "demo":
        return run_demo(options, load_network)
    trained = load_network()
    if options.command == "evaluate":
        check_data_named(options.weights, options.config, overrides)
        return run_evaluate(trained, options.split, options.output)
    return run_predict(
        trained, options.images, options.output, options.confidence, options.bases
    )


def check_local(arguments: Sequence[str]) -> None:
    """Raise a UserError that names an argument which is an address of the web."""
    for argument in arguments:
        name, _, value = argument.rpartition("=")
        if value.startswith(WEB):
            raise UserError(
                f"{argument}: nothing is read from the web; fetch it, and give "
                f"{name}{'=' if name else ''}PATH of what is there"
            )


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    log_to_stderr()
    options, overrides = parser().parse_known_args(join_overrides(arguments))
    try:
        check_local(arguments)
        run(options, overrides)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Preempted as stop:
        logging.getLogger("ema_jax").info(stop)
        return PREEMPTED
    except KeyboardInterrupt:
        resumes = options.command in ("train", "ablate")
        goes_on = "; the same command goes on from the last checkpoint"
        print(f"interrupted{goes_on if resumes else ''}")
        return 130
    return 0


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    end(lambda: main(sys.argv[1:]))
