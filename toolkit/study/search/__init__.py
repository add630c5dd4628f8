"""Search of a study: its space, sampler, trials, early stopping, and the loop that runs them."""
