"""Manifests of images: their columns, their options, spellings of patients."""
