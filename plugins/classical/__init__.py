"""Methods without training, behind the generator's interface: the baselines of every table."""

TASK = 'pansharpening'
