"""Registered metrics of pansharpening, with and without a reference."""
