"""Prediction, export, Grad-CAM and embeddings of trained classifiers."""
