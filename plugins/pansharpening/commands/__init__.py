"""Commands of pansharpening: evaluation, splits and benchmarks."""
