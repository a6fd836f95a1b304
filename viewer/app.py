"""The viewer as a web application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from crystal_search.errors import CrystalSearchError, TryAgainLater, UsageError
from crystal_search.ledger import Ledger
from crystal_search.settings import Settings
from viewer.ahead import Ahead
from viewer.asking import TEMPLATES, Viewer, page_content
from viewer.errors import HttpError, SignInFirst
from viewer.gate import Gate, Visitor, allowed_hosts
from viewer.lab import Lab
from viewer.pictures import PictureCache
from viewer.pulse import Pulse
from viewer.routes import api, exports, images, pages
from viewer.shield import Shield

_log = logging.getLogger(__name__)
_FOLDER = Path(__file__).parent


def make_app(settings: Settings, ledger: Ledger, local_name: str | None = None) -> FastAPI:
    """The application over an open ledger. Raises ``SettingsError`` for settings that would let the network in without sign-in."""
    lab = Lab(settings, ledger)
    pictures = PictureCache(settings.thumbnails, settings.viewer.thumbnail_cache_mb * 1_000_000)
    viewer = Viewer(lab, Gate(lab, local_name), pictures, Pulse(lab), Ahead(lab, pictures))

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        viewer.pulse.start()
        viewer.ahead.start()
        yield
        viewer.ahead.stop()
        viewer.pulse.stop()

    app = FastAPI(title="Crystal Search", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    app.state.viewer = viewer
    for router in (pages.router, api.router, images.router, exports.router):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=_FOLDER / "static"), name="static")
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts(lab), www_redirect=False)
    app.add_middleware(Shield)
    app.add_exception_handler(CrystalSearchError, _explain)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    return app


def _wants_page(request: Request) -> bool:
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


def _answer(request: Request, status: int, line: str) -> Response:
    """One line, as a page for who reads pages and as JSON for programs."""
    if not _wants_page(request):
        return JSONResponse({"error": line}, status)
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    content = page_content(request.app.state.viewer, visitor, "error") | {"line": line}
    page: HTMLResponse = TEMPLATES.TemplateResponse(request, "error.html", content, status)
    return page


async def _explain(request: Request, error: Exception) -> Response:
    if isinstance(error, SignInFirst) and _wants_page(request) and request.method == "GET":
        return RedirectResponse(f"/sign-in?next={quote(request.url.path)}", 303)
    status = (
        error.status
        if isinstance(error, HttpError)
        else 503
        if isinstance(error, TryAgainLater)
        else 400
        if isinstance(error, UsageError)
        else 500
    )
    if status == 500:
        _log.error("%s", error)
    answer = _answer(request, status, str(error).splitlines()[0])
    if status == 503:
        answer.headers["Retry-After"] = "5"
    return answer


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    return _answer(request, 400, f"{where}: {first['msg']}")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    lines = {404: "there is no such page", 405: "that can not be done here"}
    return _answer(request, error.status_code, lines.get(error.status_code, str(error.detail)))
