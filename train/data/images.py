"""Image bytes to RGB arrays."""

import cv2
import numpy as np
from numpy.typing import NDArray

# What OpenCV reads and people keep photographs in.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm")


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3); grey is tripled, alpha dropped, EXIF rotation applied.

    Raises:
      ValueError: the bytes are no whole image.
    """
    if not data:
        raise ValueError("the file is empty")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError("no image, or a damaged one")
    return np.asarray(image, np.uint8)
