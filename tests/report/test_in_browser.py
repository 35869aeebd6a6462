"""The page in a real browser, headless: it logs no error, fits a phone, and answers the pointer."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from barlow.report.page import write_report
from barlow.report.side_by_side import compare_reports
from tests.report.synthetic_run import write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

PHONE = """<!doctype html><title>no answer</title>
<iframe id="phone" src="{name}" style="width:390px;height:800px;border:0"></iframe>
<script>
document.getElementById("phone").onload = (event) => {{
  const page = event.target.contentDocument, inner = event.target.contentWindow;
  document.title = [page.documentElement.scrollWidth, inner.innerWidth].join(" ");
}};
</script>"""
"""A window of chromium is at least 500 pixels wide; a frame can be as narrow as a phone."""

POINTER = """<script>
addEventListener("load", () => {
  const said = [];
  for (const target of [document.querySelector("[data-curves]"), document.querySelector("[data-cells]")]) {
    const box = target.getBoundingClientRect();
    const at = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, bubbles: true };
    target.dispatchEvent(new PointerEvent("pointermove", at));
    said.push(document.getElementById("tip").innerText.replace(/\\n/g, ", "));
  }
  document.title = said.join(" | ");
});
</script>"""


def browse(page: Path, tmp_path: Path) -> tuple[str, str]:
    """Return the title of the page after its scripts ran, and the browser's console."""
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += [
        "--enable-logging=stderr",
        "--v=0",
        "--virtual-time-budget=3000",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.S)
    assert title
    return title.group(1), "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    runs = [write_run(folder / name) for name in ("with-a-rather-long-name", "another")]
    for run in runs:
        write_report(run)
    compare_reports(runs, folder / "compare.html")
    return folder


@pytest.mark.parametrize("name", ["another/report.html", "compare.html"])
def test_the_page_fits_a_phone_and_logs_nothing(name: str, folder: Path, tmp_path: Path) -> None:
    frame = folder / f"phone-{Path(name).name}"
    frame.write_text(PHONE.format(name=name), encoding="utf-8")
    title, console = browse(frame, tmp_path)
    needed, width = (int(value) for value in title.split())
    assert width == 390
    assert needed <= width
    assert console == ""


def test_the_pointer_is_told_the_values_under_it(folder: Path, tmp_path: Path) -> None:
    source = (folder / "another" / "report.html").read_text(encoding="utf-8")
    copy = tmp_path / "pointer.html"
    copy.write_text(source.replace("</body>", POINTER + "</body>"), encoding="utf-8")
    title, console = browse(copy, tmp_path)
    curves, cells = title.split(" | ")
    assert re.fullmatch(r"\d+(\.\d+)? epochs, loss +[\d.]+, on-diagonal +[\d.]+, off-diagonal +[\d.]+", curves)
    assert 14 < float(curves.split()[0]) < 16  # the middle of 30 epochs
    assert re.fullmatch(r"features 32 and 32: [01]\.\d\d", cells)
    assert console == ""
