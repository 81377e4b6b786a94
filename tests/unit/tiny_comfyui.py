"""A git repository that looks like ComfyUI from where an install stands, and starts in a moment."""

from __future__ import annotations

import subprocess
from pathlib import Path

MAIN = '''"""Answers as far as a start needs it, and says which arguments it was given."""
import http.server, json, sys
from comfyui_version import __version__

print("arguments:", *sys.argv[1:], flush=True)
port = int(sys.argv[sys.argv.index("--port") + 1])
STATS = {
    "system": {
        "os": sys.platform, "python_version": sys.version, "embedded_python": False,
        "comfyui_version": __version__, "pytorch_version": "2.11.0", "argv": sys.argv,
        "ram_total": 1 << 34, "ram_free": 1 << 33,
    },
    "devices": [],
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(STATS if self.path == "/system_stats" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
'''


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, message: str, **files: str) -> str:
    """Commit these files, `.` in a name written `_dot_`; the commit."""
    for name, text in files.items():
        (folder / name.replace("_dot_", ".")).write_text(text, encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def release(folder: Path, version: str, requirements: str = "") -> str:
    """A commit that calls itself that version; the commit."""
    return commit(
        folder,
        version,
        comfyui_version_dot_py=f'__version__ = "{version}"\n',
        requirements_dot_txt=f"# of {version}\n{requirements}",
    )


def repository(folder: Path, *versions: str) -> Path:
    """A repository with these versions, each followed by a commit that changes something else."""
    (folder / "comfy").mkdir(parents=True)
    (folder / "custom_nodes").mkdir()
    (folder / "models" / "checkpoints").mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "comfy" / "__init__.py").touch()
    (folder / "custom_nodes" / "example.py").touch()
    (folder / "models" / "checkpoints" / "put_checkpoints_here").touch()
    (folder / "main.py").write_text(MAIN, encoding="utf-8")
    # as ComfyUI has it: what people put there is nothing for git
    ignored = "/models/\n/input/\n/output/\n/user/\n/custom_nodes/\n.venv/\n__pycache__/\n"
    (folder / ".gitignore").write_text(ignored, encoding="utf-8")
    git(folder, "add", "--force", ".")
    for version in versions:
        release(folder, version)
        commit(folder, f"after {version}", notes_dot_txt=version)
    return folder
