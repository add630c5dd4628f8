"""Trackers: send the values of runs to TensorBoard, MLflow or Weights & Biases."""
