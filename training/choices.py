"""The choices behind the shipped model, settled with numbers: one network, data set or scale changed at a time, three seeds each.

``python -m training.choices draw --work DIR`` draws the chops of every variant from the same wells, ``run`` trains and measures one
variant with one seed, ``table`` prints the means over the seeds. Figures are areas under ROC curves, which need no threshold, on drawn
wells and on real images; of the real ones the *choosing* half decides, the *judging* half is only reported (docs/decisions/0009).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from client_app.classify import region
from client_app.drop import find_drop
from client_app.model import load_model
from client_app.preprocess import BRIGHTNESS_CEILING, BRIGHTNESS_PERCENTILE, gray, normalise_chops, working_size
from crystal_search.classes import CLASSES, NAMES, Group
from crystal_search.csv_table import read_csv
from crystal_search.geometry import Box, window_grid
from training import chops, loop, mixture, networks, shards
from training.evaluation.halves import NEEDED, halve
from training.evaluation.judgement import EMPTY_WELL

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Variant:
    """What is trained: a chop of ``window`` px where images are ``image_width`` px wide, seen in colour or gray, with or without padding.

    ``data`` names the drawn chops; ``scales`` are the magnifications at which windows are classified, ``step`` px apart.
    """

    data: str
    window: int = 160
    image_width: int = 1280
    colour: bool = False
    padding: str = "valid"
    fires: networks.Fires = networks.FIRES
    scales: tuple[float, ...] = (1.0,)
    step: int = 32


@dataclass(frozen=True, slots=True)
class Cut:
    """How a data set's chops are cut from wells of ``width`` px: their ``zoom``, and whether there is dirt."""

    window: int = 160
    width: int = 1280
    zoom: tuple[float, float] = chops.ZOOM
    colour: bool = False
    dirt: float = 1.0
    central: float = 0.76


def _zoomed(factor: float) -> tuple[float, float]:
    return chops.ZOOM[0] * factor, chops.ZOOM[1] * factor


CUTS = {
    "base": Cut(),
    "window224": Cut(window=224),
    "central": Cut(central=0.35),
    "central224": Cut(window=224, central=0.45),
    "quarter": Cut(zoom=_zoomed(0.5)),  # an image width of 640 px
    "native": Cut(width=2560),
    "colour": Cut(colour=True),
    "clean": Cut(dirt=0.0),
    "wide": Cut(zoom=(0.35, chops.ZOOM[1])),  # large crystals seen small, too, as a second, coarser scale shows them
}
VARIANTS = {
    "base": Variant("base"),
    "padded": Variant("base", padding="same"),
    "window224": Variant("window224", window=224),
    "central": Variant("central"),
    "central224": Variant("central224", window=224),
    "central padded": Variant("central", padding="same"),
    "fine": Variant("base", fires=networks.FINE_FIRES),
    "quarter": Variant("quarter", image_width=640),
    "native": Variant("native", image_width=2560, step=64),
    "colour": Variant("colour", colour=True),
    "no hard negatives": Variant("clean"),
    "two scales": Variant("wide"),
}
#: Folders of the openly licensed real images.
OPEN = ("diamond_", "marco_")
#: Measured on the same training as another variant: the network with a second, coarser scale.
ALSO = {"two scales": (1.0, 0.5)}


# ---- drawing ------------------------------------------------------------------------------------------------------


def draw_cut(cut: Cut, seeds: range) -> shards.Arrays:
    """Chops as :func:`training.chops.draw_examples` gives them, cut in another way."""
    from training.synthetic import draw_well
    from training.synthetic.chops import choose_class, cut_chops

    pixels, labels = [], []
    for seed in seeds:
        well = draw_well(seed, choose_class(seed), width=cut.width, dirt=cut.dirt)
        for chop in cut_chops(well, np.random.default_rng([seed, 77]), cut.window + chops.MARGIN, 12, cut.zoom, cut.colour, cut.central):
            pixels.append(np.rint(np.clip(chop.pixels, 0, BRIGHTNESS_CEILING) / BRIGHTNESS_CEILING * 255).astype(np.uint8))
            labels.append(NAMES.index(chop.class_name))
    return {"pixels": np.stack(pixels), "labels": np.array(labels, np.uint8)}


# ---- looking at images --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """An image that a network is measured on: ``group`` None for a well without a drop; the drop's box, None where none was found."""

    path: Path
    part: str
    group: Group
    drop: tuple[int, int, int, int] | None


def real_looks(images: Path, model_folder: Path) -> list[Look]:
    """The labelled real images with the drops that a model's drop finder sees; ``part`` is the half that they are in."""
    model = load_model(model_folder, threads=1)
    halves = zip(("choosing", "judging"), halve(read_csv(images / "labels.csv", NEEDED)), strict=True)
    looks = []
    for part, cells in ((part, line.cells) for part, lines in halves for line in lines):
        group = Group.CLEAR if cells["label"] == EMPTY_WELL else Group(cells["label"])
        with Image.open(images / cells["file"]) as image:
            drop = find_drop(model, image.convert("L"))
        looks.append(Look(images / cells["file"], part, group, drop.box.as_tuple() if drop else None))
    return looks


def drawn_looks(folder: Path, count: int, first_seed: int) -> list[Look]:
    """Drawn wells 2560 px wide with their true drop boxes, kept in ``folder``."""
    from training.synthetic import draw_well
    from training.synthetic.chops import choose_class

    folder.mkdir(parents=True, exist_ok=True)
    looks = []
    for seed in range(first_seed, first_seed + count):
        path, box_path = folder / f"{seed}.png", folder / f"{seed}.json"
        if not box_path.exists():
            well = draw_well(seed, choose_class(seed), width=2560)
            Image.fromarray(well.image).save(path)
            rows, columns = np.nonzero(well.drop_mask)
            box = [int(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)] if len(rows) else None
            box_path.write_text(json.dumps([well.class_name, box]))
        name, box = json.loads(box_path.read_text())
        group = CLASSES[NAMES.index(name)].group if name else Group.CLEAR
        looks.append(Look(path, "drawn", group, tuple(box) if box else None))
    return looks


def normalised(image: Image.Image, size: tuple[int, int], colour: bool) -> npt.NDArray[np.float32]:
    """The image at ``size`` over its 92nd percentile of brightness: (h, w, 1), in colour (h, w, 3)."""
    luminance = gray(image, size)
    if not colour:
        return normalise_chops(luminance)[..., np.newaxis]
    reference = max(float(np.percentile(luminance, BRIGHTNESS_PERCENTILE)), 1.0)
    pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0), np.float32)
    return np.asarray(np.minimum(pixels / np.float32(reference), BRIGHTNESS_CEILING), dtype=np.float32)


def window_probabilities(session: Any, variant: Variant, look: Look) -> Floats:
    """Probabilities (n, 13) of every window of a drop."""
    (name,) = (tensor.name for tensor in session.get_inputs())
    logits = []
    with Image.open(look.path) as image:
        image.load()
        for scale in variant.scales:
            width, height = working_size(image.width, image.height, None, 1.0, round(variant.image_width * scale))
            box = Box(*look.drop).scaled(width / image.width, height / image.height, width, height) if look.drop else None
            assert box is not None
            grid = window_grid(box, width, height, variant.window, variant.step)
            pixels = normalised(image, (width, height), variant.colour)
            pixels = np.stack([region(pixels[..., channel], grid) for channel in range(pixels.shape[-1])], axis=-1)
            if variant.padding == "valid":
                class_map = session.run(None, {name: pixels[np.newaxis]})[0][0]
                field, stride = networks.field_and_stride(variant.fires)
                cells = (variant.window - field) // stride + 1
                views = np.lib.stride_tricks.sliding_window_view(class_map, (cells, cells), axis=(0, 1))
                views = views[:: variant.step // stride, :: variant.step // stride]
                logits.append(views.mean(axis=(-2, -1)).reshape(-1, class_map.shape[-1]))
            else:
                logits += [session.run(None, {name: batch})[0].mean(axis=(1, 2)) for batch in _batches(pixels, variant)]
    return chops.softmax(np.concatenate(logits))


def _batches(pixels: npt.NDArray[np.float32], variant: Variant) -> Iterator[npt.NDArray[np.float32]]:
    side, step = variant.window, variant.step
    corners = [(y, x) for y in range(0, pixels.shape[0] - side + 1, step) for x in range(0, pixels.shape[1] - side + 1, step)]
    for start in range(0, len(corners), 16):
        yield np.stack([pixels[y : y + side, x : x + side] for y, x in corners[start : start + 16]])


_GROUPS = np.array([list(Group).index(c.group) for c in CLASSES])


def measure(session: Any, variant: Variant, looks: Sequence[Look]) -> dict[str, dict[str, float]]:
    """For each part of the images: areas of crystal against clear, crystal against precipitate and other, precipitate against what
    ranks below it, other against clear. An image's value is the largest sum of the group's classes in any window, 0 without a drop."""
    values = np.zeros((len(looks), 4))
    for row, look in enumerate(looks):
        if look.drop is not None:
            probabilities = window_probabilities(session, variant, look)
            values[row] = [probabilities[:, group == _GROUPS].sum(axis=1).max() for group in range(4)]
    parts = np.array([look.part for look in looks])
    groups = np.array([list(Group).index(look.group) for look in looks])
    result = {}
    for part in dict.fromkeys(parts.tolist()):
        here = parts == part

        def area(group: int, against: tuple[int, ...], here: npt.NDArray[np.bool_] = here) -> float:
            high, low = values[here & (groups == group), group], values[here & np.isin(groups, against), group]
            return float((high[:, None] > low).mean() + 0.5 * (high[:, None] == low).mean()) if high.size and low.size else float("nan")

        result[part] = {
            "crystal / clear": area(0, (3,)),
            "crystal / precipitate, other": area(0, (1, 2)),
            "precipitate / other, clear": area(1, (2, 3)),
            "other / clear": area(2, (3,)),
        }
    return result


# ---- training -----------------------------------------------------------------------------------------------------


def train_one(
    variant: Variant, draw: loop.Draw, seed: int, steps: int, batch: int, rate: float, threads: int, source: Path | None = None
) -> Any:
    """A float32 Keras model with averaged weights, trained for ``steps`` steps, the rate falling as a half cosine."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(seed)
    channels = 3 if variant.colour else 1
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = networks.chop_squeezenet(channels=channels, padding=variant.padding, fires=variant.fires)
    if source:
        model.set_weights(keras.models.load_model(source, compile=False).get_weights())
    schedule = keras.optimizers.schedules.CosineDecay(1e-5, steps, alpha=0.01, warmup_target=rate, warmup_steps=steps // 20)
    optimizer = keras.optimizers.Adam(schedule, clipnorm=1.0, use_ema=True, ema_momentum=0.995)
    model.compile(optimizer, chops.loss)
    rng = np.random.default_rng([seed, 0])
    with loop.ahead(draw, rng, batch, steps) as batches:
        for inputs, targets in batches:
            model.train_on_batch(inputs, targets)
    optimizer.finalize_variable_values(model.trainable_variables)
    keras.mixed_precision.set_global_policy("float32")
    plain = networks.chop_squeezenet(channels=channels, padding=variant.padding, fires=variant.fires)
    plain.set_weights(model.get_weights())
    return plain


def _session(model: Any, onnx: Path, threads: int) -> Any:
    import onnxruntime

    onnx.parent.mkdir(parents=True, exist_ok=True)
    side = chops.WINDOW
    model.predict_on_batch(np.zeros((1, side, side, model.input_shape[-1]), np.float32))  # Keras exports only what has been called once
    model.export(str(onnx), format="onnx", verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])


@click.group()
def main() -> None:
    """Numbers for the choices behind the model."""


_WORK = click.option("--work", type=click.Path(file_okay=False, path_type=Path), default=Path("runs/choices"), show_default=True)


@main.command()
@_WORK
@click.option("--chops", "count", type=int, default=24000, show_default=True, help="Chops of each data set.")
@click.option("--data", "names", type=click.Choice(list(CUTS)), multiple=True, help="Data sets to draw. [default: all]")
@click.option("--workers", type=int, default=1, show_default=True)
@click.option("--wells", type=int, default=240, show_default=True, help="Drawn wells to measure on.")
def draw(work: Path, count: int, names: tuple[str, ...], workers: int, wells: int) -> None:
    """Draw the chops of every data set, and the wells to measure on."""
    for name in names or CUTS:
        folder, there = work / "data" / name, partial(shards.draw_shards, partial(draw_cut, CUTS[name]), size=50, workers=workers)
        there(folder / "training", count, seed=1, title=name)
        there(folder / "validation", 1500, seed=shards.VALIDATION_SEED, title=f"{name} held out")
    drawn_looks(work / "wells", wells, 80_000_000)


@main.command()
@click.argument("name", type=click.Choice(list(VARIANTS)))
@_WORK
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--steps", type=int, default=2000, show_default=True)
@click.option("--batch", type=int, default=32, show_default=True)
@click.option("--rate", type=float, default=2e-3, show_default=True)
@click.option("--threads", type=int, default=1, show_default=True)
@click.option("--wells", type=int, default=240, show_default=True)
@click.option("--chops", "count", type=int, default=24000, show_default=True)
@click.option("--model", "model_folder", type=click.Path(path_type=Path), default=Path("models/synthetic-2"), help="For its drop finder.")
@click.option("--images", type=click.Path(path_type=Path), default=Path("../shared/data"), help="Real images with their labels.csv.")
def run(name: str, work: Path, seed: int, steps: int, batch: int, rate: float, threads: int, wells: int, count: int, **where: Path) -> None:
    """Train NAME once and measure it."""
    variant, out = VARIANTS[name], work / "runs" / f"{name.replace(' ', '_')}-{seed}.json"
    if out.exists():
        return
    paths = sorted((work / "data" / variant.data / "training").glob("*.npz"))
    training = shards.load(paths)
    training = {key: values[:count] if key != "painter" else values for key, values in training.items()}
    held_out = shards.load(sorted((work / "data" / variant.data / "validation").glob("*.npz")))
    model = train_one(variant, chops.Balanced(training, variant.window), seed, steps, batch, rate, threads)
    figures = chops.validate(held_out, variant.window, model)
    session = _session(model, out.with_suffix(".onnx"), threads)
    looks = real_looks(where["images"], where["model_folder"]) + drawn_looks(work / "wells", wells, 80_000_000)
    record = {"name": name, "seed": seed, "steps": steps, "batch": batch, "chops": len(training["labels"]), "variant": asdict(variant)}
    measured = measure(session, variant, looks)
    also = measure(session, replace(variant, scales=ALSO[name]), looks) if name in ALSO else None
    out.write_text(json.dumps({**record, "held_out": figures, "measured": measured, "also": also}, indent=1))
    click.echo(out.read_text())


@main.command()
@click.argument("name")
@_WORK
@click.option("--from", "source", type=click.Path(exists=True, path_type=Path), required=True, help="chops.keras to go on from.")
@click.option("--drawn", type=click.Path(exists=True, path_type=Path), required=True, help="Folder of drawn chops.")
@click.option(
    "--data", type=click.Path(exists=True, path_type=Path), help="Data set of `dataset build`, its training part; none: drawn chops."
)
@click.option("--share", type=float, default=0.33, show_default=True, help="Share of the data set's chops in each batch.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--steps", type=int, default=500, show_default=True)
@click.option("--rate", type=float, default=3e-4, show_default=True)
@click.option("--threads", type=int, default=1, show_default=True)
@click.option("--model", "model_folder", type=click.Path(path_type=Path), default=Path("models/synthetic-2"), help="For its drop finder.")
@click.option("--images", type=click.Path(path_type=Path), default=Path("../shared/data"), help="Real images with their labels.csv.")
def real(
    name: str,
    work: Path,
    source: Path,
    drawn: Path,
    data: Path | None,
    share: float,
    seed: int,
    steps: int,
    rate: float,
    threads: int,
    **where: Path,
) -> None:
    """Go on from SOURCE with real chops mixed in, and measure: of the judging half once all, once without the openly licensed images."""
    out = work / "real" / f"{name.replace(' ', '_')}-{seed}.json"
    if out.exists():
        return
    draw: loop.Draw = chops.Balanced(shards.load(sorted(drawn.glob("*.npz"))[:40]), chops.WINDOW)
    if data:
        draw = mixture.Mixed(chops.Balanced(shards.load(sorted((data / "training").glob("*.npz"))), chops.WINDOW), draw, share)
    variant = Variant("real", window=chops.WINDOW)
    session = _session(train_one(variant, draw, seed, steps, 32, rate, threads, source), out.with_suffix(".onnx"), threads)
    looks = [look for look in real_looks(where["images"], where["model_folder"]) if look.part == "judging"]
    closed = [replace(look, part="judging, not open") for look in looks if not look.path.parent.name.startswith(OPEN)]
    out.write_text(
        json.dumps({"name": name, "seed": seed, "steps": steps, "measured": measure(session, variant, looks + closed)}, indent=1)
    )
    click.echo(out.read_text())


@main.command()
@_WORK
def table(work: Path) -> None:
    """Print the mean and the spread over the seeds, as Markdown."""
    runs = [json.loads(path.read_text()) for path in sorted((work / "runs").glob("*.json"))]
    rows = [(run["name"] + (", one scale" if run["also"] else ""), run, run["measured"]) for run in runs]
    rows += [(run["name"], run, run["also"]) for run in runs if run["also"]]
    for part in ("drawn", "choosing", "judging"):
        kinds = list(rows[0][2][part])
        click.echo(f"\n{part}\n\n| variant | seeds | held-out groups | {' | '.join(kinds)} |\n|---|---|---|{'---|' * len(kinds)}")
        for name in dict.fromkeys(name for name, _, _ in rows):
            mine = [(run, measured[part]) for own, run, measured in rows if own == name]
            columns = [[run["held_out"]["group_accuracy"] for run, _ in mine], *([part[kind] for _, part in mine] for kind in kinds)]
            click.echo(f"| {name} | {len(mine)} | {' | '.join(f'{np.mean(v):.3f} ± {np.std(v):.3f}' for v in columns)} |")


if __name__ == "__main__":
    main()
