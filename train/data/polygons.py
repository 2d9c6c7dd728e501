"""Classes drawn as polygons: the JSON of labelme, and of COCO.

What is drawn later lies over what was drawn before. Pixels in no polygon are
background, if a class has that name, and else ignored.
"""

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from train.data.access import IGNORE_LABEL
from train.data.coco_masks import object_mask, polygon_mask
from train.data.coding import NAMED, Values
from train.data.listing import read_text
from train.user.errors import UserError
from train.user.names import nearest

Bool = NDArray[np.bool_]
Size = tuple[int, int]

BACKGROUND = ("background", "_background_")
IGNORED = ("ignore", "__ignore__", "void")
CIRCLE = 64
"""Corners for a circle."""
WITHOUT_AREA = ("point", "points", "line", "linestrip")
_WRONG = (ValueError, KeyError, TypeError, IndexError)


class Shape(NamedTuple):
    """An object: the name of its class, and how it was drawn."""

    name: str
    drawn: Any


class Drawing(NamedTuple):
    """An image's objects, in the order in which they were drawn.

    Attributes:
      place: the file and, of one for many images, the image.
      size: height and width.
      shapes: the objects.
      coco: whether they are COCO's "segmentation", or else shapes of labelme.
    """

    place: str
    size: Size
    shapes: Sequence[Shape]
    coco: bool


def paint(drawing: Drawing, names: Sequence[str]) -> Values:
    """The classes of a drawing as values (H, W) from `NAMED` on.

    Raises:
      UserError: an object is of another class, or is no shape.
    """
    classes = dict.fromkeys(IGNORED, IGNORE_LABEL)
    classes |= {name: c for c, name in enumerate(names)}
    empty = next((classes[n] for n in names if n.lower() in BACKGROUND), IGNORE_LABEL)
    classes = dict.fromkeys(BACKGROUND, empty) | classes
    values = np.full(drawing.size, NAMED + empty, np.int64)
    for name, drawn in drawing.shapes:
        if name not in classes:
            raise UserError(
                f"{drawing.place}: '{name}' is no class; {nearest(name, names)}"
            )
        try:
            draw = object_mask if drawing.coco else labelme_mask
            values[draw(drawn, drawing.size)] = NAMED + classes[name]
        except _WRONG as error:
            raise UserError(
                f"{drawing.place}: an object of '{name}' is no shape that is known "
                f"({error}); draw it anew, as a polygon"
            ) from error
    return values


def labelme_mask(shape: Mapping[str, Any], size: Size) -> Bool:
    """The pixels (H, W) whose centres are in a shape of labelme."""
    points = np.asarray(shape["points"], np.float64).reshape(-1, 2)
    kind = shape.get("shape_type") or "polygon"
    if kind == "polygon":
        return polygon_mask(points.ravel().tolist(), size)
    if kind == "rectangle":
        (left, top), (right, bottom) = points.min(0), points.max(0)
        corners = [left, top, right, top, right, bottom, left, bottom]
        return polygon_mask(corners, size)
    if kind == "circle":
        angles = np.linspace(0, 2 * np.pi, CIRCLE, endpoint=False)
        around = np.stack([np.cos(angles), np.sin(angles)], -1)
        radius = np.hypot(*(points[1] - points[0]))
        return polygon_mask((points[0] + radius * around).ravel().tolist(), size)
    if kind == "mask":
        return _placed(base64.b64decode(shape["mask"]), points.min(0), size)
    raise ValueError(f"of type {kind!r}")


def _placed(png: bytes, corner: NDArray[np.float64], size: Size) -> Bool:
    """A small mask at its place in a large one."""
    with Image.open(io.BytesIO(png)) as image:
        small = np.asarray(image) > 0
    left, top = np.round(corner).astype(int)
    inside = np.zeros(size, bool)
    window = inside[top : top + small.shape[0], left : left + small.shape[1]]
    window[:] = small[: window.shape[0], : window.shape[1]]
    return inside


def read_labelme(path: Path) -> Drawing:
    """The shapes of a file of labelme, but for points and lines, which have no area.

    Raises:
      UserError: it is not such a file.
    """
    stored = read_json(path)
    try:
        shapes = [
            Shape(str(shape["label"]), shape)
            for shape in stored["shapes"]
            if shape.get("shape_type") not in WITHOUT_AREA
        ]
        size = int(stored["imageHeight"]), int(stored["imageWidth"])
        return Drawing(str(path), size, shapes, coco=False)
    except (*_WRONG, AttributeError) as error:
        raise UserError(
            f"{path}: is not a file of labelme ({type(error).__name__}: {error}); "
            "export labelme's JSON, COCO's, or the masks as PNG"
        ) from error


class CocoFile(NamedTuple):
    """An annotation file of COCO.

    Attributes:
      names: of its categories, in the order of their numbers.
      drawings: file name of each image to its objects.
    """

    names: tuple[str, ...]
    drawings: Mapping[str, Drawing]


def read_coco(path: Path) -> CocoFile:
    """The categories, images and objects, crowds among them, of a file of COCO.

    Raises:
      UserError: it is not such a file.
    """
    stored = read_json(path)
    try:
        categories = sorted((int(c["id"]), c["name"]) for c in stored["categories"])
        names = dict(categories)
        shapes: dict[int, list[Shape]] = {image["id"]: [] for image in stored["images"]}
        for annotation in stored["annotations"]:
            name = names[annotation["category_id"]]
            shapes[annotation["image_id"]].append(
                Shape(name, annotation["segmentation"])
            )
        drawings = {}
        for image in stored["images"]:
            size = int(image["height"]), int(image["width"])
            place = f"{path} ({image['file_name']})"
            drawing = Drawing(place, size, shapes[image["id"]], coco=True)
            drawings[image["file_name"]] = drawing
    except (*_WRONG, AttributeError) as error:
        raise UserError(
            f"{path}: is not an annotation file of COCO ({type(error).__name__}: "
            f"{error}); export COCO JSON, or the masks as PNG"
        ) from error
    return CocoFile(tuple(name for _, name in categories), drawings)


def read_json(path: Path) -> dict[str, Any]:
    """An object; UserError if the file holds none."""
    try:
        stored = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: is not JSON ({error}); correct it") from error
    if not isinstance(stored, dict):
        raise UserError(f"{path}: is not an object of JSON; export it anew")
    return stored


def drawn_classes(names: Iterable[str]) -> list[str]:
    """The classes of drawings that no file names: background first, then as given."""
    others = dict.fromkeys(n for n in names if n.lower() not in (*BACKGROUND, *IGNORED))
    return ["background", *others]
