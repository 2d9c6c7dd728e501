"""What the page asks of a photo: its pictures and tables."""

from collections.abc import Callable
from dataclasses import asdict

import jax.numpy as jnp
import numpy as np
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from ema_jax.responsibilities import at_image_size
from train.demo import drawings
from train.demo.query import Query
from train.demo.reading import Photo
from train.demo.viewer import Viewer
from train.evaluation.pictures import as_rgb
from train.evaluation.predict import most_telling

STRONGEST = 5
"""Bases that are listed of a pixel."""

Answer = Callable[[Photo, Query], Response]


class Answers:
    """What a network says of a photo, in the form that is asked for."""

    def __init__(self, viewer: Viewer):
        self._viewer = viewer
        self._classes = viewer.predictor.classes
        self._stride = viewer.predictor.model.backbone.output_stride

    def by_name(self) -> dict[str, Answer]:
        """The answers by the last part of their addresses."""
        return {
            "image.png": self.image,
            "overlay.png": self.overlay,
            "mask.png": self.mask,
            "confidence.png": self.confidence,
            "spotlight.png": self.spotlight,
            "basis.png": self.basis,
            "legend": self.legend,
            "bases": self.bases,
        }

    def image(self, photo: Photo, ask: Query) -> Response:
        """The image itself."""
        return as_png(as_rgb(photo.pixels))

    def overlay(self, photo: Photo, ask: Query) -> Response:
        """The image under the colours of its classes."""
        strength = ask.number("strength", 0, 1, 0.5)
        palette = self._classes.palette
        labels = self._labels(photo, ask)
        return as_png(drawings.draw_overlay(photo.pixels, labels, palette, strength))

    def mask(self, photo: Photo, ask: Query) -> Response:
        """Class indices, with a palette."""
        palette = self._classes.palette
        return as_file(drawings.index_png(self._labels(photo, ask), palette))

    def confidence(self, photo: Photo, ask: Query) -> Response:
        """The probability of the class of each pixel."""
        found = self._viewer.predict(photo, self._iterations(ask)).confidence
        return as_png(drawings.draw_confidence(found))

    def spotlight(self, photo: Photo, ask: Query) -> Response:
        """The pixels of one class."""
        label = ask.whole("label", 0, 255)
        labels = self._labels(photo, ask)
        return as_png(drawings.draw_spotlight(photo.pixels, labels, label))

    def basis(self, photo: Photo, ask: Query) -> Response:
        """What one basis explains, after an iteration; counted from 1."""
        maps = self._maps(photo, ask)
        basis = ask.whole("basis", 0, maps.shape[-1] - 1)
        step = ask.whole("step", 1, len(maps), len(maps))
        chosen = jnp.asarray(maps[step - 1, ..., basis, None])
        large = np.asarray(at_image_size(chosen, photo.size, self._stride))[..., 0]
        most = float(maps[..., basis].max())
        return as_png(drawings.draw_basis(photo.pixels, large, most))

    def legend(self, photo: Photo, ask: Query) -> Response:
        """The classes, their shares and confidence."""
        found = self._viewer.predict(photo, self._iterations(ask))
        labels = self._labels(photo, ask)
        entries = drawings.legend(labels, found.confidence, self._classes)
        mean = float(found.confidence.mean())
        return JSONResponse(
            {"classes": [asdict(entry) for entry in entries], "confidence": mean}
        )

    def bases(self, photo: Photo, ask: Query) -> Response:
        """The strongest bases at a pixel (y, x), or those that tell most."""
        maps = self._maps(photo, ask)
        shares = drawings.strongest_shares(maps[-1])
        if not ask.has("y"):
            chosen, here = most_telling(maps), None
        else:
            height, width = photo.size
            pixel = ask.whole("y", 0, height - 1), ask.whole("x", 0, width - 1)
            place = drawings.feature_at(pixel, maps.shape[1:3], self._stride)
            here = maps[-1][place]
            chosen = np.argsort(-here)[:STRONGEST].tolist()
        return JSONResponse(
            [
                {
                    "basis": basis,
                    "share": float(shares[basis]),
                    "here": None if here is None else float(here[basis]),
                }
                for basis in chosen
            ]
        )

    def _iterations(self, ask: Query) -> int:
        """That are asked for; 0 for a network without EM attention."""
        viewer = self._viewer
        if not viewer.iterations:
            return 0
        return ask.whole("iterations", 1, viewer.max_iterations, viewer.iterations)

    def _labels(self, photo: Photo, ask: Query) -> np.ndarray:
        """The mask, 255 below the threshold that is asked for."""
        found = self._viewer.predict(photo, self._iterations(ask))
        threshold = ask.number("threshold", 0, 1, 0)
        return drawings.sure_labels(found.mask, found.confidence, threshold)

    def _maps(self, photo: Photo, ask: Query) -> np.ndarray:
        """Responsibilities (T, h, w, K)."""
        if not self._viewer.iterations:
            raise HTTPException(404, "the network has no EM attention")
        return self._viewer.responsibilities(photo, self._iterations(ask))


def as_png(picture: np.ndarray) -> Response:
    """A picture, RGB (H, W, 3)."""
    return as_file(drawings.png(picture))


def as_file(data: bytes) -> Response:
    """A PNG, which does not change under its address."""
    headers = {"Cache-Control": "private, max-age=600"}
    return Response(data, media_type="image/png", headers=headers)
