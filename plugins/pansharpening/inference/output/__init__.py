"""Output files of scene inference: format, resumable writing, shards, cloud-optimized GeoTIFF."""
