"""Sources of plugins: their files, imports, kinds and components, without importing them."""
