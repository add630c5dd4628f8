"""LDP-Net: unsupervised pansharpening with learnable degradation processes (Ni et al. 2022)."""

TASK = 'pansharpening'
