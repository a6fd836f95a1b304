"""What a volunteer runs: a work unit ZIP in, a result ZIP out (``crystal-search-client``), and ``crystal-search score``.

Needs numpy, onnxruntime, Pillow, msgspec and the standard library only, so that one small executable holds all of it.
"""

import os

# Read when onnxruntime is loaded: without it, a program that a volunteer trusts would leave an identifier in the user's cache and
# send reports about its use to onnxruntime's makers.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
