"""What every route asks for: the viewer's parts, who asks, and what each page shows of that person."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.templating import Jinja2Templates

from crystal_search.classes import CLASSES
from viewer.ahead import Ahead
from viewer.errors import NotAllowed
from viewer.gate import COOKIE, Gate, Visitor
from viewer.keys import CLASS_KEYS
from viewer.lab import Lab
from viewer.person import Role
from viewer.pictures import Picture, PictureCache
from viewer.plate_view import PlateSheets
from viewer.pulse import Pulse

_SHEETS_KEPT = 2000

TEMPLATES = Jinja2Templates(Path(__file__).parent / "templates")


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


def page_content(viewer: Viewer, visitor: Visitor | None, page: str) -> dict[str, Any]:
    """What every page shows of the person who asks, one that tells of an error too."""
    return {
        "visitor": visitor,
        "page": page,
        "may_score": visitor is not None and viewer.lab.settings.viewer.scoring and visitor.person.may(Role.SCORER),
        "access": viewer.gate.access,
        "classes": [(row, viewer.lab.codes.of(row.name), CLASS_KEYS[row.name]) for row in CLASSES if row.name in CLASS_KEYS],
    }
