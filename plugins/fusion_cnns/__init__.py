"""Small convolutional networks for pansharpening that others are usually compared with."""

TASK = 'pansharpening'
