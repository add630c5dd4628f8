"""CSASN: dual-branch classification with cascaded channel-spatial attention (Li et al. 2025)."""

TASK = 'classification'
