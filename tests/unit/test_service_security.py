"""What a service refuses, whoever asks."""

from __future__ import annotations

import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import patience
from orchestrator.addresses import is_loopback
from orchestrator.errors import ProtocolError
from orchestrator.protocol import decode_body
from orchestrator.testing import FakeServer, Script
from sdk_pictures import picture
from service_world import LONG, World, graph, serving, until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("service")
    with FakeServer() as fake, serving(folder, [fake.url]) as world:
        world.fake = fake
        yield world


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST:8190", True),
        ("app.localhost", True),
        ("127.0.0.1", True),
        ("127.0.0.1:80", True),
        ("127.8.9.1", True),
        ("[::1]:8190", True),
        ("::1", True),
        ("", False),
        ("example.com", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("127.0.0.1@example.com", False),
        ("LocalHost.", True),
        ("localhost.:80", True),
        ("example.com@localhost", False),
        ("localhost:80:80", False),
        ("localhost:99999", False),
        ("localhost:", False),
        ("localhost, example.com", False),
        ("localhost/", False),
        ("example.com\\@localhost", False),
        ("[::1", False),
        ("[localhost]", False),
        ("2130706433", False),
        ("example.com#localhost", False),
        ("[", False),
    ],
)
def test_names_of_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8190", "192.168.0.1", ""])
def test_a_foreign_name_is_refused(world: World, host: str) -> None:
    answer = world.call("GET", "/v1/servers", headers={"Host": host})
    assert answer.status_code in (400, 421), answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_foreign_page_is_refused(world: World, headers: dict[str, str]) -> None:
    answer = world.call("POST", "/v1/jobs", json={"prompt": "x"}, headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"workflow": ' + b"[" * 100_000,
        b'{"workflow": ' + b'{"a":' * 2000 + b"1" + b"}" * 2001,
        b'{"workflow": {"1": {"class_type": "EmptyImage", "inputs": {"width": NaN}}}}',
        b'{"workflow": {"1": {"class_type": "EmptyImage", "inputs": {"width": 1e999}}}}',
        b'{"workflow": {"1": {"class_type": "EmptyImage", "inputs": {"width": -Infinity}}}}',
        b'{"workflow": {"1": {"class_type": "\\ud800", "inputs": {}}}}',
        b'{"workflow": {"1": {"class_type": 5}}}',
        b'{"workflow": {"1": {"class_type": "EmptyImage", "inputs": []}}}',
        b'{"workflow": {"1": {"class_type": "EmptyImage", "inputs": {"width": ["1", 0]}}}}',
        b'{"workflow": {}}',
        b'{"workflow": {"1": "no node"}}',
        b'{"workflow": {"1": {"class_type": "LoadImage", "inputs": {"image": {"__type": "x"}}}}}',
    ],
)
def test_no_json_and_no_graph_is_told(world: World, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    for path in ("/api/v2/jobs", "/v1/jobs"):
        answer = world.call("POST", path, data=body, headers=headers)
        assert answer.status_code in (400, 422), (path, answer.text)
        assert answer.json()["error"]["code"]


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1E999"])
def test_what_is_no_number_is_no_json(number: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_body(b'{"a": [{"b": ' + number + b"}]}")
    assert decode_body(b'{"a": "NaN is a text, and 1e5 is a number", "b": 1e5}')["b"] == 1e5


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"a": 1}, "metadata_invalid"),
        ({"": "x"}, "metadata_invalid"),
        ({"a": "x" * 513}, "metadata_invalid"),
        ({str(one): "x" for one in range(17)}, "metadata_invalid"),
        ({"a\0": "x"}, "metadata_invalid"),
    ],
)
def test_labels_are_checked(world: World, metadata: dict[str, Any], code: str) -> None:
    refused = world.post(graph(), metadata=metadata)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, code)


@pytest.mark.parametrize(
    "extra",
    [{}, {"other": "x"}, {"api_key_comfy_org": 5}, {"api_key_comfy_org": ""}],
)
def test_extra_data_is_checked(world: World, extra: dict[str, Any]) -> None:
    assert world.post(graph(), extra_data=extra).status_code == 400


def test_a_login_is_sent_and_not_kept(tmp_path: Path) -> None:
    with FakeServer() as fake, serving(tmp_path, [fake.url]) as world:
        secret = "comfyui-0123456789abcdef"
        id = world.post(graph(), extra_data={"api_key_comfy_org": secret}).json()["id"]
        world.ended(id)
        assert fake.submissions[-1].extra_data["api_key_comfy_org"] == secret
        assert not world.service.supplies._secrets
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in kept if secret.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "id",
    [
        "x",
        "..",
        "%2e%2e%2fservice.sqlite",
        "00000000-0000-4000-8000-00000000000A",
        "' OR 1=1 --",
        "%00",
        "a" * 5000,
    ],
)
def test_what_is_no_id_is_not_there(world: World, id: str) -> None:
    for path in (f"/api/v2/jobs/{id}", f"/api/v2/assets/{id}", f"/v1/jobs/{id}"):
        assert world.call("GET", path).status_code in (404, 405, 307), path
    assert world.call("GET", f"/api/v2/assets/{id}/content").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "cursor=x",
        "cursor=" + "a" * 65,
        "status=nothing",
        "metadata[=x",
        "metadata[a]=1&metadata[a]=2",
    ],
)
def test_a_wrong_query_is_told(world: World, query: str) -> None:
    assert world.call("GET", f"/api/v2/jobs?{query}").status_code in (400, 422)


def test_what_is_not_known_is_not_there(world: World) -> None:
    for path in ("/docs", "/redoc", "/api/v2/nothing", "/v1", "/openapi.json/x"):
        answer = world.call("GET", path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"
    assert world.call("PUT", "/v1/jobs").status_code == 405
    assert world.call("GET", "/openapi.json").json()["info"]["title"] == "Spriteworks"


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\0b.png", "C:\\x.png", "x" * 2000])
def test_names_of_uploads_never_leave_their_place(world: World, name: str) -> None:
    files = {"file": ("x.png", picture(), "image/png")}
    answer = world.call("POST", "/api/v2/assets", files=files, data={"file_path": name})
    assert answer.status_code in (201, 422), answer.text
    if answer.ok:
        assert ".." not in answer.json()["file_path"]


def test_a_lying_upload_is_told(world: World) -> None:
    for content, hash, code in (
        (b"no picture at all", None, "invalid_file"),
        (picture()[:-20], None, "invalid_file"),
        (picture(), "blake3:" + "0" * 64, "hash_mismatch"),
        (picture(), "md5:0", "invalid_request"),
    ):
        data = {"file_path": "x.png"} | ({"expected_hash": hash} if hash else {})
        files = {"file": ("x.png", content, "image/png")}
        answer = world.call("POST", "/api/v2/assets", files=files, data=data)
        assert answer.json()["error"]["code"] == code
    assert world.call("POST", "/api/v2/assets", data=b"x").status_code == 422
    from_hash = {"hash": "blake3:" + "1" * 64}
    answer = world.call("POST", "/api/v2/assets/from-hash", json=from_hash)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "blob_not_found")


def test_a_range_behind_the_end_is_told(world: World) -> None:
    files = {"file": ("x.png", picture((9, 8, 7)), "image/png")}
    asset = world.call("POST", "/api/v2/assets", files=files).json()
    size = asset["size_bytes"]
    path = f"/api/v2/assets/{asset['id']}/content"
    part = world.call("GET", path, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, picture((9, 8, 7))[1:4])
    behind = world.call("GET", path, headers={"Range": f"bytes={size}-"})
    assert behind.status_code == 416
    assert behind.headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://localhost:8188/prompt",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "gopher://x",
        "http://user:pass@example.com/",
        "x",
    ],
)
def test_no_webhook_to_addresses_inside(world: World, url: str) -> None:
    refused = world.post(graph(), webhook_url=url)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_webhook")


def test_a_body_that_is_too_large_is_refused_by_its_head(world: World) -> None:
    host, _, port = world.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: {host}\r\nContent-Length: {10**12}\r\n\r\n"
        line.sendall(head.encode())
        answer = line.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 413")


def test_a_json_body_is_smaller_than_a_file_may_be(world: World) -> None:
    body = json.dumps({"prompt": "x" * (65 * 1024 * 1024)})
    headers = {"Content-Type": "application/json"}
    assert world.call("POST", "/v1/jobs", data=body, headers=headers).status_code == 413


# ------------------------------------------------------------------------ slow clients


def _dripped(url: str, start: bytes, drops: Iterator[bytes], pause: float) -> bytes:
    """What is answered to a client that sends one drop after another, until it is cut off."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=LONG) as line:
        line.sendall(start.replace(b"HOST", host.encode()))
        line.settimeout(pause)
        late = time.monotonic() + LONG
        answer = b""
        while time.monotonic() < late:
            try:
                came = line.recv(65536)
                if not came:
                    return answer
                answer += came
            except TimeoutError:
                line.sendall(next(drops))
            except ConnectionError:
                return answer
    raise AssertionError(f"nobody cut it off: {answer!r}")


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD", "BODY"):
        monkeypatch.setattr(patience, name, 0.5)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    "start", [b"", b"GET /health HTTP/1.1\r\nHost: HOST\r\n\r\nG", b"GET /health HTTP/1.1\r\nA: "]
)
def test_a_head_that_never_ends_is_cut_off(world: World, start: bytes) -> None:
    answer = _dripped(world.url, start, itertools.repeat(b"x"), 0.05)
    # a whole request before it was answered
    assert (b" 200 " in answer) is (b"\r\n\r\n" in start)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v1/jobs", "application/json"), ("/api/v2/assets", "multipart/form-data; boundary=b")],
)
def test_a_body_that_never_ends_is_refused(world: World, path: str, kind: str) -> None:
    start = (
        f"POST {path} HTTP/1.1\r\nHost: HOST\r\nContent-Type: {kind}\r\n"
        "Content-Length: 99999\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    )
    answer = _dripped(world.url, start.encode(), itertools.repeat(b"x"), 0.05)
    assert answer.startswith(b"HTTP/1.1 408"), answer
    assert b'"too_slow"' in answer
    until(lambda: list(world.service.assets.storage._place.parts.iterdir()), lambda left: not left)


def test_a_slow_body_that_comes_on_is_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In all it takes longer than one that does not come on would be waited for."""
    monkeypatch.setattr(patience, "BODY", 1.0)
    monkeypatch.setattr(patience, "RATE", 20.0)
    body = json.dumps({"workflow": graph()}).encode().ljust(1500)
    text = iter([body[at : at + 100] for at in range(0, len(body), 100)])
    start = (
        "POST /api/v2/jobs HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answer = _dripped(world.url, start.encode(), text, 0.1)
    assert answer.startswith(b"HTTP/1.1 201"), answer


def test_a_stream_outlives_what_a_request_may_take(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience is with what clients send, not with what they hear."""
    hold = threading.Event()
    world.fake.script(Script(gates={"2": hold}))
    try:
        id = world.post(graph(color=77)).json()["id"]
        url = f"{world.url}/api/v2/jobs/{id}/events"
        for name in ("HEAD", "BODY"):
            monkeypatch.setattr(patience, name, 0.5)
        with world.session.get(url, stream=True, timeout=LONG) as answer:
            lines = answer.iter_lines(decode_unicode=True)
            next(lines)
            time.sleep(1.0)
            hold.set()
            assert any('"succeeded"' in line for line in lines)
    finally:
        hold.set()


# ---------------------------------------------------------------- keys, names and addresses


def test_a_wrong_a_revoked_and_a_timed_out_key_are_told_alike(tmp_path: Path) -> None:
    with FakeServer() as fake, serving(tmp_path, [fake.url]) as world:
        keys = world.service.keys
        good, secret = keys.create("good")
        revoked, old_secret = keys.create("revoked")
        _, timed = keys.create("timed", expires_at=time.time() + 3600.0)
        world.service._keys_asked = 0.0

        def ask(headers: dict[str, str]) -> tuple[int, str]:
            answer = world.call("GET", "/api/v2/jobs", headers=headers)
            return answer.status_code, answer.text

        for right in (secret, old_secret, timed):
            assert ask({"Authorization": f"Bearer {right}"})[0] == 200
            assert ask({"X-API-Key": right})[0] == 200
        keys.revoke(revoked.id)
        keys._clock = lambda: time.time() + 3601.0
        wrong = [
            old_secret,
            timed,
            secret[:-1] + ("a" if secret[-1] != "a" else "b"),
            f"sw_{good.id}_",
            "sw_nobody_" + secret.rpartition("_")[2],
            secret.upper(),
            "' OR 1=1 --",
            "x" * 5000,
        ]
        answers = [ask({"Authorization": f"Bearer {one}"}) for one in wrong]
        assert {status for status, _ in answers} == {401}
        assert len({text for _, text in answers}) == 1
        assert world.call("GET", "/api/v2/jobs").status_code == 401
        for path in ("/api/v2/assets/x", "/v1/jobs/x/stream", "/v1/servers", "/v1/models"):
            assert world.call("GET", path).status_code == 401
        assert ask({"Authorization": f"Bearer {secret}"})[0] == 200


@pytest.mark.parametrize(
    "image",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:8190/v1/jobs",
        "file:///etc/passwd",
        "/etc/passwd",
        "../../../etc/passwd",
        "s3://bucket/x",
        "data:text/html;base64,PGI+",
        "\\\\host\\share\\x.png",
    ],
)
def test_no_picture_is_fetched_from_elsewhere(world: World, image: str) -> None:
    """What stands for a picture is an asset's id or the picture itself, never an address."""
    seen = len(world.fake.submissions)
    body = {"workflow": "inpaint", "prompt": "x", "image": image}
    answer = world.call("POST", "/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_file")
    graph_with_it = graph()
    graph_with_it["3"] = {
        "class_type": "LoadImage",
        "inputs": {"image": {"__type": "core/ASSET", "info": {"id": image}}},
    }
    graph_with_it["2"]["inputs"]["images"] = ["3", 0]
    refused = world.post(graph_with_it)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "missing_asset")
    given = world.call("POST", "/api/v2/assets/from-hash", json={"hash": image})
    assert given.status_code in (404, 422)
    assert len(world.fake.submissions) == seen


@pytest.mark.parametrize(
    "name", ['x"\r\nSet-Cookie: a=b\r\n.png', "x\nContent-Type: text/html.png", "a;b\u2028c.png"]
)
def test_no_name_writes_a_header_of_an_answer(world: World, name: str) -> None:
    files = {"file": ("x.png", picture(), "image/png")}
    kept = world.call("POST", "/api/v2/assets", files=files, data={"file_path": name})
    if kept.status_code == 422:
        return
    answer = world.call("GET", f"/api/v2/assets/{kept.json()['id']}/content")
    assert "set-cookie" not in answer.headers
    assert answer.headers["Content-Type"] == "image/png"


def test_what_a_client_calls_its_request_writes_no_header(world: World) -> None:
    for id in ("a b", "x" * 65, "\u00e4", "a:b"):
        answer = world.call("GET", "/health", headers={"X-Request-Id": id.encode("utf-8")})
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])
    assert world.call("GET", "/health", headers={"X-Request-Id": "a.B_9-"}).headers[
        "X-Request-Id"
    ] == ("a.B_9-")
