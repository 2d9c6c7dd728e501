"""The images that are being looked at, in memory."""

import secrets
from collections import OrderedDict

from train.demo.reading import Photo

ROOM = 48
"""Images of all visitors; the one longest unseen makes way."""


class Gallery:
    """Photos under names that nobody can guess.

    Example:
        >>> import numpy as np
        >>> gallery = Gallery(room=1)
        >>> photo = Photo("cat", np.zeros((2, 3, 3), np.uint8), (2, 3))
        >>> dog = Photo("dog", photo.pixels, (2, 3))
        >>> first, second = gallery.add(photo), gallery.add(dog)
        >>> gallery.find(first), gallery.find(second).name
        (None, 'dog')
        >>> gallery.add(dog) == second
        True
    """

    def __init__(self, room: int = ROOM):
        self._room = room
        self._photos: OrderedDict[str, Photo] = OrderedDict()

    def add(self, photo: Photo) -> str:
        """Keep a photo; returns its name, the same for one that is here."""
        kept = (key for key, other in self._photos.items() if other is photo)
        key = next(kept, None) or secrets.token_urlsafe(16)
        self._photos[key] = photo
        self._photos.move_to_end(key)
        while len(self._photos) > self._room:
            self._photos.popitem(last=False)
        return key

    def find(self, key: str) -> Photo | None:
        """The photo of a name; None where it made way."""
        if key in self._photos:
            self._photos.move_to_end(key)
        return self._photos.get(key)
