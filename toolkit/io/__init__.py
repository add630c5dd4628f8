"""Reading and writing files: atomic writes, paths of data, tables, JSON."""
