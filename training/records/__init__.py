"""Chops as record files: MXNet's .rec, TensorFlow's TFRecord, HDF5 (P13)."""
