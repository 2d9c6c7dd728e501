"""From pictures to masks: a trained network, and what its use needs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from numpy.typing import NDArray

from ema_jax.canvas import CanvasBatch, canvas_shape, plan, stack
from ema_jax.classes import Classes, voc_palette
from ema_jax.inference import Inference
from ema_jax.models import MODELS, Network
from ema_jax.networks import with_eval_iters, with_eval_window
from ema_jax.options import check_count, check_option
from ema_jax.pixels import as_images, as_pixels
from ema_jax.preprocessing import Preprocessing
from ema_jax.responsibilities import at_image_size, responsibility_maps
from ema_jax.segmenter import Segmenter, preprocessing_of, variable_shapes
from ema_jax.weights import check_shapes, count_classes, load_model

Progress = Callable[[int, int], Any]
"""(images done, images in all)."""


class Images(Protocol):
    """A length, and an image (H, W, C) uint8 for every index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of an image.

    Attributes:
        mask: the class of each pixel, uint8 (H, W).
        confidence: its probability, float32 (H, W).
    """

    mask: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    _palette: NDArray[np.uint8]
    _ask: Callable[[], NDArray[np.float32]]

    @property
    def color(self) -> NDArray[np.uint8]:
        """The mask in the colours of its classes, uint8 (H, W, 3)."""
        return self._palette[self.mask]

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """Of each class, float32 (H, W, num_classes); made when first asked for."""
        return self._ask()


class Predictor:
    """A trained network that takes pictures.

    Pictures of many sizes share a few compiled programs: each lies on the smallest
    canvas whose sides are `canvas_multiple·k + 1`, and gets what it gets alone, padded
    with zeros to a multiple of the output stride plus one.

    Attributes:
        model, variables: the network.
        classes: names and colours.
        preprocessing: what its weights expect.

    Example:
        >>> from ema_jax.segmenter import init_variables
        >>> model = MODELS["emanet_tiny"](num_classes=3)
        >>> variables = init_variables(model, seed=0)
        >>> predictor = Predictor(model, variables, canvas_multiple=32)
        >>> prediction = predictor(np.zeros((20, 30, 3), np.uint8))
        >>> prediction.mask.shape, prediction.probabilities.shape
        ((20, 30), (20, 30, 3))
    """

    def __init__(
        self,
        model: Segmenter,
        variables: Mapping[str, Any],
        classes: Classes | None = None,
        preprocessing: Preprocessing | None = None,
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window: tuple[int, int] | None = None,
        num_iters: int | None = None,
        eval_window: tuple[int, int] | None = None,
        batch_size: int = 1,
        canvas_multiple: int = 128,
        sharding: NamedSharding | None = None,
    ):
        """Check that all fits; nothing is compiled yet.

        Args:
            model: the network.
            variables: {"params": …, "batch_stats": …} of it.
            classes: that it tells apart; without names, in VOC's colours by default.
            preprocessing: that its weights expect; None: the network's own.
            scales, flip, window, sharding: see `Inference`.
            num_iters: EM iterations, other than the network's own.
            eval_window: EM over windows of the features, of this height and width;
                see `EMAU`. None: as the network has it.
            batch_size: images of one program; they share a canvas.
            canvas_multiple: granularity of the canvases, a multiple of the output
                stride: finer ones waste less and compile more.

        Raises:
            ValueError: variables of another network, classes of another number, or an
                option out of its range.
        """
        if num_iters is not None:
            model = with_eval_iters(model, num_iters)
        if eval_window is not None:
            model = with_eval_window(model, eval_window)
        check_shapes(variables, variable_shapes(model))
        count = model.head.num_classes
        if classes is not None and len(classes) != count:
            raise ValueError(f"{len(classes)} classes do not fit the model's {count}")
        everywhere = None
        if sharding is not None:
            everywhere = NamedSharding(sharding.mesh, PartitionSpec())
        check_count("batch_size", batch_size)
        _check_multiple(canvas_multiple, model.backbone.output_stride)
        self.model, self.variables = model, jax.device_put(dict(variables), everywhere)
        self.classes = classes or Classes((), voc_palette(count))
        self.preprocessing = preprocessing or preprocessing_of(model)
        self._batch_size, self._multiple = batch_size, canvas_multiple
        self._inference = Inference(
            model,
            preprocessing,
            scales=scales,
            flip=flip,
            window=window,
            sharding=sharding,
        )

    @classmethod
    def load(
        cls,
        path: str | Path,
        model: str | Segmenter | None = None,
        classes: Classes | None = None,
        preprocessing: Preprocessing | None = None,
        *,
        allow_non_finite: bool = False,
        **options: Any,
    ) -> "Predictor":
        """A predictor from one file.

        Args:
            path: what `save_model` or `main.py convert` wrote; with `model`, any file
                that `load_torch` reads.
            model: a name of `MODELS`, or a network; needed where the file says none.
            classes, preprocessing: in place of those that the file says.
            allow_non_finite: take weights with NaN or infinity as they are.
            **options: of `Predictor`.

        Raises:
            ValueError: a file that does not say its network, is damaged, newer than
                this library, of another network than `model`, or holds weights that
                are not finite.
            OSError: it cannot be read.
            ImportError: safetensors is not installed.

        Example:
            >>> predictor = Predictor.load("model.safetensors")  # doctest: +SKIP
            >>> mask = predictor(image).mask  # doctest: +SKIP
        """
        described, variables = load_model(path, allow_non_finite=allow_non_finite)
        try:
            if described is not None:
                classes = classes or described.classes
                preprocessing = preprocessing or described.preprocessing
                model = model or described.network.build()
            network = _named(model, variables)
            return cls(network, variables, classes, preprocessing, **options)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def __call__(
        self, images: Any, *, progress: Progress = lambda done, total: None
    ) -> Any:
        """Predict one picture, or several.

        Args:
            images: RGB (H, W, 3), from 0 to 255, or an image of Pillow's; a list of
                such, of any sizes; or (B, H, W, 3). As many channels as the network
                takes.
            progress: called after each batch with the images done, and all.

        Returns:
            A `Prediction`, or for several pictures a list of them.

        Raises:
            ValueError: no picture, or something else than one; says which.
        """
        pixels, single = as_images(images, self._inference.channels)
        sizes = np.array([image.shape[:2] for image in pixels])
        found: dict[int, Prediction] = {}
        for index, prediction in self.stream(pixels, sizes):
            found[index] = prediction
            progress(len(found), len(pixels))
        return found[0] if single else [found[index] for index in sorted(found)]

    def stream(
        self, images: Images, sizes: np.ndarray
    ) -> Iterator[tuple[int, Prediction]]:
        """Index and prediction of each picture, as they come: grouped by canvas.

        One batch is read while the devices are at the one before.

        Args:
            images: uint8 (H, W, C) for every index, read when it is its turn.
            sizes: their heights and widths (n, 2).
        """
        pending = None
        multiple = self._inference.row_multiple
        for batch in plan(sizes, self._multiple, self._batch_size, multiple):
            rows = [images[i] if i >= 0 else None for i in batch.indices]
            pixels = self._stack(rows, batch.shape)
            results = self._inference.labels_and_confidence(self.variables, *pixels)
            if pending is not None:
                yield from self._rows(*pending)
            pending = batch, rows, results
        if pending is not None:
            yield from self._rows(*pending)

    def responsibilities(
        self, image: Any, bases: Callable[[NDArray[np.float32]], Sequence[int]]
    ) -> NDArray[np.float32]:
        """What some bases explain of a picture, after each EM iteration.

        Args:
            image: one, as in a call.
            bases: which are wanted, of the responsibilities (T, h, w, K) of all.

        Returns:
            (T, H, W, number of bases), at the size of the picture, seen at scale one.

        Raises:
            ValueError: a network without EM attention.
        """
        found = self.feature_responsibilities(image)
        chosen = list(bases(found))
        height, width = np.shape(image)[:2]
        stride = self.model.backbone.output_stride
        maps = at_image_size(jnp.asarray(found[..., chosen]), (height, width), stride)
        return np.asarray(maps)

    def feature_responsibilities(self, image: Any) -> NDArray[np.float32]:
        """What each basis explains of a picture, after each EM iteration.

        Args:
            image: one, as in a call.

        Returns:
            (T, h, w, K), seen at scale one; row i and column j are those of the
            picture's pixel (i·stride, j·stride).

        Raises:
            ValueError: a network without EM attention.
        """
        pixels = as_pixels(image, "the image", self._inference.channels)
        shape = canvas_shape(pixels.shape[:2], self._multiple)
        maps = self._maps(self.variables, *stack([pixels], shape))[:, 0]
        stride = self.model.backbone.output_stride
        height, width = (-(-(side - 1) // stride) + 1 for side in pixels.shape[:2])
        return np.asarray(maps[:, :height, :width])

    @cached_property
    def _maps(self) -> Callable[..., jax.Array]:
        """The program of `responsibility_maps`."""

        def maps(variables: Any, images: jax.Array, mask: jax.Array) -> jax.Array:
            normalized = self.preprocessing.normalize(images, mask)
            return responsibility_maps(self.model, variables, normalized, mask)

        return jax.jit(maps)

    def _rows(
        self,
        batch: CanvasBatch,
        images: Sequence[NDArray[np.uint8] | None],
        results: tuple[ArrayLike, ArrayLike],
    ) -> Iterator[tuple[int, Prediction]]:
        """The predictions of the pictures of a batch, each at its own size."""
        labels, confidence = map(np.asarray, results)
        palette = self.classes.palette
        for row, image in enumerate(images):
            if image is not None:
                here = row, slice(image.shape[0]), slice(image.shape[1])
                ask = partial(self._probabilities, image, batch.shape)
                found = Prediction(labels[here], confidence[here], palette, ask)
                yield batch.indices[row], found

    def _probabilities(
        self, image: NDArray[np.uint8], shape: tuple[int, int]
    ) -> NDArray[np.float32]:
        """(H, W, num_classes), by the program of the batch that the picture was in."""
        empty = [None] * (self._batch_size - 1)
        pixels = self._stack([image, *empty], shape)
        found = self._inference.probabilities(self.variables, *pixels)
        return np.asarray(found[0, : image.shape[0], : image.shape[1]])

    def _stack(
        self, images: Sequence[NDArray[np.uint8] | None], shape: tuple[int, int]
    ) -> tuple[jax.Array, ...]:
        """Images on a canvas, and their mask, on the devices."""
        arrays = stack(images, shape, self._inference.channels)
        return tuple(jax.device_put(x, self._inference.sharding) for x in arrays)


def _named(model: str | Segmenter | None, variables: Mapping[str, Any]) -> Segmenter:
    """A network, or the one of a name with as many classes as the variables have."""
    if model is None:
        raise ValueError(
            "does not say which network it holds; name it, such as "
            'Predictor.load(…, model="emanet_r101")'
        )
    if not isinstance(model, str):
        return model
    check_option("model", model, tuple(MODELS))
    return Network(model, count_classes(variables), {}).build()


def _check_multiple(canvas_multiple: int, stride: int) -> None:
    check_count("canvas_multiple", canvas_multiple)
    if canvas_multiple % stride:
        raise ValueError(
            f"canvas_multiple={canvas_multiple} is not a multiple of the output "
            f"stride, {stride}"
        )
