"""The options that both trainings have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from training import backend, run

_FOLDER = click.Path(file_okay=False, path_type=Path)


def training_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that make a :class:`Run`."""
    work_help = "Where drawn examples and checkpoints are kept. Take a new one when training/synthetic has changed."
    from_help = "Start from the Keras weights that this model folder (or .keras, .h5 file) keeps."
    last_help = "Last learning rate, reached in equal steps of at most a factor of ten. [default: a fiftieth of the first, in three steps]"
    patience_help = "Lower the rate after N epochs without a better held-out loss, and stop at the last one; 0: as planned."
    share_help = "Share of each batch that comes from --data where examples are drawn, too."
    average_help = "Decay of a moving average of the weights, which is then validated and exported, such as 0.999; 0: none."
    for option in (
        click.option("--resume", is_flag=True, help="Go on with the training in the work folder."),
        click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that draw wells."),
        click.option("--held-out", type=click.IntRange(1), default=2000, show_default=True, help="Drawn examples kept for validation."),
        click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the weights and of the order of examples."),
        click.option(
            "--precision",
            type=click.Choice(backend.PRECISIONS),
            default="float32",
            show_default=True,
            help="mixed_bfloat16 is faster where the processor knows bfloat16; the exported network is float32.",
        ),
        click.option(
            "--take", type=click.Choice(["best", "last"]), default="best", show_default=True, help="The epoch whose weights are exported."
        ),
        click.option("--average", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True, help=average_help),
        click.option("--patience", type=click.IntRange(0), default=0, show_default=True, metavar="N", help=patience_help),
        click.option("--last-rate", type=click.FloatRange(0, min_open=True), help=last_help),
        click.option(
            "--rate",
            type=click.FloatRange(0, min_open=True),
            help=f"First learning rate. [default: {run.RATE:g}, with --from {run.RATE_FROM:g}]",
        ),
        click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Examples a step."),
        click.option("--steps", type=click.IntRange(1), help="Steps an epoch; otherwise as many as show every example once."),
        click.option("--data-share", type=click.FloatRange(0, 1, min_open=True), default=0.33, show_default=True, help=share_help),
        click.option("--from", "source", type=click.Path(exists=True, path_type=Path), help=from_help),
        click.option("--work", type=_FOLDER, default=Path("runs/train"), show_default=True, help=work_help),
        click.option("--out", type=_FOLDER, required=True, help="The model folder to write to."),
    ):
        command = option(command)
    return command
