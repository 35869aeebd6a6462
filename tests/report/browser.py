"""A headless chromium driven as a person drives it: mouse, wheel, fingers and keys, by its own protocol over a pipe."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NO_BROWSER = "no chromium on this machine"
PATIENCE = 90.0
"""Seconds until an answer that does not come is an error; on a busy machine a browser takes long to start."""
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND"
Spot = tuple[float, float]


class Browser:
    """One page in one browser; `console` are the errors and warnings it logged, `asked` the addresses it asked for."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write, self._rest, self._number = read, write, b"", 0
        self.console: list[str] = []
        self.asked: list[str] = []
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        return self._call(method, self._session, **given)

    def _call(self, method: str, session: str | None = None, **given: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": given}
        os.write(self._write, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            assert select.select([self._read], [], [], max(0.0, until - time.monotonic()))[0], (
                "the browser does not answer"
            )
            came = os.read(self._read, 1 << 20)
            assert came, "the browser is gone"
            self._rest += came
        message, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(message))

    def _note(self, event: dict[str, Any]) -> None:
        method, said = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.console.append(json.dumps(said["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning"):
            self.console.append(json.dumps(said["args"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.console.append(said["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.asked.append(said["request"]["url"])

    def open(self, page: Path, size: tuple[int, int] = (1280, 800), *, phone: bool = False, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=phone
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        wanted = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call(
            "Emulation.setEmulatedMedia", features=[*wanted, {"name": "prefers-reduced-motion", "value": "reduce"}]
        )
        self.console, self.asked = [], []
        self.call("Page.navigate", url=page.as_uri())
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < end, f"never came: {script}"
            time.sleep(0.03)

    def middle(self, selector: str) -> Spot:
        """Where the middle of an element is, once it is scrolled to."""
        found = f"document.querySelector({json.dumps(selector)})"
        assert self.run(f"{found} !== null"), f"no {selector}"
        self.run(f"{found}.scrollIntoView({{block: 'nearest'}})")
        x, y = self.run(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({found}.getBoundingClientRect())")
        return x, y

    def mouse(self, kind: str, at: Spot, *, shift: bool = False, **more: Any) -> None:
        """`kind`: mouseMoved, mousePressed, mouseReleased or mouseWheel."""
        self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], modifiers=8 if shift else 0, **more)

    def click(self, target: str | Spot) -> None:
        at = self.middle(target) if isinstance(target, str) else target
        self.drag([at])

    def drag(self, way: Sequence[Spot], *, shift: bool = False) -> None:
        """Press at the first place, move along the others, release at the last."""
        self.mouse("mouseMoved", way[0], shift=shift)
        self.mouse("mousePressed", way[0], shift=shift, button="left", buttons=1, clickCount=1)
        for at in way[1:]:
            self.mouse("mouseMoved", at, shift=shift, button="left", buttons=1)
        self.mouse("mouseReleased", way[-1], shift=shift, button="left", clickCount=1)

    def wheel(self, at: Spot, down: float) -> None:
        self.mouse("mouseWheel", at, deltaX=0, deltaY=down)

    def fingers(self, *steps: Sequence[Spot]) -> None:
        """Put fingers down at the places of the first step, move them along the others, and take them off."""
        for number, step in enumerate(steps):
            points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(step)]
            self.call("Input.dispatchTouchEvent", type="touchMove" if number else "touchStart", touchPoints=points)
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def key(self, key: str) -> None:
        more = {"Enter": {"text": "\r"}, " ": {"text": " "}}.get(key, {"text": key} if len(key) == 1 else {})
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, words: str) -> None:
        self.call("Input.insertText", text=words)

    def picture(self, path: Path) -> Path:
        """Write what is to be seen as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        return path

    def close(self) -> None:
        self._call("Browser.close")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start a browser that reaches no network; its profile is in `folder`, and so is what it downloads."""
    ours, its = os.pipe(), os.pipe()  # (read, write) by the browser, (read, write) by us
    command = f'exec "$@" 3<&{ours[0]} 4>&{its[1]}'
    flags = [*FLAGS, NO_NETWORK, f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe", "about:blank"]
    process = subprocess.Popen(
        ["bash", "-c", command, "browser", str(CHROMIUM), *flags],
        pass_fds=(ours[0], its[1]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(ours[0])
    os.close(its[1])
    try:
        driven = Browser(its[0], ours[1])
        driven._call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder), eventsEnabled=False)
        yield driven
        driven.close()
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(its[0])
        os.close(ours[1])
