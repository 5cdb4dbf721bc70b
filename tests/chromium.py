"""A headless Chromium, spoken to over its debugging protocol."""

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One page: evaluate expressions, press keys, take screenshots; console errors and requests are kept."""

    def __init__(self, url, width=1100, height=760):
        from websockets.sync.client import connect

        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        flags = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"]
        flags += ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--remote-debugging-port=0"]
        flags += [f"--user-data-dir={self.folder.name}", f"--window-size={width},{height}", "--no-first-run"]
        self.process = subprocess.Popen([CHROMIUM, *flags, "about:blank"], stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if line.startswith("DevTools listening on"):
                port = line.split(":")[2].split("/")[0]
                break
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            target = next(entry for entry in json.load(answer) if entry["type"] == "page")
        self.socket = connect(target["webSocketDebuggerUrl"], max_size=None, proxy=None)
        self.numbers, self.errors, self.requests = itertools.count(1), [], []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)

    def call(self, method, **parameters):
        """One command of the protocol; events that arrive meanwhile are looked at."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=600))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message):
        kind, parameters = message.get("method"), message.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.errors.append(parameters["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif kind == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            self.errors.append(" ".join(str(part.get("value", "")) for part in parameters["args"]))
        elif kind == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(parameters["entry"]["text"] + " " + parameters["entry"].get("url", ""))
        elif kind == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    def evaluate(self, expression):
        """The value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression, seconds=600):
        """Wait until an expression is true."""
        until = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < until, f"waited for {expression}"
            time.sleep(0.1)

    def press(self, key, times=1):
        """Press a key."""
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def screenshot(self, path=None):
        """The page as PNG bytes, kept in a file if one is named."""
        data = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        if path is not None:
            with open(path, "wb") as file:
                file.write(data)
        return data

    def settled(self):
        """The page as PNG bytes once two pictures half a second apart are the same."""
        picture = b""
        while picture != (latest := self.screenshot()):
            picture = latest
            time.sleep(0.5)
        return picture

    def close(self):
        """End the browser."""
        self.socket.close()
        self.process.terminate()
        self.process.wait(600)
        self.process.stderr.close()
        self.folder.cleanup()
