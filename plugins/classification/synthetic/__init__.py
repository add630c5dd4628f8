"""Synthetic ultrasound images: dataset, phantom and scanner."""
