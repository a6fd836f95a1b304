"""An inspection of a plate as a file."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from crystal_search.classes import CLASSES
from viewer import exports
from viewer.asking import TEMPLATES, TheViewer, TheVisitor
from viewer.errors import NotFound
from viewer.plate_view import plate_view
from viewer.plates import find_plate
from viewer.shield import REPORT_POLICY
from viewer.theme import report_css

router = APIRouter(prefix="/plates/{barcode}/{number}")


def _view(viewer: TheViewer, visitor: TheVisitor, barcode: str, number: int) -> dict[str, Any]:
    plate = find_plate(viewer.lab, visitor.person, barcode)
    view, _ = plate_view(viewer.lab, visitor.person, plate, number, False)
    if not view["drops"]:
        raise NotFound(f"plate {barcode} has no inspection {number}")
    return view


def _as_file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name.replace(" ", "_")}"'}


@router.get("/scores.csv")
def scores_csv(viewer: TheViewer, visitor: TheVisitor, barcode: str, number: int) -> Response:
    view = _view(viewer, visitor, barcode, number)
    return Response(exports.as_csv(view), media_type="text/csv; charset=utf-8", headers=_as_file(f"{barcode}_{number}_scores.csv"))


@router.get("/scores.json")
def scores_json(viewer: TheViewer, visitor: TheVisitor, barcode: str, number: int) -> Response:
    view = _view(viewer, visitor, barcode, number)
    content = {"plate": view["plate"], "inspection": number, "drops": exports.rows(view)}
    return JSONResponse(content, headers=_as_file(f"{barcode}_{number}_scores.json"))


@router.get("/boxes.json")
def boxes(viewer: TheViewer, visitor: TheVisitor, barcode: str, number: int) -> Response:
    plate = find_plate(viewer.lab, visitor.person, barcode)
    content = exports.labelled_boxes(viewer.lab, visitor.person, plate, number)
    return JSONResponse(content, headers=_as_file(f"{barcode}_{number}_boxes.json"))


@router.get("/report.html")
def report(request: Request, viewer: TheViewer, visitor: TheVisitor, barcode: str, number: int) -> Response:
    """One self-contained file that prints well."""
    view = _view(viewer, visitor, barcode, number)
    drops = sorted(view["drops"], key=lambda tile: (tile["row"], tile["column"], tile["subwell"]))
    crystals = sorted(
        (tile for tile in drops if tile["art"] and tile["art"]["crystal"] is not None), key=lambda tile: -tile["art"]["crystal"]
    )
    content = {
        "view": view,
        "drops": drops,
        "likeliest": crystals[:12],
        "pictures": exports.thumbnails_inline(viewer.lab, viewer.pictures, view),
        "classes": [(row, viewer.lab.codes.of(row.name)) for row in CLASSES if row.name != "rim"],
        "css": report_css(),
        "made": datetime.now().isoformat(sep=" ", timespec="minutes"),
        "person": visitor.person.name,
    }
    answer: Response = TEMPLATES.TemplateResponse(request, "report.html", content)
    answer.headers["Content-Security-Policy"] = REPORT_POLICY
    answer.headers["Content-Disposition"] = f'inline; filename="{barcode.replace(" ", "_")}_{number}_report.html"'
    return answer
