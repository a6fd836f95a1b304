"""Pixels: sheets of thumbnails, single copies, originals, and overlays from the results."""

from __future__ import annotations

import re
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from crystal_search.archives import ArchiveError, read_overlay
from viewer.asking import TheViewer, TheVisitor
from viewer.errors import NotFound
from viewer.evaluations import all_artscores_of, archive_of, counting
from viewer.pictures import image_folder, picture
from viewer.plate_view import inspection_drops
from viewer.plates import find_plate
from viewer.scoring import check_image

router = APIRouter()
#: An address with a version never means other bytes.
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
_SHORTLY = {"Cache-Control": "private, max-age=60"}
#: What every browser shows; others are shown as their screen-size copy.
_SHOWN = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}


@router.get("/sheets/{barcode}/{number}/{version}.jpg")
def sheet(viewer: TheViewer, visitor: TheVisitor, barcode: str, number: int, version: str) -> Response:
    """Many drops of one inspection in one picture."""
    plate = find_plate(viewer.lab, visitor.person, barcode)
    folder = image_folder(viewer.lab.settings.paths.images, barcode, number)
    tiles = viewer.tiles(version) if re.fullmatch(r"[0-9a-f]{40}", version) else None
    if tiles is None:  # the viewer was started anew, or the page is an old one
        sheets = inspection_drops(viewer.lab, plate.barcode, number).sheets
        viewer.remember(sheets)
        tiles = sheets.tiles.get(version)
    if tiles is None or any(tile is not None and tile.path.parent != folder for tile in tiles):
        raise NotFound("the images of this plate have changed: reload the page")
    return Response(viewer.pictures.sheet(version, tiles), media_type="image/jpeg", headers=_FOR_EVER)


@router.get("/images/{inspection_id}/{kind}/{name}")
def image(
    viewer: TheViewer,
    visitor: TheVisitor,
    inspection_id: int,
    kind: Literal["thumbnail", "screen", "original", "overlay"],
    name: str,
    v: str = "",
) -> Response:
    """One image of a drop. ``v`` is the file's version; with it the browser keeps what it has."""
    barcode, number = check_image(viewer.lab, visitor.person, inspection_id, name)
    if kind == "overlay":
        return Response(_overlay(viewer, inspection_id, name), media_type="image/jpeg", headers=_SHORTLY)
    file = picture(image_folder(viewer.lab.settings.paths.images, barcode, number), name)
    headers = _FOR_EVER if v == file.key else _SHORTLY
    shown = _SHOWN.get(file.path.suffix.lower())
    if kind == "original" and shown:
        return FileResponse(file.path, media_type=shown, headers=headers)
    copy = viewer.pictures.thumbnail(file) if kind == "thumbnail" else viewer.pictures.screen(file)
    return Response(copy, media_type="image/jpeg", headers=headers)


def _overlay(viewer: TheViewer, inspection_id: int, name: str) -> bytes:
    """The picture that the volunteer drew, from the result's archive."""
    with viewer.lab.ledger.read() as connection:
        every = [art for art in all_artscores_of(connection, viewer.lab.codes, [inspection_id]) if art.image_name == name]
    art = counting(every)
    archive = None if art is None else archive_of(viewer.lab, art)
    if art is None or archive is None or art.public_id is None:
        raise NotFound("there is no result of this image")
    try:
        drawn = read_overlay(archive, art.public_id)
    except ArchiveError:
        drawn = None
    if drawn is None:
        raise NotFound("no overlay: none was drawn, or the result has been deleted since")
    return drawn
