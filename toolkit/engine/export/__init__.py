"""Files of exported networks: ONNX and torch.export."""
