"""Pansharpening: scenes, sensors, resampling, datasets, metrics, prediction and pictures.

Units: digital numbers are divided by the sensor's `scale` (2**bits - 1), so images are float32 in
[0, 1]; MS is the multispectral image (C, h, w), PAN the panchromatic one (1, H, W) with
H = ratio * h, and HRMS the multispectral image at PAN's resolution (C, H, W).
"""

TASK = 'pansharpening'
