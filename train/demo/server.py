"""The addresses of the page: what each takes, checks and answers."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ema_jax.segmenter import in_channels
from train.data.images import shrink
from train.data.photographs import Range
from train.demo.answers import Answer, Answers, as_png
from train.demo.gallery import Gallery
from train.demo.query import Query
from train.demo.reading import MAX_BYTES, Photo, read_photo, too_many_bytes
from train.demo.turns import GONE, Queue
from train.demo.viewer import Viewer
from train.evaluation.pictures import as_rgb
from train.user.errors import UserError

PAGE = Path(__file__).parent / "page"
READ_SECONDS = 60.0
"""For a client to send an image."""
READERS = 4
"""Clients that send one at a time."""
THUMBNAIL = 160
"""The longer side, in pixels."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; "
    "frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of the page: the browser asks nobody else for anything."""


class Demo:
    """The handlers of requests, and what they share."""

    def __init__(
        self,
        viewer: Viewer,
        title: str,
        examples: Sequence[Photo],
        max_side: int,
        value_range: Range | None = None,
    ):
        self.viewer, self.title, self.max_side = viewer, title, max_side
        self.examples = tuple(examples)
        self.value_range = value_range
        self.channels = in_channels(viewer.predictor.model)
        self.answers = Answers(viewer)
        self.gallery, self.queue = Gallery(), Queue()
        self.readers = asyncio.Semaphore(READERS)

    def routes(self) -> list[Route]:
        """Every address but the page's files."""
        answers = self.answers.by_name().items()
        return [
            Route("/network", self.network),
            Route("/pictures", self.upload, methods=["POST"]),
            Route("/examples/{index:int}", self.choose, methods=["POST"]),
            Route("/examples/{index:int}.png", self.thumbnail),
            *(
                Route(f"/pictures/{{key}}/{name}", self._in_turn(answer))
                for name, answer in answers
            ),
        ]

    async def network(self, request: Request) -> Response:
        """What the page says of the network, and offers."""
        viewer = self.viewer
        return JSONResponse(
            {
                "title": self.title,
                "classes": len(viewer.predictor.classes),
                "iterations": viewer.iterations,
                "max_iterations": viewer.max_iterations,
                "bases": viewer.num_bases,
                "max_bytes": MAX_BYTES,
                "too_large": too_many_bytes(),
                "examples": [photo.name for photo in self.examples],
            }
        )

    async def upload(self, request: Request) -> Response:
        """Take an image: the body is the file, `name` its name."""
        data = await self._body(request)
        name = request.query_params.get("name", "image")
        given = (name, data, self.max_side, self.channels, self.value_range)
        return self._hang(await self.queue.run(request, read_photo, *given))

    async def choose(self, request: Request) -> Response:
        """Take an example."""
        return self._hang(self._example(request))

    async def thumbnail(self, request: Request) -> Response:
        """An example, small."""
        small = shrink(self._example(request).pixels, THUMBNAIL)
        return as_png(as_rgb(small))

    def _in_turn(self, answer: Answer) -> Callable[..., Any]:
        """A handler that answers when it is its turn."""

        async def handle(request: Request) -> Response:
            photo = self.gallery.find(request.path_params["key"])
            if photo is None:
                raise HTTPException(404, "the image is no longer here; choose it again")
            query = Query(request.query_params)
            return await self.queue.run(request, answer, photo, query)

        return handle

    def _hang(self, photo: Photo) -> Response:
        """Keep a photo; says where it is found."""
        (height, width), original = photo.size, photo.original
        found = {
            "key": self.gallery.add(photo),
            "name": photo.name,
            "height": height,
            "width": width,
            "original": original,
        }
        return JSONResponse(found, 201)

    def _example(self, request: Request) -> Photo:
        index = request.path_params["index"]
        if index >= len(self.examples):
            raise HTTPException(404, f"there is no example {index}")
        return self.examples[index]

    async def _body(self, request: Request) -> bytes:
        """The body of a request, within bounds."""
        stated = request.headers.get("content-length", "0")
        data = bytearray()
        try:
            async with asyncio.timeout(READ_SECONDS), self.readers:
                if not stated.isdecimal() or int(stated) > MAX_BYTES:
                    raise HTTPException(413, too_many_bytes())
                async for chunk in request.stream():
                    data += chunk
                    if len(data) > MAX_BYTES:
                        raise HTTPException(413, too_many_bytes())
        except TimeoutError as error:
            raise HTTPException(408, "the image took too long to arrive") from error
        except ClientDisconnect as error:
            raise HTTPException(GONE, "the client went away") from error
        return bytes(data)


def make_app(demo: Demo, hosts: Sequence[str] = ("*",)) -> Starlette:
    """The page and what it asks for.

    Args:
        demo: of a network.
        hosts: names by which the server may be called.
    """
    files = Page(directory=PAGE, html=True)
    return Starlette(
        routes=[*demo.routes(), Mount("/", files)],
        exception_handlers={HTTPException: _refuse, UserError: _explain},
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
    )


class Page(StaticFiles):
    """The files of the page, which may ask this server alone."""

    def file_response(self, *given: Any, **options: Any) -> Response:
        """With `HEADERS`."""
        response = super().file_response(*given, **options)
        response.headers.update(HEADERS)
        return response


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


async def _explain(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)
