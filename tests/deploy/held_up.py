"""Serves with one fake server, which holds jobs up or lets them go: for monitor.bats.

    python tests/deploy/held_up.py DATA CONTROL

The service's URL is the only line on standard output; CONTROL gets the URL to which "hold" and "go"
are posted.
"""

from __future__ import annotations

import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "unit"))

from orchestrator.testing import FakeServer, Script
from served import served


def main(data: Path, control: Path) -> None:
    """Serve until SIGTERM."""
    gate = threading.Event()
    gate.set()

    class Control(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            word = self.rfile.read(int(self.headers["Content-Length"]))
            if word == b"hold":
                gate.clear()
            else:
                gate.set()
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    with FakeServer() as fake, served(data, ["--server", fake.url]) as service:
        for _ in range(100):
            fake.script(Script(gates={"1": gate}))
        (data / "service.pid").write_text(str(service.process.pid))
        server = HTTPServer(("127.0.0.1", 0), Control)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        control.write_text(f"http://127.0.0.1:{server.server_port}/")
        print(service.url, flush=True)
        over.wait()
        gate.set()
        server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
