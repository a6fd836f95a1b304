"""What a volunteer runs: a work unit ZIP in, a result ZIP out (``crystal-search-client``), and ``crystal-search score``.

Needs numpy, onnxruntime, Pillow, msgspec and the standard library only, so that one small executable holds all of it.
"""
