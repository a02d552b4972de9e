"""A headless Chromium, driven by its DevTools protocol over a pipe: no port, no library."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

PATIENCE_S = 120
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium():
    """Path of an installed Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a headless Chromium, and all that it complained about or asked the network for.

    Args:
        home: Empty directory for its profile.
        width, height: Size of the window in CSS pixels.
        dark: Whether the reader prefers dark pages.
        touch: Whether it is a phone.
    """

    def __init__(self, home: Path, *, width=1280, height=900, dark=False, touch=False):
        read, self._write = os.pipe()
        self._read, write = os.pipe()

        def pipes():  # Chromium reads commands from 3 and answers at 4
            one, other = (fcntl.fcntl(pipe, fcntl.F_DUPFD, 10) for pipe in (read, write))
            os.dup2(one, 3)
            os.dup2(other, 4)

        command = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                   "--hide-scrollbars", f"--user-data-dir={home}", "--remote-debugging-pipe"]  # fmt: skip
        environment = {**os.environ, "HOME": str(home)}
        self._process = subprocess.Popen(
            command, preexec_fn=pipes, pass_fds=(3, 4), stderr=subprocess.DEVNULL, env=environment  # noqa: PLW1509
        )  # fmt: skip
        os.close(read)
        os.close(write)
        self._buffer, self._number, self._session = b"", 0, None
        self.errors, self.requests = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if touch else 1,
            mobile=touch,
        )
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def call(self, method, **parameters):
        """One command, and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], PATIENCE_S)
            assert ready, "the browser says nothing"
            chunk = os.read(self._read, 1 << 16)
            assert chunk, "the browser is gone"
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event):
        parameters = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.errors.append(str(parameters["exceptionDetails"])[:500])
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                self.errors.append(str(parameters["args"])[:500])
            case "Log.entryAdded":
                self.errors.append(parameters["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])

    def open(self, path):
        """Load a file, and wait until it is there."""
        self.call("Page.navigate", url=Path(path).resolve().as_uri())
        until = time.monotonic() + 30
        while self.value("document.readyState") != "complete" or self.value("location.protocol") == "about:":
            assert time.monotonic() < until
            time.sleep(0.02)

    def value(self, expression):
        """Value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def move(self, x, y):
        """Move the mouse to a place in the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x, y):
        """Click at a place in the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key):
        """Press a key."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowRight": 39}
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **text)

    def place(self, selector):
        """Middle of an element that is scrolled into the window, and has come to rest there."""
        return self.value(
            f"(async () => {{ const one = document.querySelector({json.dumps(selector)});"
            "one.scrollIntoView({block: 'center', behavior: 'instant'});"
            "for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);"
            "const box = one.getBoundingClientRect();"
            "return [box.left + box.width / 2, box.top + box.height / 2]; })()"
        )

    def picture(self, *, whole=True):
        """A screenshot as a PNG."""
        height = self.value("document.documentElement.scrollHeight") if whole else self.value("innerHeight")
        clip = {"x": 0, "y": 0, "width": self.value("innerWidth"), "height": min(height, 12_000), "scale": 1}
        answer = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def close(self):
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
