"""Who is on the page: the cookie, the proof that each form carries, and errors as HTML."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse

from ...errors import AccessDenied, SpriteworksError
from ...guard import is_foreign
from ..answers import meaning
from ..bodies import service_of
from ..intake import Caller
from ..sessions import LASTS, new_token, proof_of, proves
from .rendering import POLICY, render

logger = logging.getLogger(__name__)

COOKIE = "spriteworks"
# the field of each form that shows where the form is from
PROOF = "proof"
# bytes of a form: two pictures and their parameters
MOST_FORM = 64 * 1024 * 1024
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class PageRoute(APIRoute):
    """A route whose answers are pages: errors, too, and each with the headers of a page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that FastAPI makes, between a look at the cookie and the headers."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.state.token = request.cookies.get(COOKIE, "")
            request.state.is_new = not request.state.token
            if request.state.is_new:
                request.state.token = new_token()
            try:
                answer = await handler(request)
            except AccessDenied as error:
                answer = _to_sign_in(request, error)
            except SpriteworksError as error:
                answer = _problem(request, str(error), meaning(error)[1])
            except HTTPException as error:
                answer = _problem(request, str(error.detail), error.status_code)
            for name, value in _HEADERS.items():
                answer.headers.setdefault(name, value)
            if (
                request.state.is_new
                and "etag" not in answer.headers
                and "set-cookie" not in answer.headers
            ):
                set_cookie(request, answer, request.state.token)
            return answer

        return guarded


def set_cookie(request: Request, answer: Response, token: str) -> None:
    """Give a browser its cookie: out of reach of scripts, and never sent from another site."""
    answer.set_cookie(
        COOKIE,
        token,
        max_age=int(LASTS),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


async def viewer(request: Request) -> Caller:
    """Who looks; raises AccessDenied where a key is needed and nobody has signed in."""
    return await service_of(request).admit_session(token_of(request))


async def actor(request: Request) -> Caller:
    """Who posts a form; raises AccessDenied, and HTTP 403 for a form of another page."""
    await check_form(request)
    return await service_of(request).admit_session(token_of(request), counted=True)


async def check_form(request: Request) -> None:
    """Raise HTTP 403 for a form that is not of a page that this browser was given."""
    headers = request.headers
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    ours = site == "same-origin" if origin is None else not is_foreign(headers["host"], origin)
    if not ours or site not in (None, "same-origin"):
        raise HTTPException(403, "this form comes from another page")
    length = headers.get("content-length", "")
    if not length.isdigit():
        raise HTTPException(411, "a form says how long it is")
    if int(length) > MOST_FORM:
        raise HTTPException(413, f"a form has {MOST_FORM:,} bytes at most")
    form = await request.form(max_files=4, max_fields=200, max_part_size=1 << 20)
    proof = form.get(PROOF)
    if request.state.is_new or not isinstance(proof, str) or not proves(proof, token_of(request)):
        raise HTTPException(403, "this form is too old; load the page anew, and send it again")


def token_of(request: Request) -> str:
    """What the browser's cookie says, or will."""
    token: str = request.state.token
    return token


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A whole page, or a part of one."""
    text = render(
        template,
        proof=proof_of(token_of(request)),
        path=request.url.path,
        **values,
    )
    return HTMLResponse(text, status)


def wants_part(request: Request) -> bool:
    """Whether htmx asks, which puts the answer into the page that is there."""
    return request.headers.get("hx-request") == "true"


def back(request: Request, to: str) -> Response:
    """To another page after a form, or to the same."""
    return RedirectResponse(to, 303)


def _to_sign_in(request: Request, error: AccessDenied) -> Response:
    here = request.url.path if request.method == "GET" else "/"
    to = f"/sign-in?next={quote(here, safe='')}"
    if wants_part(request):
        return Response(status_code=401, headers={"HX-Redirect": to})
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(to, 303)
    return _problem(request, str(error), 401)


def _problem(request: Request, words: str, status: int) -> Response:
    if wants_part(request):
        told = page(request, "notice", status, kind="problem", words=words, warnings=())
        # wherever the answer would have gone
        told.headers.update({"HX-Retarget": "#notice", "HX-Reswap": "innerHTML"})
        return told
    return page(request, "problem", status, words=words, signed_in=False)
