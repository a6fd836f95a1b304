"""What the pages ask for and change, as JSON. An error is ``{"error": one line}``."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from viewer.asking import TheAdmin, TheChanger, TheViewer, TheVisitor
from viewer.drop_view import drop_view
from viewer.errors import NotAllowed, NotFound
from viewer.held import approve, batch_page
from viewer.marks import mark_wrong, note_plate_seen, note_seen
from viewer.person import Role
from viewer.plate_view import earlier_hits, plate_view, score_json
from viewer.plates import find_plate, plates_from
from viewer.scoring import MOST_DROPS, enter, take_back
from viewer.worklist import worklist

router = APIRouter(prefix="/api")


def _json(content: Any) -> Response:
    """JSON at once: FastAPI's own way looks at every value of a large plate first."""
    return Response(msgspec.json.encode(content), media_type="application/json")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DropImage(_Body):
    id: int
    image: Annotated[str, Field(max_length=255)]


class NewScores(_Body):
    action: Annotated[str, Field(max_length=36)]
    score: Annotated[str, Field(max_length=10)]  # as long as a code of the settings may be
    drops: Annotated[list[DropImage], Field(min_length=1, max_length=MOST_DROPS)]
    known: Annotated[list[int], Field(max_length=20_000)] = []


class Undo(_Body):
    action: Annotated[str, Field(max_length=36)] | None = None


class Mark(_Body):
    image_id: int
    wrong: bool


class Seen(_Body):
    drops: Annotated[list[int], Field(max_length=5000)]


@router.get("/session")
def session(viewer: TheViewer, visitor: TheVisitor) -> dict[str, Any]:
    """Who is signed in, and the token that changes have to bring."""
    may_score = viewer.lab.settings.viewer.scoring and visitor.person.may(Role.SCORER)
    return {"person": visitor.person.name, "role": visitor.person.role, "csrf": visitor.session.csrf, "mayScore": may_score}


@router.get("/plates")
def plates(viewer: TheViewer, visitor: TheVisitor, start: Annotated[str, Query(max_length=40)] = "") -> list[dict[str, Any]]:
    """The first plates whose barcode begins so."""
    found = plates_from(viewer.lab, visitor.person, start, 20)
    return [{"barcode": plate.barcode, "name": plate.name, "project": plate.project} for plate in found]


@router.get("/plates/{barcode}/{number}")
def plate(viewer: TheViewer, visitor: TheVisitor, barcode: str, number: int, blind: bool = False) -> Response:
    """One inspection of a plate with both evaluations of every drop."""
    found = find_plate(viewer.lab, visitor.person, barcode)
    view, sheets = plate_view(viewer.lab, visitor.person, found, number, blind)
    if not view["drops"]:
        raise NotFound(f"plate {barcode} has no inspection {number}")
    viewer.remember(sheets)
    return _json(view)


@router.get("/plates/{barcode}/{number}/earlier")
def earlier(viewer: TheViewer, visitor: TheVisitor, barcode: str, number: int, blind: bool = False) -> dict[str, Any]:
    """Crystals that were seen on the plate's drops at other inspections."""
    return earlier_hits(viewer.lab, visitor.person, find_plate(viewer.lab, visitor.person, barcode), number, blind)


@router.post("/plates/{barcode}/{number}/opened")
def opened(viewer: TheViewer, visitor: TheChanger, barcode: str, number: int) -> dict[str, Any]:
    """The person has opened this inspection: it is not new any more."""
    note_plate_seen(viewer.lab, visitor.person, find_plate(viewer.lab, visitor.person, barcode).barcode, number)
    return {}


@router.get("/drops/{inspection_id}")
def drop(viewer: TheViewer, visitor: TheVisitor, inspection_id: int, blind: bool = False) -> dict[str, Any]:
    """One drop at one inspection, with its course."""
    return drop_view(viewer.lab, visitor.person, inspection_id, blind)


@router.get("/worklist")
def work(viewer: TheViewer, visitor: TheVisitor, blind: bool = False) -> Response:
    return _json(worklist(viewer.lab, visitor.person, blind))


@router.post("/scores")
def score(viewer: TheViewer, visitor: TheChanger, body: NewScores) -> dict[str, Any]:
    """One key press: a score for one drop or many."""
    entered = enter(viewer.lab, visitor.person, body.action, body.score, [(item.id, item.image) for item in body.drops], set(body.known))
    return {
        "action": entered.action,
        "scores": [{"id": row.inspection_id, "scoreId": row.score_id, "score": row.score, "at": row.scored_at} for row in entered.rows],
        "others": [score_json(other, visitor.person) for other in entered.others],
    }


@router.post("/scores/undo")
def undo(viewer: TheViewer, visitor: TheChanger, body: Undo) -> dict[str, Any]:
    """Take the person's own latest action back."""
    done = take_back(viewer.lab, visitor.person, body.action)
    return {
        "action": done.action,
        "undone": [{"id": row.inspection_id, "scoreId": row.score_id} for row in done.rows],
        "left": [{"id": row.inspection_id, "scoreId": row.score_id} for row in done.left],
    }


@router.post("/marks")
def mark(viewer: TheViewer, visitor: TheChanger, body: Mark) -> dict[str, Any]:
    """Call an ARTscore wrong, or withdraw that."""
    if not visitor.person.may(Role.SCORER):
        raise NotAllowed(f"{visitor.person.name} may look but not mark: an admin gives the role scorer")
    mark_wrong(viewer.lab, visitor.person, body.image_id, body.wrong)
    return {"wrong": body.wrong}


@router.post("/seen")
def seen(viewer: TheViewer, visitor: TheChanger, body: Seen) -> dict[str, Any]:
    note_seen(viewer.lab, visitor.person, body.drops)
    return {}


@router.get("/grid")
def grid(viewer: TheViewer, visitor: TheVisitor) -> dict[str, Any]:
    """The grid's pulse. File names in reasons are an admin's matter: they may be of plates that others may not see."""
    found = dict(viewer.pulse.snapshot(10.0))
    if not visitor.person.may(Role.ADMIN):
        found["errors"] = [{**error, "example": None} for error in found.get("errors", [])]
        found["refused"] = []
        found["held"] = []
    return found | {"admin": visitor.person.may(Role.ADMIN)}


@router.get("/batches/{name}")
def batch(viewer: TheViewer, visitor: TheVisitor, name: str, after: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0) -> dict[str, Any]:
    """A batch's pictures, a page at a time."""
    return batch_page(viewer.lab, visitor.person, name, after)


@router.post("/batches/{name}/approve")
def approve_batch(viewer: TheViewer, visitor: TheAdmin, name: str) -> dict[str, Any]:
    approve(viewer.lab, visitor.person, name)
    return {"state": "approved"}
