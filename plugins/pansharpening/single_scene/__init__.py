"""`toolkit pansharpen`: trains on one scene and sharpens it."""
