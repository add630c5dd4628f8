"""Commands of classification: audit, folds, comparison and benchmark."""
