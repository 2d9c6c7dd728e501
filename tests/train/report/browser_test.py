"""The page in a browser, from disk: no error, no request, and no wider than a phone."""

import re
import shutil
import subprocess

import pytest

from train.report.page import render

PHONE = 360
"""Pixels."""
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
LOOK = """<script>onload = () => {
console.log("WIDTH", document.documentElement.scrollWidth, innerWidth);
console.log("FETCHED", performance.getEntriesByType("resource")
    .filter(entry => !entry.name.startsWith("data:")).length);
const pictures = [...document.images];
console.log("PICTURES", pictures.filter(p => p.complete && p.naturalWidth).length);
}</script>"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")


def said(path) -> str:
    """What the console says of a page, the network being away."""
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *("--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND"),
            f"--user-data-dir={path.parent}/user",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return "\n".join(lines)


def test_it_opens_from_disk_without_a_word(page, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render(*page, ended=True))
    assert said(path) == ""


def test_it_is_whole_at_the_width_of_a_phone(page, tmp_path):
    """In a frame, as the window of a browser is never so narrow."""
    text = render(*page, ended=True)
    (tmp_path / "report.html").write_text(text.replace("</body>", LOOK + "</body>"))
    phone = tmp_path / "phone.html"
    phone.write_text(f"<iframe src=report.html width={PHONE} height=700></iframe>")
    found = said(phone)
    width, window = map(int, re.search(r"WIDTH (\d+) (\d+)", found).groups())
    assert width <= window == PHONE
    assert "FETCHED 0" in found
    assert "PICTURES 12" in found


def test_the_browser_says_what_is_wrong(tmp_path):
    """Or the silence above would say nothing."""
    path = tmp_path / "broken.html"
    path.write_text("<img src=http://x.y/z.png><script>undefined_function()</script>")
    assert "undefined_function is not defined" in said(path)
