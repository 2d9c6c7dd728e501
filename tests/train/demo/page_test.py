"""The page in a real browser, over a network of three convolutions."""

import os
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from PIL import Image

from tests.train.demo.conftest import png
from train.demo.command import address, listen
from train.demo.reading import Photo
from train.demo.server import Demo, make_app
from train.demo.viewer import Viewer

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
SIZE = 57, 41
WAIT = 240_000
"""Milliseconds, where many others work."""

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser is installed: {', '.join(BROWSERS)}"
)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def served(network):
    """The address of the page, which has one example."""
    page = Demo(Viewer(network), "nano", [Photo("noise", noise(9), SIZE)], max_side=64)
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(make_app(page), log_config=None, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield address(listening)
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture(scope="module")
def browser(served):
    playwright = pytest.importorskip("playwright.sync_api")
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=root)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def visit(browser, served):
    """Opens the page as a visitor of its own; all that he asks for, and his errors."""

    def open_page():
        page = browser.new_context(accept_downloads=True).new_page()
        page.set_default_timeout(WAIT)
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda line: page.complaints.append(line.text))
        page.goto(served)
        settle(page)
        return page

    return open_page


@pytest.fixture(scope="module")
def page(visit):
    return visit()


def settle(page) -> None:
    """Until all that was asked is answered, sliders too."""
    page.wait_for_selector("body[aria-busy=false]")


def choose(page, *files: tuple[str, bytes]) -> None:
    hand_in(page, *files)
    settle(page)


def hand_in(page, *files: tuple[str, bytes]) -> None:
    """As `choose`, without waiting for an answer."""
    given = [
        {"name": name, "mimeType": "image/png", "buffer": data} for name, data in files
    ]
    page.set_input_files("#file", given)


def slide(page, name: str, value: int) -> None:
    page.locator(f"#{name}").fill(str(value))
    settle(page)


def seen(page) -> str:
    """The pixels of the picture as the browser shows it."""
    return page.evaluate(
        """() => {
            const image = document.querySelector("#picture img");
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext("2d").drawImage(image, 0, 0);
            return canvas.toDataURL();
        }"""
    )


def test_an_example_is_shown_at_once(page):
    assert page.inner_text("#network") == "nano, 3 classes"
    assert page.inner_text("#caption") == "noise: 41 × 57 pixels"
    assert page.locator("#legend button").count() >= 1
    assert page.locator("#maps figure").count() == 3
    assert page.get_by_text("vary most over this one").is_visible()


def test_upload_result_and_download(page, network):
    choose(page, ("mine.png", png(noise(1))), ("second.png", png(noise(2))))
    assert page.inner_text("#caption").startswith("mine: ")
    assert page.locator("#own button").count() == 2
    assert page.evaluate("document.querySelector('#picture img').naturalWidth") == 41
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "mine_mask.png"
    mask = np.asarray(Image.open(download.value.path()))
    np.testing.assert_array_equal(mask, network(None)(noise(1)).mask)


def test_images_that_come_while_others_do_are_shown_too(visit):
    page, held = visit(), []
    page.route("**/pictures?name=slow*", lambda route: held.append(route))
    hand_in(page, ("slow.png", png(noise(3))), ("next.png", png(noise(4))))
    while not held:
        page.wait_for_timeout(20)
    hand_in(page, ("late.png", png(noise(5))))
    held[0].continue_()
    page.wait_for_selector("#own button[title=late]")
    names = page.locator("#own button").evaluate_all("all => all.map(x => x.title)")
    assert names == ["slow", "next", "late"]
    settle(page)
    assert not page.complaints


def test_each_view_is_another_picture(page):
    views = {}
    for view in ("mask", "confidence", "image", "overlay"):
        page.click(f"[data-view={view}]")
        settle(page)
        views[view] = seen(page)
    assert len(set(views.values())) == 4


def test_sliders_change_the_result(page):
    before, legend = seen(page), page.inner_text("#legend")
    slide(page, "strength", 90)
    assert seen(page) != before
    slide(page, "threshold", 100)
    assert "below the threshold" in page.inner_text("#legend")
    slide(page, "threshold", 0)
    assert page.inner_text("#legend") == legend
    slide(page, "iterations", 5)
    captions = page.locator("#maps figcaption").all_inner_texts()
    assert [text.split(" after ")[1] for text in captions] == [
        *("1 iteration", "2 iterations", "3 iterations", "5 iterations")
    ]
    slide(page, "iterations", 3)


@pytest.mark.parametrize("pixel", [(0, 0), (56, 40), (50, 7), (7, 33)])
def test_the_pixel_that_is_clicked(page, network, pixel):
    y, x = pixel
    image = page.locator("#picture img")
    image.scroll_into_view_if_needed()
    box = image.bounding_box()
    at = {"x": (x + 0.5) * box["width"] / 41, "y": (y + 0.5) * box["height"] / 57}
    image.click(position=at)
    settle(page)
    assert page.inner_text("#hint").startswith(f"Row {y}, column {x}: ")
    maps = network(3).feature_responsibilities(noise(1))
    here = maps[-1][(y + 4) // 8, (x + 4) // 8]
    first = page.locator("#bases button").first.inner_text()
    assert first.startswith(f"basis {here.argmax()}, {100 * here.max():.0f} % of")
    mark = page.locator("#picture .mark").bounding_box()
    now = image.bounding_box()
    assert mark["x"] + mark["width"] / 2 - now["x"] == pytest.approx(at["x"], abs=1)
    assert mark["y"] + mark["height"] / 2 - now["y"] == pytest.approx(at["y"], abs=1)


def test_a_class_is_lit_while_it_is_pointed_at(page):
    before = seen(page)
    page.locator("#legend button").first.hover()
    settle(page)
    assert seen(page) != before
    page.mouse.move(1, 1)
    settle(page)
    assert seen(page) == before


def test_what_is_no_image_is_said_and_the_rest_is_shown(page):
    files = ("bad.png", b"no image"), ("empty.png", b""), ("good.png", png(noise(4)))
    choose(page, *files)
    assert page.inner_text("#message span").splitlines() == [
        "bad.png: cannot be shown: no image, or a damaged one",
        "empty.png: cannot be shown: the file is empty",
    ]
    assert page.inner_text("#caption").startswith("good: ")
    page.click("#message button")
    assert page.locator("#message").is_hidden()
    page.complaints.clear()  # the browser notes the two answers of status 400


def test_two_visitors_see_their_own(page, visit):
    other = visit()
    files = {"a": page, "b": other}
    for seed, (name, visitor) in enumerate(files.items()):
        data = png(noise(10 + seed))
        visitor.set_input_files(
            "#file", {"name": f"{name}.png", "mimeType": "image/png", "buffer": data}
        )
    for name, visitor in files.items():
        settle(visitor)
        assert visitor.inner_text("#caption").startswith(f"{name}: ")
        assert visitor.locator("#legend button").count() >= 1
    assert other.locator("#own button").count() == 1
    other.set_input_files(
        "#file", {"name": "c.png", "mimeType": "image/png", "buffer": png(noise(20))}
    )
    other.context.close()  # while it is answered
    choose(page, ("d.png", png(noise(21))))
    assert page.inner_text("#caption").startswith("d: ")


def test_nobody_else_is_asked_and_nothing_complains(page, served):
    assert page.complaints == []
    strangers = [url for url in page.asked if not url.startswith((served, "blob:"))]
    assert strangers == []
    folders = str(Path(__file__).parents[3]), tempfile.gettempdir()
    for text in (page.content(), *page.asked):
        assert not any(folder in text for folder in folders)
