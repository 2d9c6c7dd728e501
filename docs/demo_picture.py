"""Take docs/demo.png, the picture of the page of a `main.py demo` that is running.

    python docs/demo_picture.py http://127.0.0.1:7860 [IMAGE]

The first example is shown, or an image; a pixel is chosen by its shares of the height
and the width. Needs playwright, and chromium: apt install chromium.
"""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = {"width": 1280, "height": 1000}
SETTLED = "body[aria-busy=false]"
COLORS = 256
"""Of the picture's palette: it is small then."""


def main() -> None:
    """Open the page, choose a pixel, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("image", nargs="?")
    parser.add_argument("--pixel", type=float, nargs=2, default=(0.5, 0.5))
    parser.add_argument("--output", default=Path(__file__).parent / "demo.png")
    options = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(600_000)
        page.goto(options.url)
        if options.image:
            page.wait_for_selector(SETTLED)
            page.set_input_files("#file", options.image)
        page.wait_for_selector(SETTLED)
        image = page.locator("#picture img")
        box, (down, right) = image.bounding_box(), options.pixel
        assert box is not None
        at = {"x": right * box["width"], "y": down * box["height"]}
        image.click(position=at)  # type: ignore[arg-type]
        page.wait_for_selector(SETTLED)
        taken = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        browser.close()
    taken.convert("RGB").quantize(COLORS, kmeans=1).save(options.output, optimize=True)


if __name__ == "__main__":
    main()
