"""Numerical parts of the methods: filters, moments, least squares, patches, sparse coding."""
