"""What MXNet itself says, in an environment of its own: ``python tests/mxnet_side.py JOB=FOLDER...``. tests/test_mxnet.py compares.

Needs nothing but mxnet and opencv; images and answers travel as .npy files.
"""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import numpy as np

for _name in ("bool", "object", "int", "float", "complex", "str"):
    if _name not in vars(np):  # names that MXNet 1.9 asks for and numpy has dropped
        setattr(np, _name, getattr(builtins, _name))

import mxnet as mx  # noqa: E402

CLASSES = 13


def _networks():
    zoo = mx.gluon.model_zoo.vision
    return {
        "alexnet": zoo.alexnet(classes=CLASSES),
        "vggnet": zoo.vgg16(classes=CLASSES),
        "resnet": zoo.resnet50_v1(classes=CLASSES),
        "squeezenet": zoo.squeezenet1_0(classes=CLASSES),
    }


def _lively(network) -> None:
    """Weights under which the classes differ, and batch statistics that are not 0 and 1: folding them in wrongly would show."""
    rng = np.random.RandomState(3)
    for name, parameter in network.collect_params().items():
        if parameter.shape is not None and len(parameter.shape) == 1 and "batchnorm" in name:
            parameter.set_data(mx.nd.array(rng.uniform(0.6, 1.4, parameter.shape)))


def _symbolic(folder: Path, pixels) -> None:
    """AlexNet as MXNet's examples wrote it: local response normalisation, padded layers, SoftmaxOutput at the end."""
    sym = mx.sym
    net = sym.Convolution(sym.Variable("data"), num_filter=24, kernel=(11, 11), stride=(4, 4), name="conv1")
    net = sym.LRN(sym.Activation(net, act_type="relu"), alpha=0.0001, beta=0.75, knorm=2, nsize=5)
    net = sym.Pooling(net, pool_type="max", kernel=(3, 3), stride=(2, 2))
    net = sym.BatchNorm(net, eps=2e-5, name="bn")  # with fix_gamma
    net = sym.Pooling(net, pool_type="avg", kernel=(2, 2), stride=(1, 1), pad=(1, 1))
    net = sym.Flatten(sym.Activation(net * 0.5 + 0.25, act_type="relu"))
    net = sym.Dropout(sym.FullyConnected(net, num_hidden=32, name="fc1"), p=0.5)
    net = sym.SoftmaxOutput(sym.FullyConnected(net, num_hidden=CLASSES, name="fc2"), name="softmax")
    shape = tuple(pixels.shape)
    module = mx.mod.Module(net)
    module.bind(data_shapes=[("data", shape)], label_shapes=[("softmax_label", shape[:1])], for_training=False)
    mx.random.seed(5)
    module.init_params(mx.init.Xavier())
    arguments, states = module.get_params()
    arguments["bn_gamma"][:] = 3.0  # which MXNet passes over
    states["bn_moving_mean"][:] = 0.3
    states["bn_moving_var"][:] = 1.7
    module.set_params(arguments, states)
    module.save_checkpoint(str(folder / "symbolic"), 7)
    module.forward(mx.io.DataBatch([pixels], [mx.nd.zeros(shape[:1])]), is_train=False)
    np.save(folder / "symbolic.npy", module.get_outputs()[0].asnumpy())


def checkpoints(folder: Path) -> None:
    """A checkpoint of each network and the probabilities of NAME-pixels.npy: brightness (n, side, side, 1), seen as (bytes - 110) / 60."""
    for name, network in _networks().items():
        pixels = _seen(folder / f"{name}-pixels.npy")
        mx.random.seed(1)
        network.initialize(mx.init.MSRAPrelu(slope=0.0))
        network.hybridize()
        network(pixels)
        _lively(network)
        *_, last = (parameter for label, parameter in network.collect_params().items() if label.endswith("weight"))
        last.set_data(last.data() * (2.0 / float(network(pixels).asnumpy().std())))  # so that no class takes all
        probabilities = mx.nd.softmax(network(pixels)).asnumpy()
        network.export(str(folder / name), epoch=7)
        np.save(folder / f"{name}.npy", probabilities)
    _symbolic(folder, _seen(folder / "symbolic-pixels.npy"))


def _seen(file: Path):
    bright = np.load(file).transpose(0, 3, 1, 2)
    return mx.nd.array((np.repeat(bright, 3, axis=1) * (255 / 1.6) - 110.0) / 60.0)


def read_rec(folder: Path) -> None:
    """What MXNet's readers find in ours.rec: numbers and labels by MXIndexedRecordIO, pixels by ImageRecordIter."""
    records = mx.recordio.MXIndexedRecordIO(str(folder / "ours.idx"), str(folder / "ours.rec"), "r")
    headers = [mx.recordio.unpack(records.read_idx(key))[0] for key in records.keys]
    np.save(folder / "labels.npy", [header.label for header in headers])
    np.save(folder / "numbers.npy", [header.id for header in headers])
    side = int((folder / "side").read_text())
    images = mx.io.ImageRecordIter(
        path_imgrec=str(folder / "ours.rec"), path_imgidx=str(folder / "ours.idx"), data_shape=(3, side, side), batch_size=len(headers)
    )
    batch = images.next()
    np.save(folder / "pixels.npy", batch.data[0].asnumpy())
    np.save(folder / "order.npy", batch.label[0].asnumpy())


def magic(folder: Path) -> None:
    """Records whose data hold the format's magic number, written and read by MXNet."""
    payloads = [(folder / f"payload{n}").read_bytes() for n in range(3)]
    theirs = mx.recordio.MXRecordIO(str(folder / "theirs.rec"), "w")
    for number, payload in enumerate(payloads):
        theirs.write(mx.recordio.pack(mx.recordio.IRHeader(0, float(number), number, 0), payload))
    theirs.close()
    ours = mx.recordio.MXRecordIO(str(folder / "ours.rec"), "r")
    for number in range(3):
        (folder / f"read{number}").write_bytes(mx.recordio.unpack(ours.read())[1])


if __name__ == "__main__":
    jobs = {"checkpoints": checkpoints, "read_rec": read_rec, "magic": magic}
    for job in sys.argv[1:]:  # one process for all: importing MXNet takes seconds
        name, _, folder = job.partition("=")
        jobs[name](Path(folder))
