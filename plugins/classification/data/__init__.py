"""Datasets of classification: images, manifests, DICOM, splits, samplers, cached features."""
