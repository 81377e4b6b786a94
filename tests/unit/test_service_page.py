"""The page: nothing hostile gets into it, nobody gets in without a key, no form from elsewhere."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import requests

from orchestrator.service.page.cards import PictureCard
from orchestrator.service.page.rendering import POLICY, about, render
from orchestrator.service.page.routes import _inside
from orchestrator.service.times import kind_of, seconds_left, typical
from orchestrator.service.views import ProgressView, RequestView, Status
from orchestrator.testing import FakeServer
from sdk_pictures import picture
from service_world import LONG, World, serving, until

OBJECT_INFO = Path(__file__).parent.parent / "data" / "canvas" / "object_info.json"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"
PAGES = ("/", "/gallery", "/batches", "/servers", "/?workflow=inpaint", "/sign-in")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    info = json.loads(OBJECT_INFO.read_text(encoding="utf-8"))
    with (
        FakeServer(object_info=info) as fake,
        serving(tmp_path_factory.mktemp("page"), [fake.url]) as world,
    ):
        yield world


class Browser:
    """What a browser does: keeps its cookie, sends Origin, and reads forms."""

    def __init__(self, world: World) -> None:
        self.url = world.url
        self.session = requests.Session()
        self.session.headers["Accept"] = "text/html"

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=LONG, **options)

    def proof(self) -> str:
        found = re.search(r'name="proof" value="(\w+)"', self.get("/sign-in").text)
        assert found is not None
        return found[1]

    def post(
        self, path: str, fields: dict[str, Any] | None = None, **options: Any
    ) -> requests.Response:
        headers = {"Origin": self.url, "Sec-Fetch-Site": "same-origin", "HX-Request": "true"}
        headers |= options.pop("headers", {})
        data = {"proof": self.proof(), **(fields or {})}
        return self.session.post(
            self.url + path, data=data, headers=headers, timeout=LONG, **options
        )

    def make(self, prompt: str, **fields: Any) -> dict[str, Any]:
        """Ask for a picture by the form, and wait for it."""
        answer = self.post("/make", {"workflow": "sprite", "prompt": prompt, **fields})
        assert answer.status_code == 200, answer.text
        return until(lambda: self._newest(prompt), lambda job: job and job["status"] == "succeeded")

    def _newest(self, prompt: str) -> Any:
        jobs = requests.get(f"{self.url}/v1/jobs", timeout=LONG).json()["jobs"]
        return next((one for one in jobs if one["parameters"].get("prompt") == prompt), None)


class Elements(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def browser(world: World) -> Browser:
    return Browser(world)


# ------------------------------------------------------------------------------- what goes out


@pytest.mark.parametrize("path", [*PAGES, "/pictures/none", "/page/page.css", "/live/preview/x"])
def test_every_answer_has_the_headers(browser: Browser, path: str) -> None:
    headers = browser.get(path).headers
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers
    assert "unsafe" not in POLICY
    assert "frame-ancestors 'none'" in POLICY


@pytest.mark.parametrize("path", PAGES)
def test_pages_have_nothing_from_elsewhere_and_nothing_inline(browser: Browser, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 200
    for tag, attributes in Elements(answer.text).found:
        assert tag != "style"
        assert "style" not in attributes, (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        if tag == "script":
            assert attributes.get("src", "").startswith("/page/")  # type: ignore[union-attr]
        for name in ("src", "href", "action", "hx-get", "hx-post"):
            value = attributes.get(name) or "/"
            assert value.startswith(("/", "#")), (tag, name, value)
            assert not value.startswith("//"), (tag, name, value)


def test_every_file_that_the_pages_load_is_there(browser: Browser) -> None:
    names = {
        value
        for path in PAGES
        for _, attributes in Elements(browser.get(path).text).found
        for value in attributes.values()
        if value and value.startswith("/page/")
    }
    assert len(names) >= 6
    for name in names:
        answer = browser.get(name)
        assert answer.status_code == 200
        assert answer.content
        tag = answer.headers["ETag"]
        assert browser.get(name, headers={"If-None-Match": tag}).status_code == 304
    assert browser.get("/page/routes.py").status_code == 404
    assert browser.get("/page/..%2Froutes.py").status_code == 404


def test_hostile_texts_are_texts(browser: Browser, world: World) -> None:
    job = browser.make(HOSTILE, negative=HOSTILE)
    asset = job["images"][0]["id"]
    manifest = {"name": HOSTILE, "workflow": "sprite", "items": [{"id": "a", "prompt": HOSTILE}]}
    batch = world.call("POST", "/v1/jobs", json={"manifest": manifest})
    pages = [*PAGES, f"/pictures/{asset}", f"/?reuse={job['job_id']}"]
    if batch.status_code == 202:
        pages.append(f"/batches/{batch.json()['batch_id']}")
    seen = 0
    for path in pages:
        text = browser.get(path).text
        elements = Elements(text)
        seen += HOSTILE in elements.text or any(
            HOSTILE in (value or "") for _, each in elements.found for value in each.values()
        )
        assert "alert(" not in " ".join(
            (each.get("src") or "") + (each.get("onerror") or "") for _, each in elements.found
        )
        assert all(
            (each.get("src") or "/").startswith("/") for tag, each in elements.found if tag == "img"
        )
        assert "<script>alert" not in text
    assert seen >= 4


def test_hostile_names_and_errors_are_texts(browser: Browser) -> None:
    text = render("notice", kind="problem", words=HOSTILE, warnings=[HOSTILE])
    assert "<script" not in text
    assert "<img" not in text
    refused = browser.get(f"/?workflow={HOSTILE[:40]}")
    assert refused.status_code == 404
    assert "<script>alert" not in refused.text
    card = PictureCard(
        id="1",
        job_id="2",
        name=HOSTILE,
        title=HOSTILE,
        seed=HOSTILE,
        mark="",
        size=1,
        workflow=HOSTILE,
        made_at=HOSTILE,
        batch=HOSTILE,
        can_reuse=True,
    )
    told = Elements(
        render(
            "picture",
            picture=card,
            facts={HOSTILE: HOSTILE},
            server=HOSTILE,
            seconds=1.0,
            warnings=[HOSTILE],
            proof="",
            path="/",
            signed_in=True,
        )
    )
    assert HOSTILE in told.text
    assert [each for tag, each in told.found if tag == "img" and each["src"] != "/files/1"] == []
    assert all("onerror" not in each for _, each in told.found)
    assert browser.get("/").status_code == 200


def test_the_stream_is_the_part_that_is_on_the_page(browser: Browser) -> None:
    browser.make("a streamed key")
    with browser.get("/live", stream=True) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        data = []
        for line in answer.iter_lines(decode_unicode=True):
            if line.startswith("data: "):
                data.append(line.removeprefix("data: "))
            elif data:
                break
    text = "\n".join(data)
    assert "a streamed key" in text
    assert Elements(text).found[0][0] == "section"


# ------------------------------------------------------------------------------- what comes in


def test_a_form_of_another_page_is_refused(browser: Browser) -> None:
    fields = {"workflow": "sprite", "prompt": "forged"}
    paths = ("/make", "/make/cancel", "/make/again/x", "/batches", "/pictures/x/mark")
    for path in (*paths, "/sign-in", "/sign-out"):
        for headers in (
            {"Origin": "http://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "null"},
        ):
            assert browser.post(path, fields, headers=headers).status_code == 403, (path, headers)
        nobody = requests.post(browser.url + path, data=fields, timeout=LONG)
        assert nobody.status_code == 403
        for proof in ("", "0" * 64, "ä"):
            assert browser.post(path, {**fields, "proof": proof}).status_code == 403
    other = Browser.__new__(Browser)
    other.url, other.session = browser.url, requests.Session()
    stolen = other.proof()
    assert browser.post("/make", {**fields, "proof": stolen}).status_code == 403
    jobs = requests.get(f"{browser.url}/v1/jobs", timeout=LONG).json()["jobs"]
    assert not [one for one in jobs if one["parameters"].get("prompt") == "forged"]


def test_the_cookie_is_out_of_reach(browser: Browser) -> None:
    (cookie,) = [one.lower() for one in browser.get("/").raw.headers.getlist("set-cookie")]
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "domain" not in cookie
    assert "set-cookie" not in browser.get("/").headers


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("/gallery", "/gallery"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_nowhere_else(path: str, to: str) -> None:
    assert _inside(path) == to


def test_values_that_are_wrong_are_told(browser: Browser) -> None:
    for fields, words in (
        ({"steps": "many"}, "steps"),
        ({"count": "0"}, "1 to 64"),
        ({"count": "3", "seed": "7"}, "the same"),
        ({"prompt": "x" * 20_001}, "20,000"),
        ({"workflow": "no-such"}, "no workflow"),
    ):
        answer = browser.post("/make", {"workflow": "sprite", "prompt": "a", **fields})
        assert answer.status_code == 422, fields
        assert words in answer.text
        assert answer.headers["HX-Retarget"] == "#notice"
    bad = browser.post(
        "/make", {"workflow": "inpaint"}, files={"image": ("../../x.png", b"no picture")}
    )
    assert bad.status_code == 422


def test_a_workflow_without_prompt_and_seed_asks_for_pictures_only(browser: Browser) -> None:
    answer = browser.post("/make", {"workflow": "frames"})
    assert answer.status_code == 200, answer.text
    assert "Asked for." in answer.text
    refused = browser.post("/make", {"workflow": "frames", "count": "3"})
    assert refused.status_code == 422
    assert "this workflow has no seed" in refused.text


def test_a_size_that_the_model_was_not_made_for_is_warned_of(browser: Browser) -> None:
    answer = browser.post(
        "/make", {"workflow": "sprite", "prompt": "wide", "width": "512", "height": "96"}
    )
    assert "was made for 128x128" in answer.text
    assert 'class="warning"' in answer.text


def test_a_form_with_a_model_that_comes_along_names_larger_ones(browser: Browser) -> None:
    assert "pixel-art-xl" in browser.get("/?workflow=sprite").text
    assert "models pull" not in browser.get("/?workflow=frames").text


# ------------------------------------------------------------------------------- what it does


def test_a_picture_is_marked_made_again_and_used_again(browser: Browser, world: World) -> None:
    job = browser.make("a marked gem", seed="5", steps="3")
    asset = job["images"][0]["id"]
    assert job["seed"] == 5
    picked = browser.post(f"/pictures/{asset}/mark", {"verdict": "pick"})
    assert 'data-mark="pick"' in picked.text
    assert asset in browser.get("/gallery?show=pick").text
    assert asset not in browser.get("/gallery?show=reject").text
    assert asset not in browser.get("/gallery?show=none").text
    rejected = browser.post(f"/pictures/{asset}/mark", {"verdict": "reject"})
    assert 'data-mark="reject"' in rejected.text
    assert asset not in browser.get("/gallery?show=pick").text
    browser.post(f"/pictures/{asset}/mark", {"verdict": "none"})
    assert asset in browser.get("/gallery?show=none").text
    assert browser.post(f"/pictures/{asset}/mark", {"verdict": "love"}).status_code == 422

    again = browser.post(f"/make/again/{job['job_id']}")
    assert again.status_code == 200
    newest = world.call("GET", "/v1/jobs").json()["jobs"][0]
    assert newest["parameters"]["prompt"] == "a marked gem"
    assert newest["parameters"]["steps"] == 3
    assert newest["seed"] == newest["parameters"]["seed"] != 5

    form = browser.get(f"/?reuse={job['job_id']}").text
    values = {each.get("name"): each.get("value") for _, each in Elements(form).found}
    assert (values["seed"], values["steps"]) == ("5", "3")
    assert ">a marked gem</textarea>" in form


def test_pictures_go_in_and_are_used_again(browser: Browser, world: World) -> None:
    files = {
        "image": ("hero.png", picture((1, 2, 3))),
        "mask": ("mask.png", picture((255, 255, 255))),
    }
    answer = browser.post("/make", {"workflow": "inpaint", "prompt": "a new hat"}, files=files)
    assert answer.status_code == 200, answer.text
    job = world.call("GET", "/v1/jobs").json()["jobs"][0]
    form = Elements(browser.get(f"/?reuse={job['job_id']}").text)
    values = {each.get("name"): each.get("value") or "" for _, each in form.found}
    for role, content in (("image", picture((1, 2, 3))), ("mask", picture((255, 255, 255)))):
        assert browser.get(f"/files/{values[f'{role}_asset']}").content == content
    given = {f"{role}_asset": values[f"{role}_asset"] for role in files}
    used = browser.post("/make", {"workflow": "inpaint", "prompt": "again", **given})
    assert used.status_code == 200, used.text
    assert browser.post(f"/make/again/{job['job_id']}").status_code == 200


def test_what_is_picked_is_taken_away(browser: Browser) -> None:
    assert browser.get("/sheet.zip").status_code == 400
    for number in range(3):
        job = browser.make(f"a ../../{number} gem <b>", seed="9")
        browser.post(f"/pictures/{job['images'][0]['id']}/mark", {"verdict": "pick"})
    answer = browser.get("/sheet.zip?format=phaser&format=pixi&format=png")
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert "sprites.png" in archive.namelist()
        frames = json.loads(archive.read("sprites.json"))["frames"]
        assert len(frames) == 3
    assert answer.content == browser.get(answer.request.path_url).content
    assert browser.get("/sheet.zip?format=exe").status_code == 400
    with zipfile.ZipFile(io.BytesIO(browser.get("/picks.zip").content)) as archive:
        told = json.loads(archive.read("picks.json"))["pictures"]
        assert sorted(one["file"] for one in told) == sorted(archive.namelist())[:-1]
        assert all(re.fullmatch(r"[a-z0-9-]+\.png", one["file"]) for one in told)
        assert {one["seed"] for one in told} == {9}


def test_batches_tell_of_their_failures(browser: Browser, tmp_path: Path) -> None:
    manifest = "name: three\nworkflow: sprite\nseeds: {base: 1, count: 3}\n"
    manifest += "items: [{id: gem, prompt: a gem}]\n"
    answer = browser.post("/batches", {"manifest": manifest})
    to = answer.headers["HX-Redirect"]
    done = until(lambda: browser.get(to).text, lambda text: "3 of 3 done" in text)
    assert done.count('class="picture"') == 3
    assert "three" in browser.get("/batches").text
    assert browser.post("/batches", {"manifest": "name: ["}).status_code == 422
    assert browser.post("/batches").status_code == 422
    assert browser.get("/batches/none").status_code == 404


# ------------------------------------------------------------------------------- keys


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[World]:
    info = json.loads(OBJECT_INFO.read_text(encoding="utf-8"))
    with FakeServer(object_info=info) as fake, serving(tmp_path, [fake.url]) as world:
        yield world


def test_without_a_key_nobody_sees_anything(locked: World) -> None:
    key, secret = locked.service.keys.create("one")
    _, other_secret = locked.service.keys.create("two")
    mine, other = Browser(locked), Browser(locked)
    for path in (*PAGES[:-1], "/live", "/files/x", "/pictures/x", "/sheet.zip", "/picks.zip"):
        answer = mine.get(path, allow_redirects=False)
        assert answer.status_code == 303, path
        assert answer.headers["Location"].startswith("/sign-in?next=")
        bare = mine.get(path, headers={"Accept": "*/*"}, allow_redirects=False)
        assert bare.status_code == 401
    refused = mine.post("/make", {"workflow": "sprite"})
    assert refused.status_code == 401
    assert refused.headers["HX-Redirect"].startswith("/sign-in")
    assert mine.post("/sign-in", {"key": "sw_x_y"}).status_code == 401

    for browser, given in ((mine, secret), (other, other_secret)):
        browser.proof()
        before = browser.session.cookies["spriteworks"]
        signed = browser.post("/sign-in", {"key": given, "next": "/gallery"}, allow_redirects=False)
        assert signed.headers["Location"] == "/gallery"
        assert given not in str(signed.headers)
        assert browser.session.cookies["spriteworks"] != before
    assert mine.get("/").status_code == 200
    mine.post("/make", {"workflow": "sprite", "prompt": "a secret"})
    auth = {"Authorization": f"Bearer {secret}"}
    job = until(
        lambda: locked.call("GET", "/v1/jobs", headers=auth).json()["jobs"][0],
        lambda one: one["status"] == "succeeded",
    )
    asset = job["images"][0]["id"]
    assert mine.get(f"/pictures/{asset}").status_code == 200
    for path in (f"/pictures/{asset}", f"/files/{asset}", f"/?reuse={job['job_id']}"):
        assert other.get(path).status_code == 404
    assert other.get(f"/live/preview/{job['job_id']}").status_code == 404
    assert other.post(f"/pictures/{asset}/mark", {"verdict": "pick"}).status_code == 404
    assert other.post(f"/make/again/{job['job_id']}").status_code == 404
    assert other.post("/make/cancel", {"which": job["job_id"]}).status_code == 404
    for path in ("/", "/gallery", "/servers"):
        assert "a secret" not in other.get(path).text

    out = mine.session.cookies["spriteworks"]
    mine.post("/sign-out")
    mine.session.cookies.set("spriteworks", out)
    assert mine.get("/", allow_redirects=False).status_code == 303
    mine.post("/sign-in", {"key": secret})
    assert mine.get("/").status_code == 200
    locked.service.keys.revoke(key.id)
    assert mine.get("/", allow_redirects=False).status_code == 303


# ------------------------------------------------------------------------------- times


def _view(**changes: Any) -> RequestView:
    values: dict[str, Any] = {
        "id": "1",
        "owner": "",
        "status": Status.QUEUED,
        "created_at": 0.0,
        "expires_at": 1e9,
        "notes": {"workflow": "sprite", "parameters": {"model": "m"}},
    }
    return RequestView(**{**values, **changes})


def test_the_usual_time_is_the_median_of_the_latest() -> None:
    kind = kind_of(_view().notes)
    assert kind == ("sprite", "m")
    old = [(kind, 100.0)] * 20
    assert typical([(kind, 2.0), (kind, 4.0), (kind, 3.0)] + [(kind, 3.0)] * 6 + old) == {kind: 3.0}
    assert typical([]) == {}


def test_the_time_left_grows_with_the_queue_and_falls_with_servers() -> None:
    assert seconds_left(_view(queue_position=1), 10.0, 1, 0.0) == 10.0
    assert seconds_left(_view(queue_position=3), 10.0, 1, 0.0, [4.0]) == 34.0
    assert seconds_left(_view(queue_position=3), 10.0, 2, 0.0, [4.0, 4.0]) == 24.0
    assert seconds_left(_view(), 10.0, 1, 0.0) is None
    running = _view(status=Status.RUNNING, started_at=5.0)
    assert seconds_left(running, 10.0, 1, 8.0) == 7.0
    for share, left in ((0.05, 0.0), (0.5, 55.0), (0.8, 13.75), (1.0, 0.0)):
        progress = ProgressView(value=share, nodes_done=1, nodes_total=2)
        late = _view(status=Status.RUNNING, started_at=5.0, progress=progress)
        assert seconds_left(late, 10.0, 1, 60.0) == pytest.approx(left)


def test_times_are_told_as_rough_as_they_are() -> None:
    told = [about(seconds) for seconds in (0.5, 7.2, 43.0, 300.0, 7300.0)]
    assert told == ["a moment", "about 7 s", "about 45 s", "about 5 min", "about 2.0 h"]
