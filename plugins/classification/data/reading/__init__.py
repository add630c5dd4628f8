"""Reading of images: common formats, DICOM, masks, the range of values."""
