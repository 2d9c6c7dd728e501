"""`main.py demo`: a page on which a network can be tried."""

import logging
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ema_jax.segmenter import in_channels
from train.demo.examples import check_folder, read_examples, scenes
from train.demo.viewer import Viewer
from train.user.errors import UserError
from train.workdir.restore import Trained

if TYPE_CHECKING:
    from train.demo.server import Demo

LOCAL = ("localhost", "127.0.0.1", "::1", "[::1]")
GRACE = 3
"""Seconds that answers have when the server is stopped."""
MIN_SIDE = 32

log = logging.getLogger("ema_jax")


def demo(
    load: Callable[[], Trained],
    host: str,
    port: str,
    examples: str | None,
    max_side: str,
) -> None:
    """Serve the page until it is interrupted.

    Args:
        load: the network; called when all else is known to do.
        host: address to listen at.
        port: to listen at; 0 is any that is free.
        examples: a folder of images; None: those of the embedded data set, if it is
            its network.
        max_side: pixels of the longer side to which images are shrunk.

    Raises:
        UserError: an option that cannot be used, or a package that is missing.
    """
    number = whole("port", port, 0, 65535)
    side = whole("max_side", max_side, MIN_SIDE, 8192)
    if examples is not None:
        check_folder(examples)
    try:
        import uvicorn

        from train.demo.server import make_app
    except ImportError as error:
        raise UserError(
            f"the page needs {error.name}, which is not installed: "
            "pip install starlette uvicorn"
        ) from error
    with listen(host, number) as listening:
        page = make_demo(load(), examples, side)
        app = make_app(page, (*LOCAL, host) if is_local(host) else ("*",))
        config = uvicorn.Config(
            app,
            log_config=None,  # it would close the handlers of others
            log_level="error",
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
        print(f"{address(listening)} shows the page; Ctrl-C ends it", flush=True)
        uvicorn.Server(config).run(sockets=[listening])


def make_demo(trained: Trained, folder: str | None, max_side: int) -> "Demo":
    """What the page shows of a network, and its examples."""
    from train.demo.server import Demo

    viewer, name = Viewer(trained.predictor), trained.description.network.name
    channels, value_range = in_channels(trained.model), trained.value_range
    if folder is not None:
        photos = read_examples(folder, max_side, channels, value_range)
    else:
        photos = scenes(trained.classes) if channels == 3 else []
    if not photos:
        log.info("note: there are no examples; --examples FOLDER gives some")
    return Demo(viewer, name, photos, max_side, value_range)


def whole(option: str, text: str, low: int, high: int) -> int:
    """The number of an option; a UserError where it is none in the range.

    Example:
        >>> whole("port", "7860", 0, 65535)
        7860
    """
    if not text.isdecimal() or not low <= int(text) <= high:
        raise UserError(f"--{option}={text}: give a number from {low} to {high}")
    return int(text)


def is_local(host: str) -> bool:
    """Whether an address is of this machine alone.

    Example:
        >>> is_local("127.0.0.1"), is_local("localhost"), is_local("0.0.0.0")
        (True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address; a UserError where there can be none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return socket.create_server(found[0][4][:2], family=found[0][0])
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"--host={host} --port={port}: cannot be listened at ({reason}); choose "
            "another, or --port=0 for any that is free"
        ) from error


def address(listening: socket.socket) -> str:
    """What a browser opens."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
