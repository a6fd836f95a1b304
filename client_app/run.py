"""A work unit in, a result out: each image for itself, a checkpoint after each, the result in one step at the end."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import logging
from pathlib import Path

from client_app.checkpoint import Checkpoint, Saved
from client_app.image import Wish, score_image
from client_app.memory import DEFAULT_MEMORY_MB, Reserved, memory_needed
from client_app.model import Model, load_model
from client_app.model_folders import model_folder_for
from client_app.parallel import in_parallel
from client_app.providers import ProviderWish, Runtime, accelerated
from crystal_search import __version__
from crystal_search.archives import (
    FORMAT_VERSION,
    ArchiveError,
    Manifest,
    Results,
    WorkImage,
    WorkUnit,
    check_results,
    open_work_unit,
    read_results,
    write_results,
)
from crystal_search.atomic import PARTIAL_SUFFIX
from crystal_search.errors import SettingsError, TryAgainLater, UsageError

log = logging.getLogger(__name__)

#: What BOINC's wrapper reads: the share of the work unit that is done, as a plain number. Written after each checkpoint.
FRACTION_DONE = "fraction_done"


def run(
    work_unit: Path,
    out: Path,
    model_folder: Path | None,
    threads: int,
    provider: ProviderWish | None = None,
    runtime: Runtime | None = None,
    memory_mb: int = DEFAULT_MEMORY_MB,
) -> None:
    """Score ``work_unit`` with the model in ``model_folder`` (None: the one that it asks for) and write the result archive ``out``.

    ``threads`` images are scored at once, each on one thread, as far as they fit into ``memory_mb`` together; the next one is decoded while
    others are classified. The networks run on the CPU unless ``provider`` asks for something else; ``runtime`` is onnxruntime, or what
    stands in for it.
    Killed and started again it goes on with the next image, and the result is the same apart from the seconds; a result that
    is already there is left as it is. Beside ``out`` lie, until it is written, the folder ``<out>.checkpoint`` and the file
    ``fraction_done``. An image that needs more than ``memory_mb`` of memory fails alone. Raises ``UsageError``, ``ArchiveError``
    for a work unit that can not be trusted, ``SettingsError`` for a model that is damaged or not the one asked for, and
    ``TryAgainLater`` where something can not be written, or the computer has too little memory left.
    """
    if not work_unit.is_file():
        raise UsageError(f"{work_unit}: no such work unit")
    if out.is_dir() or out.resolve() == work_unit.resolve():
        raise UsageError(f"{out} can not be the result: name a ZIP file of its own")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"{out.parent}: no such folder for the result")
    with open_work_unit(work_unit) as unit:
        manifest = unit.manifest
        checkpoint = Checkpoint(out.with_name(f"{out.name}.checkpoint"), _key(work_unit))
        progress = out.with_name(FRACTION_DONE)
        _sweep(out)
        if not _is_answered(out, manifest):
            model = load_model(model_folder or model_folder_for(manifest.model))
            wish = _wish(model, manifest)
            model = accelerated(model, provider or ProviderWish(), 1, runtime)
            reserved = Reserved(memory_mb)

            def finished(image: WorkImage) -> tuple[str, Saved]:
                return image.id, checkpoint.load(image.id) or _score(unit, image, model, wish, reserved, checkpoint)

            done: dict[str, Saved] = {}
            for image_id, saved in in_parallel(finished, manifest.images, threads):
                log.info("%s %s %s", image_id, saved.result.status, saved.result.reason or saved.result.class_name or "")
                done[image_id] = saved
                _write_progress(progress, len(done) / len(manifest.images))
            _write(out, manifest, model, [done[image.id] for image in manifest.images])
    checkpoint.remove()
    for file in (progress, _partial(progress)):
        file.unlink(missing_ok=True)


def _sweep(out: Path) -> None:
    """Remove what a client that was killed while it wrote the result left beside it."""
    with contextlib.suppress(OSError):
        for partial in out.parent.glob(f".{glob.escape(out.name[:40])}.*{PARTIAL_SUFFIX}"):
            partial.unlink(missing_ok=True)


def _score(unit: WorkUnit, image: WorkImage, model: Model, wish: Wish, reserved: Reserved, checkpoint: Checkpoint) -> Saved:
    """Score one image, once there is memory for it beside the others, and keep what came out."""
    with contextlib.ExitStack() as stack:

        def read() -> bytes:
            content = unit.read_image(image)
            stack.enter_context(reserved.for_image(memory_needed(content, image.um_per_px, model.spec)))
            return content

        result, overlay = score_image(model, wish, image.id, read, image.um_per_px)
    saved = Saved(result, overlay, model.provider)
    checkpoint.save(saved)
    return saved


def _key(work_unit: Path) -> str:
    """What a checkpoint depends on: every byte of the work unit, the model's SHA-256 among them, and this program's version."""
    with work_unit.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()} {__version__}"


def _is_answered(out: Path, manifest: Manifest) -> bool:
    """Whether ``out`` is this work unit's result; anything else under that name is replaced when the result is written."""
    if not out.exists():
        return False
    try:
        check_results(read_results(out), manifest)
    except ArchiveError as error:
        log.info("the file that is there is no result of this work unit: %s", error)
        return False
    return True


def _wish(model: Model, manifest: Manifest) -> Wish:
    """What the manifest asks for, completed by the model. Raises ``SettingsError`` when it asks for another model."""
    if manifest.model != model.reference:
        asked, here = manifest.model, model.reference
        raise SettingsError(
            f"{manifest.name} asks for model {asked.name} ({asked.sha256[:12]}), this client has {here.name} ({here.sha256[:12]}): "
            "give it the other one with --model"
        )
    threshold = model.spec.threshold if manifest.threshold is None else manifest.threshold
    return Wish(model.step(manifest.step), threshold, manifest.chops, frozenset(manifest.overlays))


def _write_progress(path: Path, fraction: float) -> None:
    with contextlib.suppress(OSError):  # nobody's work is worth losing over a progress bar
        _partial(path).write_text(f"{fraction:.6f}\n", encoding="ascii")
        _partial(path).replace(path)  # in one step, for the wrapper reads at any moment


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}{PARTIAL_SUFFIX}")


def _providers(images: list[Saved]) -> str:
    """Every execution provider that worked on these images, in the order of their first use: a run may have been continued on another."""
    return ", ".join(dict.fromkeys(provider for image in images for provider in image.provider.split(", ")))


def _write(out: Path, manifest: Manifest, model: Model, done: list[Saved]) -> None:
    results = Results(
        format_version=FORMAT_VERSION,
        work_unit=manifest.name,
        client_version=__version__,
        model=model.reference,
        runtime=model.runtime,
        provider=_providers(done),
        images=[saved.result for saved in done],
    )
    try:
        write_results(out, results, {saved.result.id: saved.overlay for saved in done if saved.overlay is not None})
    except OSError as error:
        raise TryAgainLater(f"can not write {out} ({error.strerror}): nothing was lost, start again when that is solved") from error
