"""A lab's MXNet checkpoints as model folders, read without MXNet: ``crystal-search import-mxnet``."""
