"""A bare FastAPI application to measure the service beside: it answers what it was told to.

python -m scripts.bench.bare ANSWER.json        # prints its URL
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response

from orchestrator.service.v2.shapes import JobRequest


class _Server(uvicorn.Server):
    async def startup(self, sockets: object = None) -> None:
        await super().startup()
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"http://127.0.0.1:{port}", flush=True)


def main() -> None:
    answer = Path(sys.argv[1]).read_bytes()
    app = FastAPI()

    @app.get("/jobs/{job_id}")
    async def get_job(job_id: str) -> Response:
        return Response(answer, media_type="application/json")

    @app.post("/jobs")
    async def post_job(body: JobRequest) -> Response:
        return Response(answer, 201, media_type="application/json")

    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, server_header=False)
    _Server(config).run()


if __name__ == "__main__":
    main()
