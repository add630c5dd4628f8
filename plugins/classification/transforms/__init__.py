"""Image transforms: the pipeline, general and ultrasound augmentation."""
