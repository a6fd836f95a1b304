"""The viewer as a web application."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from crystal_search.errors import CrystalSearchError, TryAgainLater, UsageError
from crystal_search.ledger import Ledger
from crystal_search.settings import Settings
from viewer.ahead import Ahead
from viewer.errors import HttpError, NotAllowed, SignInFirst
from viewer.gate import COOKIE, Gate, Visitor, allowed_hosts
from viewer.lab import Lab
from viewer.person import Role
from viewer.pictures import Picture, PictureCache
from viewer.plate_view import PlateSheets
from viewer.pulse import Pulse
from viewer.shield import Shield

_log = logging.getLogger(__name__)
_FOLDER = Path(__file__).parent
_SHEETS_KEPT = 2000

TEMPLATES = Jinja2Templates(_FOLDER / "templates")


@dataclass
class Viewer:
    """What the routes use: lab, gate, the cache of pictures, the pulse, thumbnails made ahead, and which tiles are on which sheet."""

    lab: Lab
    gate: Gate
    pictures: PictureCache
    pulse: Pulse
    ahead: Ahead
    _sheets: OrderedDict[str, tuple[Picture | None, ...]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def remember(self, sheets: PlateSheets) -> None:
        """Sheets that a page was told of and will ask for."""
        with self._lock:
            for version, tiles in sheets.tiles.items():
                self._sheets[version] = tiles
                self._sheets.move_to_end(version)
            while len(self._sheets) > _SHEETS_KEPT:
                self._sheets.popitem(last=False)

    def tiles(self, version: str) -> tuple[Picture | None, ...] | None:
        with self._lock:
            return self._sheets.get(version)


def viewer_of(request: Request) -> Viewer:
    found: Viewer = request.app.state.viewer
    found.ahead.somebody_asks()
    return found


def visitor_of(request: Request, response: Response) -> Visitor:
    """The person who asks; a sign-in by the proxy is new and gets its cookie. Raises ``SignInFirst``, ``NotAllowed``."""
    viewer = viewer_of(request)
    visitor = viewer.gate.visitor(request)
    request.state.visitor = visitor
    if visitor.new_token:
        set_cookie(viewer, response, visitor.new_token)
    return visitor


def changer_of(request: Request, visitor: Annotated[Visitor, Depends(visitor_of)]) -> Visitor:
    """The person who asks for a change."""
    viewer_of(request).gate.check_change(request, visitor)
    return visitor


def admin_of(visitor: Annotated[Visitor, Depends(changer_of)]) -> Visitor:
    if not visitor.person.may(Role.ADMIN):
        raise NotAllowed("only an admin may do that")
    return visitor


TheViewer = Annotated[Viewer, Depends(viewer_of)]
TheVisitor = Annotated[Visitor, Depends(visitor_of)]
TheChanger = Annotated[Visitor, Depends(changer_of)]
TheAdmin = Annotated[Visitor, Depends(admin_of)]


def set_cookie(viewer: Viewer, response: Response, token: str) -> None:
    """The sign-in's cookie: not for scripts, not for requests that another site starts."""
    settings = viewer.lab.settings.viewer
    response.set_cookie(COOKIE, token, max_age=int(settings.session_hours * 3600), httponly=True, samesite="lax", secure=settings.https)


def make_app(settings: Settings, ledger: Ledger, local_name: str | None = None) -> FastAPI:
    """The application over an open ledger. Raises ``SettingsError`` for settings that would let the network in without sign-in."""
    from viewer.routes import api, exports, images, pages

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
    page: HTMLResponse = TEMPLATES.TemplateResponse(request, "error.html", {"line": line, "visitor": visitor, "page": "error"}, status)
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
