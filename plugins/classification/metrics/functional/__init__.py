"""Metrics of classification as functions of numpy arrays.

Most take `weights` with any leading axes, (..., N): the number of times that each sample counts.
They return a value for each set of weights, which makes thousands of bootstrap resamples cheap. A
value that is not defined, such as the sensitivity of a class without samples, is NaN and never 0.

scikit-learn and torchmetrics score one set of samples at a time; the tests compare with theirs.
"""
