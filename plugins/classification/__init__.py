"""Classification of images: one or several tasks, missing labels, patients and centres."""

TASK = 'classification'
