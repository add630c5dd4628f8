"""Exports of classifiers: the ONNX file, its comparison with the test, the script beside it."""
