"""The pages: frames that the scripts in static/js fill from the API, and the sign-in, which needs none."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from viewer.asking import TEMPLATES, TheChanger, TheViewer, TheVisitor, page_content, set_cookie
from viewer.errors import HttpError, NotFound
from viewer.gate import Visitor
from viewer.plates import course_of, find_plate, inspections_of
from viewer.theme import colours_css

router = APIRouter(default_response_class=HTMLResponse)


def _page(request: Request, viewer: TheViewer, visitor: Visitor | None, page: str, **more: Any) -> Response:
    answer: Response = TEMPLATES.TemplateResponse(request, f"{page}.html", page_content(viewer, visitor, page) | more)
    if visitor is not None and visitor.new_token:
        set_cookie(viewer, answer, visitor.new_token)
    return answer


@router.get("/")
def start(request: Request, viewer: TheViewer, visitor: TheVisitor) -> Response:
    return _page(request, viewer, visitor, "worklist")


@router.get("/plates/{barcode}")
def newest(viewer: TheViewer, visitor: TheVisitor, barcode: str) -> Response:
    """The plate's newest inspection."""
    inspections = inspections_of(viewer.lab, find_plate(viewer.lab, visitor.person, barcode))
    if not inspections:
        raise NotFound(f"plate {barcode} has not been imaged yet")
    return RedirectResponse(f"/plates/{barcode}/{inspections[-1].number}", 303)


@router.get("/plates/{barcode}/{number}")
def plate(request: Request, viewer: TheViewer, visitor: TheVisitor, barcode: str, number: int) -> Response:
    found = find_plate(viewer.lab, visitor.person, barcode)
    if number not in {inspection.number for inspection in inspections_of(viewer.lab, found)}:
        raise NotFound(f"plate {barcode} has no inspection {number}")
    return _page(request, viewer, visitor, "plate", plate=found, number=number)


@router.get("/drops/{inspection_id}")
def drop(request: Request, viewer: TheViewer, visitor: TheVisitor, inspection_id: int) -> Response:
    plate, _ = course_of(viewer.lab, visitor.person, inspection_id)
    return _page(request, viewer, visitor, "drop", plate=plate, inspection_id=inspection_id)


@router.get("/grid")
def grid(request: Request, viewer: TheViewer, visitor: TheVisitor) -> Response:
    return _page(request, viewer, visitor, "grid")


@router.get("/batches/{name}")
def batch(request: Request, viewer: TheViewer, visitor: TheVisitor, name: str) -> Response:
    return _page(request, viewer, visitor, "batch", name=name)


@router.get("/colours.css")
def colours() -> Response:
    """The table of classes as styles; it tells nothing about a lab, so it needs no sign-in."""
    return Response(colours_css(), media_type="text/css", headers={"Cache-Control": "max-age=300"})


@router.get("/sign-in")
def sign_in_page(request: Request, viewer: TheViewer, token: str = "", next: str = "/") -> Response:
    if token:
        visitor = viewer.gate.sign_in_local(token)
        answer = RedirectResponse(_local_path(next), 303)
        set_cookie(viewer, answer, visitor.new_token or "")
        return answer
    return _page(request, viewer, None, "sign_in", next=_local_path(next), problem="")


@router.post("/sign-in")
def sign_in(
    request: Request,
    viewer: TheViewer,
    name: Annotated[str, Form(max_length=100)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form(max_length=500)] = "/",
) -> Response:
    address = request.client.host if request.client else ""
    try:
        visitor = viewer.gate.sign_in(name.strip(), password, address)
    except HttpError as error:
        answer = _page(request, viewer, None, "sign_in", next=_local_path(next), problem=str(error), name=name)
        answer.status_code = error.status
        return answer
    answer = RedirectResponse(_local_path(next), 303)
    set_cookie(viewer, answer, visitor.new_token or "")
    return answer


@router.post("/sign-out")
def sign_out(request: Request, viewer: TheViewer, visitor: TheChanger) -> Response:
    viewer.gate.sign_out(request)
    answer = Response(status_code=204)
    answer.delete_cookie("crystal_search")
    return answer


def _local_path(path: str) -> str:
    """``path`` where it is one of ours, else the start: a sign-in leads nowhere else."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path else "/"
