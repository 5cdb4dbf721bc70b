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

    def click(self, x, y):
        """Click at a place of the page."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def push(self, label):
        """Push the button of this text."""
        self.wait(f"{self._buttons(label)}.length > 0")
        self.evaluate(f"{self._buttons(label)}[0].click()")

    def _buttons(self, label):
        shown = "b => b.innerText.trim() == LABEL && !b.disabled".replace("LABEL", json.dumps(label))
        return f"[...document.querySelectorAll('button')].filter({shown})"

    def control(self, label):
        """JavaScript for the control beside this label, the last of that name."""
        named = f"l => l.innerText.trim() == {json.dumps(label)}"
        return f"document.getElementById([...document.querySelectorAll('label')].filter({named}).pop().htmlFor)"

    def choose(self, label, option):
        """Choose an option of a list."""
        self.evaluate(f"{self.control(label)}.click()")
        found = f"[...document.querySelectorAll('[role=option]')].filter(o => o.innerText == {json.dumps(option)})"
        self.wait(f"{found}.length > 0")
        self.evaluate(f"{found}.pop().click()")

    def slide(self, label, key, times):
        """Move a slider by a key."""
        self.wait(f"[...document.querySelectorAll('label')].some(l => l.innerText.trim() == {json.dumps(label)})")
        self.evaluate(f"{self.control(label)}.parentElement.querySelector('[role=slider]').focus()")
        self.press(key, times)

    def upload(self, path):
        """Give a file to the page's first field for files."""
        root = self.call("DOM.getDocument", depth=-1, pierce=True)["root"]["nodeId"]
        field = self.call("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=field)

    def drop(self, *paths, x=400, y=400):
        """Drag files from outside over the page, and drop them there."""
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def save_into(self, folder):
        """Files that the page offers are saved there."""
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def text(self):
        """What is written on the page."""
        return self.evaluate("document.body.innerText")

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
