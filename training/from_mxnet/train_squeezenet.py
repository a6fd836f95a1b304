"""SqueezeNet 1.1 trained in MXNet from record files, for labs that still train there.

Runs where MXNet is installed, without the rest of this project: ``python training/from_mxnet/train_squeezenet.py TRAIN.rec VALIDATION.rec
--out PREFIX``. Every epoch leaves ``PREFIX-0001.params`` and so on, which ``crystal-search import-mxnet PREFIX 1`` makes a model folder of.
"""

from __future__ import annotations

import argparse
import builtins
import math
import shutil
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

for _name in ("bool", "object", "int", "float", "complex", "str"):
    if _name not in vars(np):  # names that MXNet 1.9 asks for and numpy has dropped
        setattr(np, _name, getattr(builtins, _name))

import mxnet as mx  # noqa: E402

#: What bytes are brought to: about mean 0 and deviation 1. import-mxnet is told the same two numbers.
MEAN, STD = 110.0, 60.0
#: What a record begins with, and the bits of the next word that are its length.
MAGIC, LENGTH = 0xCED7230A, (1 << 29) - 1


def network(classes: int) -> Any:
    """SqueezeNet 1.1 whose map is averaged whole: Gluon's own looks at 13 x 13 cells only, and so passes over the edges of larger chops."""
    made = mx.gluon.nn.HybridSequential()
    made.add(mx.gluon.model_zoo.vision.squeezenet1_1().features)
    made.add(mx.gluon.nn.Conv2D(classes, 1), mx.gluon.nn.GlobalAvgPool2D(), mx.gluon.nn.Flatten())
    return made


def batches(path: str, side: int, batch: int, *, training: bool) -> Any:
    """Chops of a record file, shifted and mirrored in training."""
    index = str(Path(path).with_suffix(".idx"))
    options = {"shuffle": True, "rand_crop": True, "rand_mirror": True} if training else {}
    normal = {f"{kind}_{channel}": value for kind, value in (("mean", MEAN), ("std", STD)) for channel in "rgb"}
    where = {"path_imgrec": path, "path_imgidx": index} if Path(index).exists() else {"path_imgrec": path}
    return mx.io.ImageRecordIter(data_shape=(3, side, side), batch_size=batch, round_batch=True, **where, **options, **normal)


def broken_at(path: str) -> int | None:
    """The byte from which on a record file holds no whole record (or part of one), where MXNet would abort; None: it holds nothing else."""
    place, size = 0, Path(path).stat().st_size
    with Path(path).open("rb") as file:
        while place < size:
            file.seek(place)
            magic, word = struct.unpack("<II", file.read(8).ljust(8, b"\0"))
            after = place + 8 + ((word & LENGTH) + 3) // 4 * 4
            if magic != MAGIC or after > size:
                return place
            place = after
    return None if size else 0


def accuracy_and_loss(net: Any, data: Any, device: Any) -> tuple[float, float]:
    """Over all chops; the last batch is filled up from the beginning, and what fills it does not count."""
    data.reset()
    right = loss = count = 0.0
    entropy = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    for each in data:
        kept = each.data[0].shape[0] - (each.pad or 0)
        labels = each.label[0][:kept].as_in_context(device)
        logits = net(each.data[0].as_in_context(device))[:kept]
        right += float((logits.argmax(axis=1) == labels).sum().asscalar())
        loss += float(entropy(logits, labels).sum().asscalar())
        count += kept
    return right / count, loss / count


def train(told: argparse.Namespace) -> None:
    """The paper's way (P13): the rate falls by ten after ``patience`` epochs without a smaller loss, and below the last one it ends."""
    device = mx.gpu(told.gpu) if told.gpu is not None else mx.cpu()
    mx.random.seed(told.seed)
    net = network(told.classes)
    net.initialize(mx.init.MSRAPrelu(slope=0.0), ctx=device)
    net.hybridize()
    training, held_out = (batches(path, told.side, told.batch, training=path is told.training) for path in (told.training, told.validation))
    entropy, rate = mx.gluon.loss.SoftmaxCrossEntropyLoss(), told.rate
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": rate, "momentum": 0.9, "wd": 2e-4, "clip_gradient": 1.0})
    best, waited = math.inf, 0
    for epoch in range(1, told.epochs + 1):
        started = time.monotonic()
        training.reset()
        for each in training:
            pixels, labels = each.data[0].as_in_context(device), each.label[0].as_in_context(device)
            with mx.autograd.record():
                loss = entropy(net(pixels), labels)
            loss.backward()
            trainer.step(pixels.shape[0])
        accuracy, held_out_loss = accuracy_and_loss(net, held_out, device)
        net.export(told.out, epoch=epoch)
        seconds = time.monotonic() - started
        print(
            f"epoch {epoch}: rate {rate:g}, accuracy {accuracy:.4f}, loss {held_out_loss:.4f}, {seconds:.0f} s",
            flush=True,
        )
        waited = 0 if held_out_loss < best else waited + 1
        best = min(best, held_out_loss)
        if waited >= told.patience:
            rate, waited = rate / 10, 0
            if rate < told.last_rate * 0.999:
                break
            trainer.set_learning_rate(rate)


def main() -> int:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description="SqueezeNet 1.1 from record files, in MXNet.")
    parser.add_argument("training")
    parser.add_argument("validation")
    parser.add_argument("--out", required=True, help="Prefix of the checkpoints.")
    parser.add_argument("--classes", type=int, help="Outputs; default: as many as classes.txt beside the records names, or 13.")
    parser.add_argument("--side", type=int, default=224, help="Side in px of what the network sees; records hold a little more.")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--last-rate", type=float, default=1e-5)
    parser.add_argument("--patience", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gpu", type=int)
    told = parser.parse_args()
    for path in (told.training, told.validation):
        if not Path(path).is_file():
            print(f"{path}: no such file", file=sys.stderr)
            return 2
        if (place := broken_at(path)) is not None:
            print(
                f"{path}: no whole record begins at byte {place}: the file is cut short, damaged, or no record file of MXNet",
                file=sys.stderr,
            )
            return 2
    names = Path(told.training).with_name("classes.txt")
    named = sum(bool(line.strip()) for line in names.read_text().splitlines()) if names.is_file() else None
    told.classes = told.classes or named or 13
    problem = None
    if named not in (None, told.classes):
        problem = f"--classes {told.classes}: {names} names {named}, and labels count them: leave --classes out"
    elif told.gpu is not None and told.gpu >= mx.context.num_gpus():
        problem = f"--gpu {told.gpu}: this MXNet sees {mx.context.num_gpus()} graphics cards; without --gpu it trains on the processor"
    if problem:
        print(problem, file=sys.stderr)
        return 2
    Path(told.out).parent.mkdir(parents=True, exist_ok=True)
    if named:
        shutil.copyfile(names, f"{told.out}-classes.txt")
    try:
        train(told)
    except mx.base.MXNetError as error:
        last = str(error).strip().splitlines()[-1]
        print(f"MXNet gave up ({last}); crystal-search dataset from-records says which record can not be read", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
