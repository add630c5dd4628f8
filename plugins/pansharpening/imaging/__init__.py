"""Image operations: resampling, MTF filters, masks, lazy images, streaming statistics."""
