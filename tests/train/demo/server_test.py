"""What the page is answered, over a network that is known by heart."""

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from tests.train.demo.conftest import CLASSES, Heart, png, squares
from train.demo import server
from train.demo.server import Demo, make_app
from train.demo.turns import GONE, Queue
from train.demo.viewer import Viewer
from train.evaluation.pictures import IGNORE_COLOR

SIZES = [(16, 24), (17, 25), (24, 41), (57, 33)]


def told(size: tuple[int, int], sure: int = 204) -> np.ndarray:
    """An image that says its labels and confidence."""
    image = np.full((*size, 3), 99, np.uint8)
    image[..., 0] = squares(size)
    image[..., 1] = sure
    return image


def send(client, data: bytes, name: str = "photo.png") -> str:
    """The address of an image that is taken."""
    answer = client.post("/pictures", params={"name": name}, content=data)
    assert answer.status_code == 201, answer.text
    return f"/pictures/{answer.json()['key']}"


def picture(client, address: str, **asked) -> np.ndarray:
    answer = client.get(address, params=asked)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def error(answer, status: int) -> str:
    assert answer.status_code == status
    [(kind, text)] = answer.json().items()
    assert kind == "error"
    assert "\n" not in text
    return text


@pytest.mark.parametrize("size", SIZES)
def test_squares_land_where_they_are(client, size):
    labels, image = squares(size), told(size)
    assert (labels != labels[::-1]).any()
    assert (labels != labels[:, ::-1]).any()
    here = send(client, png(image))
    np.testing.assert_array_equal(picture(client, f"{here}/image.png"), image)
    np.testing.assert_array_equal(picture(client, f"{here}/mask.png"), labels)
    found = picture(client, f"{here}/overlay.png", strength=0.25)
    wanted = 0.75 * image + 0.25 * CLASSES.palette[labels]
    np.testing.assert_array_equal(found, np.round(wanted))
    lit = picture(client, f"{here}/spotlight.png", label=1)
    np.testing.assert_array_equal((lit == image).all(-1), labels == 1)


@pytest.mark.parametrize("size", SIZES)
def test_the_basis_of_a_pixel_is_the_one_of_its_square(client, size):
    image = told(size)
    image[..., 0] = np.pad(squares(size), ((4, 0), (4, 0)), "edge")[:-4, :-4]
    here = send(client, png(image))
    for y, x in np.random.default_rng(0).integers(0, size, (12, 2)).tolist():
        found = client.get(f"{here}/bases", params={"y": y, "x": x}).json()
        assert (found[0]["basis"], found[0]["here"]) == (image[y, x, 0], 1)


def test_the_map_of_a_basis_is_yellow_at_its_features_alone(client):
    image = told((33, 49))
    here = send(client, png(image))
    at_features = image[::8, ::8, 0]
    for basis in range(3):
        found = picture(client, f"{here}/basis.png", basis=basis, step=2)
        assert found.shape == image.shape
        green = found[::8, ::8, 1].astype(int)
        assert (green[at_features == basis] > 150).all()
        assert (green[at_features != basis] < 100).all()


def test_the_mask_carries_its_palette_and_what_is_unsure(client):
    image = told((16, 24), sure=128)
    image[:, 12:, 1] = 255
    here = send(client, png(image))
    answer = client.get(f"{here}/mask.png", params={"threshold": 0.6})
    mask = Image.open(io.BytesIO(answer.content))
    assert mask.mode == "P"
    labels = squares((16, 24))
    labels[:, :12] = 255
    np.testing.assert_array_equal(np.asarray(mask), labels)
    colors = np.asarray(mask.convert("RGB"))
    np.testing.assert_array_equal(colors[:, 12:], CLASSES.palette[labels[:, 12:]])
    assert (colors[:, :12] == IGNORE_COLOR).all()


def test_the_legend_counts(client):
    image = told((10, 10), sure=51)
    image[..., 0] = 2
    image[2:5, 1:8, :2] = 1, 255
    found = client.get(f"{send(client, png(image))}/legend").json()
    disc, box = found["classes"]
    assert (disc["name"], disc["color"], disc["share"]) == ("disc", "#005afa", 0.79)
    assert (box["label"], box["share"], box["confidence"]) == (1, 0.21, 1)
    assert disc["confidence"] == pytest.approx(0.2)
    assert found["confidence"] == pytest.approx(0.79 * 0.2 + 0.21)
    assert box["point"][0] == 3
    assert 2 <= box["point"][1] <= 6
    unsure = client.get(
        f"{send(client, png(image))}/legend", params={"threshold": 0.5}
    ).json()["classes"]
    assert [entry["name"] for entry in unsure] == ["box", "below the threshold"]


def test_examples_are_there_at_once_and_small(client):
    assert client.get("/network").json()["examples"] == ["example"]
    assert picture(client, "/examples/0.png").shape == (5, 160, 3)
    found = client.post("/examples/0").json()
    assert (found["name"], found["height"], found["width"]) == ("example", 9, 300)
    assert error(client.post("/examples/1"), 404) == "there is no example 1"


def test_a_large_image_is_shrunk_and_says_so(client):
    answer = client.post("/pictures?name=a.png", content=png(told((100, 200))))
    found = answer.json()
    assert (found["height"], found["width"], found["original"]) == (32, 64, [100, 200])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "x.png: cannot be shown: the file is empty"),
        (b"no image", "x.png: cannot be shown: no image, or a damaged one"),
        (png(told((40, 40)))[:90], "x.png: cannot be shown: no image, or a damaged"),
    ],
)
def test_what_is_no_image(client, content, said):
    answer = client.post("/pictures?name=/etc/x.png", content=content)
    assert error(answer, 400).startswith(said)


def test_an_image_beyond_the_pixels(client, monkeypatch):
    monkeypatch.setattr("train.demo.reading.MAX_PIXELS", 1000)
    answer = client.post("/pictures?name=x.png", content=png(told((40, 40))))
    assert "40 × 40 are more than 0 megapixels; make it smaller" in error(answer, 400)


def parts():
    yield b"0" * 60
    yield b"0" * 60


@pytest.mark.parametrize("content", [b"0" * 101, parts()], ids=["stated", "unstated"])
def test_a_body_beyond_the_bytes(client, monkeypatch, content):
    monkeypatch.setattr(server, "MAX_BYTES", 100)
    assert "MiB; make it smaller" in error(
        client.post("/pictures", content=content), 413
    )
    assert not client.page.gallery._photos


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("overlay.png?strength=2", "strength=2: give a number from 0 to 1"),
        ("overlay.png?strength=nan", "strength=nan: give a number from 0 to 1"),
        ("mask.png?iterations=99", "iterations=99: give a number from 1 to 10"),
        ("basis.png?basis=3", "basis=3: give a number from 0 to 2"),
        ("basis.png", "basis=None: give a number from 0 to 2"),
        ("bases?y=16&x=0", "y=16: give a number from 0 to 15"),
        ("legend?threshold=", "threshold=: give a number from 0 to 1"),
    ],
)
def test_numbers_out_of_their_range(client, asked, said):
    here = send(client, png(told((16, 24))))
    assert error(client.get(f"{here}/{asked}"), 400) == said


def test_a_network_without_em_attention():
    heart = Heart()
    heart.model.head.context = None
    page = Demo(Viewer(lambda iterations: heart), "fcn", [], max_side=64)
    with TestClient(make_app(page)) as client:
        offered = client.get("/network").json()
        assert (offered["iterations"], offered["bases"]) == (0, 0)
        here = send(client, png(told((16, 24))))
        assert picture(client, f"{here}/mask.png").shape == (16, 24)
        no_bases = client.get(f"{here}/bases")
        assert error(no_bases, 404) == "the network has no EM attention"


def test_an_image_that_made_way(client):
    client.page.gallery._room = 2
    image = png(told((16, 24)))
    first, second, third = (send(client, image) for _ in range(3))
    assert "no longer here" in error(client.get(f"{first}/mask.png"), 404)
    for here in (second, third):
        assert client.get(f"{here}/mask.png").status_code == 200


@pytest.mark.parametrize("path", ["/nothing", "/../server.py", "/%2e%2e/server.py"])
def test_no_other_file_is_served(client, path):
    assert error(client.get(path), 404) == "Not Found"


def test_the_page_may_ask_this_server_alone(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert "//" not in page.text


def test_a_name_that_is_not_this_machines():
    page = Demo(Viewer(lambda iterations: Heart()), "heart", [], max_side=64)
    with TestClient(make_app(page, ["localhost"]), base_url="http://evil") as client:
        assert client.get("/network").status_code == 400


def test_a_defect_shows_nothing_of_the_server(client, monkeypatch):
    monkeypatch.setattr(Heart, "__call__", lambda *_: Path("/no/such").stat())
    answer = client.get(f"{send(client, png(told((16, 24))))}/mask.png")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")


class Client:
    """A request whose client may have gone away."""

    def __init__(self, gone: bool = False):
        self.gone = gone

    async def is_disconnected(self) -> bool:
        return self.gone


def test_one_at_a_time_in_order_and_not_for_who_went_away():
    done, at_work = [], []

    def work(name):
        at_work.append(name)
        assert len(at_work) == 1
        done.append(at_work.pop())
        return name

    async def ask():
        queue = Queue(room=4)
        asked = [queue.run(Client(gone=name == "b"), work, name) for name in "abcde"]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return answers, queue.waiting

    (a, b, c, d, e), waiting = asyncio.run(ask())
    assert (a, c, d, waiting, done) == ("a", "c", "d", 0, ["a", "c", "d"])
    assert isinstance(b, HTTPException)
    assert isinstance(e, HTTPException)
    assert (b.status_code, e.status_code) == (GONE, 503)
