"""``python -m training.to_onnx WEIGHTS.keras NETWORK.onnx``: the export in a process of its own, on the TensorFlow backend.

Keras writes ONNX with free image sizes on TensorFlow only: such trainings on torch, and all on JAX, end here.
"""

from __future__ import annotations

import sys

import numpy as np

from crystal_search.errors import SettingsError
from training.chops import WINDOW


def main(weights: str, network: str) -> int:
    """Writes the network as ONNX; returns an exit code and prints one line where something is missing."""
    from training.backend import choose_backend

    try:
        choose_backend()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    import keras

    model = keras.models.load_model(weights, compile=False)
    # Keras exports only what has been called once.
    model.predict_on_batch(np.zeros((1, *(extent or WINDOW for extent in model.input_shape[1:])), np.float32))
    model.export(network, format="onnx", verbose=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
