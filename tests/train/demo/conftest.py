"""Networks under the page: of three convolutions, and one that is known by heart."""

import io
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from ema_jax import EMAU, Predictor
from ema_jax.classes import Classes
from ema_jax.predictor import Prediction
from ema_jax.segmenter import init_variables
from tests.micro import NANO
from train.demo.reading import Photo
from train.demo.server import Demo, make_app
from train.demo.viewer import Viewer

COLORS = [[10, 20, 30], [200, 0, 0], [0, 90, 250]]
CLASSES = Classes(("wall", "box", "disc"), np.array(COLORS, np.uint8))


def png(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def squares(size: tuple[int, int], side: int = 8) -> np.ndarray:
    """Labels (H, W) of squares, each of a random class."""
    rows, columns = (-(-length // side) for length in size)
    labels = np.random.default_rng(5).integers(0, 3, (rows, columns), dtype=np.uint8)
    return labels.repeat(side, 0).repeat(side, 1)[: size[0], : size[1]]


@dataclass
class Heart:
    """A predictor: red says the class, green how sure it is; a basis for each class."""

    classes: Classes = CLASSES
    model: object = field(
        default_factory=lambda: SimpleNamespace(
            backbone=SimpleNamespace(output_stride=8, in_channels=3),
            head=SimpleNamespace(context=EMAU(num_bases=3)),
        )
    )
    preprocessing: object = field(
        default_factory=lambda: SimpleNamespace(value_range=None)
    )

    def __call__(self, image):
        sure = image[..., 1].astype(np.float32) / 255
        return Prediction(image[..., 0], sure, self.classes.palette, lambda: None)

    def feature_responsibilities(self, image):
        """One at the class of a feature's pixel, or of the nearest in the image."""
        rows, columns = (
            np.minimum(np.arange(0, side + 7, 8), side - 1) for side in image.shape[:2]
        )
        return np.eye(3, dtype=np.float32)[image[rows][:, columns, 0]][None].repeat(
            3, 0
        )


@pytest.fixture(scope="module")
def network():
    """Makes predictors of a number of EM iterations."""
    model = NANO(3)
    variables = init_variables(model, seed=3)
    return lambda iterations: Predictor(
        *(model, variables, CLASSES), num_iters=iterations, canvas_multiple=64
    )


@pytest.fixture
def client():
    """Asks the page over `Heart`, which has one example."""
    example = Photo("example", np.zeros((9, 300, 3), np.uint8), (9, 300))
    page = Demo(Viewer(lambda iterations: Heart()), "heart", [example], max_side=64)
    with TestClient(make_app(page), raise_server_exceptions=False) as client:
        client.page = page
        yield client
