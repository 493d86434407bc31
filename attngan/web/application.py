"""The HTTP interface: one page, its script, and two things to ask for.

``POST /api/draw`` and ``POST /api/interpolate`` take the fields of `DrawRequest` and `InterpolationRequest` as JSON;
``GET /api/generators`` says who draws. An error is ``{"error": "one line"}``.
"""

from collections.abc import Callable, Sequence
from importlib import resources
from itertools import chain, islice
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from attngan.errors import AttnganError, MissingFileError
from attngan.pages.rendering import render
from attngan.web.drawing import (
    MOST_SEED,
    DrawRequest,
    InterpolationRequest,
    Samplers,
    draw,
    draw_interpolation,
    read_request,
)
from attngan.web.limits import BusyError, DrawingQueue, Limits, TookTooLongError

#: The page loads nothing from elsewhere, and is shown within no other one.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
#: Stands in the field at first, where a generator can read it.
EXAMPLE = "a small red bird with black wings"
#: Words of a vocabulary, most frequent first, that are proposed while one types.
PROPOSED_WORDS = 400


def application(samplers: Samplers, limits: Limits, hosts: Sequence[str] = ("*",)) -> Starlette:
    """The page and its interface.

    Args:
        samplers: Generators by the names that they are chosen by.
        limits: What a visitor may ask for.
        hosts: Names that the server answers to. Of one that is bound to this machine its own names alone: then no page
            of somebody else can reach it by a name of its own that points here.
    """
    queue = DrawingQueue(limits)
    script = resources.files("attngan.web").joinpath("page.js").read_text(encoding="utf-8")

    async def page(request: Request) -> Response:
        return HTMLResponse(_page(samplers, limits))

    async def page_script(request: Request) -> Response:
        return Response(script, media_type="text/javascript")

    async def generators(request: Request) -> Response:
        return JSONResponse([{"name": name, **_described(samplers, name)} for name in samplers])

    async def drawn(request: Request) -> Response:
        asked = read_request(DrawRequest, await _body(request, limits), limits)
        return await _answer(request, queue, lambda: draw(samplers, asked))

    async def interpolated(request: Request) -> Response:
        asked = read_request(InterpolationRequest, await _body(request, limits), limits)
        return await _answer(request, queue, lambda: draw_interpolation(samplers, asked))

    return Starlette(
        routes=[
            Route("/", page),
            Route("/page.js", page_script),
            Route("/api/generators", generators),
            Route("/api/draw", drawn, methods=["POST"]),
            Route("/api/interpolate", interpolated, methods=["POST"]),
        ],
        middleware=[
            Middleware(_WithHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        ],
        exception_handlers={
            AttnganError: lambda request, error: _refusal(error),
            HTTPException: lambda request, error: _error(error.status_code, error.detail),
            Exception: lambda request, error: _error(500, "a fault of the server: its log says more"),
        },
    )


class _WithHeaders:
    """Adds `HEADERS` to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await self.app(scope, receive, with_headers)


# --- requests ---------------------------------------------------------------------------------------------------------


async def _body(request: Request, limits: Limits) -> bytes:
    """A JSON body, and of no other kind: a page of somebody else can send such without being asked."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "a request is JSON (content-type: application/json)")
    body = b""
    try:
        with anyio.fail_after(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body:
                    raise HTTPException(413, f"a request has at most {limits.body:,} bytes")
    except TimeoutError:
        raise HTTPException(408, f"the request did not come within {limits.body_seconds:g} seconds") from None
    return body


async def _answer(request: Request, queue: DrawingQueue, work: Callable[[], dict[str, Any]]) -> Response:
    """What was drawn. Where the visitor is gone nothing more is drawn."""
    answer = Response(status_code=499)  # nobody reads it
    async with anyio.create_task_group() as tasks:

        async def give_up_when_gone() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(give_up_when_gone)
        try:
            answer = JSONResponse(await queue.run(_visitor(request), work))
        except AttnganError as error:
            answer = _refusal(error)
        tasks.cancel_scope.cancel()
    return answer


def _visitor(request: Request) -> str:
    return request.client.host if request.client else ""


def _refusal(error: Exception) -> Response:
    """An error of a visitor, or of too many of them."""
    if isinstance(error, BusyError):
        return _error(429 if error.own else 503, str(error), {"Retry-After": "5"})
    status = 404 if isinstance(error, MissingFileError) else 503 if isinstance(error, TookTooLongError) else 400
    return _error(status, str(error))


def _error(status: int, told: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": told}, status, headers)


# --- the page ---------------------------------------------------------------------------------------------------------


def _described(samplers: Samplers, name: str) -> dict[str, Any]:
    sampler = samplers[name]
    return {
        "title": sampler.title,
        "side": sampler.resolution,
        "reads_captions": sampler.reads == "captions",
        "attends": sampler.attends,
    }


def _page(samplers: Samplers, limits: Limits) -> str:
    reading = [sampler for sampler in samplers.values() if sampler.reads == "captions"]
    known = (islice(filter(str.isalpha, s.vocabulary.words), PROPOSED_WORDS) for s in reading if s.vocabulary)
    example = EXAMPLE if any(not sampler.unknown_words(EXAMPLE) for sampler in reading) else ""
    return render(
        "serve.html",
        generators=[{"name": name, **_described(samplers, name)} for name in samplers],
        limits=limits,
        most_seed=MOST_SEED,
        example=example,
        words=list(dict.fromkeys(chain.from_iterable(known))),
    )
