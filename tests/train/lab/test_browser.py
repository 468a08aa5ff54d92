"""The pages in a real browser: they open without a complaint and fit a desk's and a phone's width.

Skipped where no Chromium is found ($CHROMIUM, or one on the path).
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import agnostic_dl as adl
from agnostic_dl.train import XRay

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--enable-logging=stderr", "--virtual-time-budget=5000",
)  # fmt: skip

#: Shows a page in a frame of a given width and writes down what became of it.
FRAME = """<!doctype html><meta charset="utf-8"><body>
<iframe id="f" width="WIDTH" height="900" srcdoc="PAGE"></iframe><pre id="found"></pre><script>
document.getElementById("f").onload = (event) => {
  const page = event.target.contentDocument, root = page.documentElement;
  const shown = [...page.querySelectorAll("svg")].map(
    (svg) => svg.getBoundingClientRect()).filter((box) => box.width > 50 && box.height > 50);
  document.getElementById("found").textContent = JSON.stringify({
    overflow: root.scrollWidth - root.clientWidth, figures: shown.length,
    widest: Math.max(...shown.map((box) => box.right)), title: page.title,
    text: getComputedStyle(page.body).fontSize,
    tables: Object.fromEntries([...page.querySelectorAll("table")].map(
      (table) => [table.id, [...table.querySelectorAll("td")].map((td) => td.textContent)])),
  });
};
</script>"""


def opened(page: Path, width: int, tmp_path: Path) -> dict:
    frame = tmp_path / f"frame{width}.html"
    text = FRAME.replace("WIDTH", str(width))
    frame.write_text(text.replace("PAGE", html.escape(page.read_text(), quote=True)))
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / f'profile{width}'}", "--dump-dom",
         frame.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not complaints
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None
    assert found[1], "the page did not load"
    return json.loads(html.unescape(found[1]))


def check(page: Path, title: str, tmp_path: Path) -> None:
    for width in (1200, 390):
        found = opened(page, width, tmp_path)
        assert found["overflow"] <= 0, f"at {width} pixels"
        assert found["widest"] <= width
        assert found["figures"] == page.read_text().count("<svg ")
        assert title in found["title"]
        assert found["text"] == "16px"
        for name, cells in found["tables"].items():
            lines = (page.parent / f"{name}.csv").read_text().splitlines()
            assert len(lines) >= 2
            if name == "search":
                assert ",".join(cells) == ",".join(lines[1:])


def test_a_comparison(tmp_path):
    adl.compare("digits", "sgd,momentum,adagrad,adam", model="linear", seeds=2, epochs=2, trials=3,
                xray=True, out=tmp_path / "c", workers=1, limit=300)  # fmt: skip
    check(tmp_path / "c/report.html", "linear on digits", tmp_path)


def test_a_run(tmp_path):
    data = adl.data.load("digits")
    model = adl.models.create("lenet", input_shape=(8, 8, 1), classes=10)
    xray = XRay()
    adl.Trainer(model, "adam").fit(data, data, epochs=1, callbacks=[xray])
    page = adl.diagnose(xray).write(tmp_path / "r")
    check(page, "Adam under the X-ray", tmp_path)
