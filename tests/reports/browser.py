"""Headless Chromium over its debugging pipe: what a page says on the console, asks of the network, and looks like."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def chromium() -> str | None:
    """Path of a Chromium, or None."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


@dataclass
class Seen:
    """What one page did."""

    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    width: int = 0
    scroll_width: int = 0
    wide: list[str] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)
    pdf: bytes = b""


class Browser:
    """One Chromium process; messages end with a zero byte."""

    def __enter__(self) -> Self:
        self._folder = tempfile.mkdtemp()
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()

        def at_three_and_four() -> None:
            os.dup2(to_read, 3)
            os.dup2(to_write, 4)

        self._process = subprocess.Popen(
            [str(chromium()), *FLAGS, f"--user-data-dir={self._folder}"],
            pass_fds=(3, 4),
            preexec_fn=at_three_and_four,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._number, self._buffer, self._events = 0, b"", []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._folder, ignore_errors=True)

    def look(self, page: Path, *, width: int, shot: Path | None = None, height: int = 0, pdf: bool = False) -> Seen:
        """Open a file and wait until it is loaded; optionally write a picture of all of it (or of `height` pixels)."""
        target = self._ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self._ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._ask(f"{domain}.enable", {}, session)
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self._ask("Emulation.setDeviceMetricsOverride", metrics, session)
        self._events.clear()
        self._ask("Page.navigate", {"url": page.absolute().as_uri()}, session)
        while not any(event.get("method") == "Page.loadEventFired" for event in self._events):
            self._receive()
        seen = Seen(width=width)
        numbers = self._run(session, _MEASURE)
        seen.scroll_width, seen.wide, seen.clipped = numbers["width"], numbers["wide"], numbers["clipped"]
        if shot is not None:
            size = self._ask("Page.getLayoutMetrics", {}, session)["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": width, "height": min(height or size["height"], size["height"]), "scale": 1}
            picture = self._ask("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}, session)
            shot.write_bytes(base64.b64decode(picture["data"]))
        if pdf:
            printed = self._ask("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True}, session)
            seen.pdf = base64.b64decode(printed["data"])
        for event in self._events:
            values = event.get("params", {})
            if event.get("method") == "Network.requestWillBeSent":
                seen.requests.append(values["request"]["url"])
            elif event.get("method") == "Log.entryAdded":
                seen.console.append(values["entry"]["text"])
            elif event.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                seen.console.append(json.dumps(values)[:300])
        self._ask("Target.closeTarget", {"targetId": target})
        return seen

    def _run(self, session: str, script: str) -> Any:
        answer = self._ask("Runtime.evaluate", {"expression": script, "returnByValue": True}, session)
        return answer["result"]["value"]

    def _ask(self, method: str, values: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": values}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._in, 1 << 20)
            if not data:
                raise RuntimeError("Chromium ended")
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self._events.append(message)
        return message


# Elements that stick out of the page sideways without a scroll container, and texts that their box cuts off.
_MEASURE = """(() => {
  const page = document.documentElement.clientWidth, wide = [], clipped = [];
  const name = e => e.tagName + '.' + (e.getAttribute('class') || '') + ' ' + (e.textContent || '').trim().slice(0, 60);
  for (const e of document.querySelectorAll('body *')) {
    const box = e.getBoundingClientRect();
    if (box.width && box.right > page + 1 && !e.closest('.scroll') && !e.closest('svg') && !e.closest('.skip')
        && getComputedStyle(e).position !== 'absolute' && !e.closest('thead')) wide.push(name(e));
    const style = getComputedStyle(e);
    if (style.overflowX === 'hidden' && e.scrollWidth > e.clientWidth + 1 && e.clientWidth) clipped.push(name(e));
  }
  for (const t of document.querySelectorAll('svg text')) {
    const box = t.getBoundingClientRect(), frame = t.closest('svg').getBoundingClientRect();
    if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1
        || box.bottom > frame.bottom + 1) clipped.push('svg ' + t.textContent);
  }
  return {width: document.documentElement.scrollWidth, wide, clipped};
})()"""
