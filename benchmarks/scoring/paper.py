"""The paper's way (P7, P12, P15) with this project's networks: a U-Net of 64 filters in Keras, chop after chop in Keras or MXNet.

The chop network gets the weights of the model's ONNX file, so that its scores can be compared. The U-Net has random ones: it is there
for what it costs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.scoring.jobs import LeftOut
from client_app.errors import one_line
from client_app.model import ChopsSpec, FloatArray
from client_app.preprocess import FloatImage, drop_input
from crystal_search.classes import NAMES
from training.backend import choose_backend
from training.networks import FINE_FIRES, FIRES, FIRST_FILTERS, Fires, chop_squeezenet, drop_unet, field_and_stride

UNET_FILTERS, UNET_SIDE = 64, 256

Answer = Callable[[FloatImage], FloatArray]


def unet_finder() -> Callable[[Image.Image], object]:
    """The paper's size of drop finder; what it answers means nothing."""
    choose_backend()
    unet = drop_unet(filters=UNET_FILTERS, side=UNET_SIDE)
    return lambda luminance: unet.predict_on_batch(drop_input(luminance, UNET_SIDE).pixels[np.newaxis])


def fires_of(chops: ChopsSpec) -> Fires:
    """The layers of the model's chop network. Raises ``LeftOut`` where it is none that this project trains."""
    for fires in (FIRES, FINE_FIRES):
        if field_and_stride(fires) == (chops.receptive_field, chops.stride):
            return fires
    raise LeftOut(f"the model's chop network ({chops.receptive_field} px field, stride {chops.stride}) is none of training.networks")


class OnnxWeights:
    """The kernels (out, in, height, width) and biases (out,) of an ONNX network's convolutions, handed out by shape.

    Two convolutions of one shape come in the graph's order, which is that of the layers.
    """

    def __init__(self, network: bytes) -> None:
        import onnx
        from onnx import numpy_helper

        graph = onnx.load_model_from_string(network).graph
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._left = [tuple(arrays.get(name) for name in node.input[1:3]) for node in graph.node if node.op_type == "Conv"]

    def take(self, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
        """Kernel and bias of the first convolution left with a kernel of ``shape``. Raises ``LeftOut`` where there is none."""
        for number, (kernel, *biases) in enumerate(self._left):
            if kernel is not None and kernel.shape == shape:
                del self._left[number]
                bias = biases[0] if biases and biases[0] is not None else np.zeros(shape[0], np.float32)
                return kernel, bias
        raise LeftOut(f"the model's chop network has no further convolution with a kernel of {shape}")


def keras_chops(chops: ChopsSpec, network: bytes) -> tuple[Answer, bool]:
    """The chop network in Keras, and whether it has the model's weights."""
    fires = fires_of(chops)
    choose_backend()
    model = chop_squeezenet(fires=fires)
    try:
        fill_keras(model, OnnxWeights(network))
    except (LeftOut, ImportError):
        return model.predict_on_batch, False
    return model.predict_on_batch, True


def fill_keras(model: Any, weights: OnnxWeights) -> None:
    """Give a Keras ``chop_squeezenet`` the weights of its ONNX export, where normalisation has become part of the convolution."""
    from keras import layers

    bias: FloatArray | None = None
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            height, width, channels, filters = layer.kernel.shape
            kernel, bias = weights.take((filters, channels, height, width))
            kernel = kernel.transpose(2, 3, 1, 0)
            layer.set_weights([kernel, bias] if layer.use_bias else [kernel])
        elif isinstance(layer, layers.BatchNormalization):  # right after the convolution that it belongs to
            assert bias is not None
            layer.set_weights([np.ones_like(bias), bias, np.zeros_like(bias), np.full_like(bias, 1 - layer.epsilon)])


def mxnet_chops(chops: ChopsSpec, network: bytes) -> tuple[Answer, bool]:
    """The chop network in MXNet, and whether it has the model's weights. Raises ``LeftOut`` where MXNet can not be used."""
    fires = fires_of(chops)
    mx = import_mxnet()
    net, convolutions = _mxnet_network(mx, fires)
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True, static_shape=True)

    def answer(pixels: FloatImage) -> FloatArray:
        class_map: FloatArray = net(mx.nd.array(pixels.transpose(0, 3, 1, 2))).asnumpy()
        return class_map.transpose(0, 2, 3, 1)

    answer(np.zeros((1, chops.window, chops.window, 1), np.float32))  # the shapes of the weights are known only now
    try:
        weights = OnnxWeights(network)
        taken = [weights.take(layer.weight.shape) for layer in convolutions]
    except (LeftOut, ImportError):
        return answer, False
    for layer, (kernel, bias) in zip(convolutions, taken, strict=True):
        layer.weight.set_data(mx.nd.array(kernel))
        layer.bias.set_data(mx.nd.array(bias))
    return answer, True


def import_mxnet() -> Any:
    """The module mxnet. Raises ``LeftOut`` where it is not installed or does not start."""
    for name in ("bool", "object", "int", "float", "complex", "str"):
        # MXNet 1.9 asks for these old names of Python's own types, which numpy has dropped since.
        if name not in vars(np):
            setattr(np, name, getattr(importlib.import_module("builtins"), name))
    try:
        return importlib.import_module("mxnet")
    except ImportError as error:
        raise LeftOut("MXNet is not installed") from error
    except Exception as error:  # with numpy 2 it raises what it happens upon
        raise LeftOut(f"MXNet does not start ({one_line(error)})") from error


def _mxnet_network(mx: Any, fires: Fires) -> tuple[Any, list[Any]]:
    """``training.networks.chop_squeezenet`` as it is exported, in Gluon: (N, 1, H, W) -> (N, classes, h, w); and its convolutions."""
    nn = mx.gluon.nn
    convolutions: list[Any] = []

    def convolution(filters: int, kernel: int, activation: str | None = "relu", strides: int = 1) -> Any:
        convolutions.append(nn.Conv2D(filters, kernel, strides=strides, activation=activation))
        return convolutions[-1]

    class Fire(nn.HybridBlock):  # type: ignore[misc, name-defined]
        def __init__(self, squeeze: int, expand: int) -> None:
            super().__init__()
            self.squeeze = convolution(squeeze, 1)
            self.narrow, self.wide = convolution(expand, 1), convolution(expand, 3)

        def hybrid_forward(self, functions: Any, inputs: Any) -> Any:
            squeezed = self.squeeze(inputs)
            inner = functions.slice(squeezed, begin=(None, None, 1, 1), end=(None, None, -1, -1))
            return functions.concat(self.narrow(inner), self.wide(squeezed), dim=1)

    def layers() -> Iterator[Any]:
        yield convolution(FIRST_FILTERS, 3, strides=2)
        for fire in fires:
            yield nn.MaxPool2D(3, 2) if fire is None else Fire(*fire)
        yield convolution(len(NAMES), 1, activation=None)

    net = nn.HybridSequential()
    net.add(*layers())
    return net, convolutions
