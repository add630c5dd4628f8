"""Scores of classification as functions of numpy arrays.

Most take `weights` of any leading axes, (..., N), how often each sample counts, and answer for all
of them at once: that is what makes thousands of bootstrap resamples cheap. A score that is not
defined, such as the sensitivity for a class without samples, is NaN and never 0.

scikit-learn and torchmetrics score one set of samples at a time; the tests compare with theirs.
"""
