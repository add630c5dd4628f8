"""Archives of scenes and of results: files and folders of arrays, read one image at a time."""
