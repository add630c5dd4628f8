"""Tables: rows of CSV and Parquet files, manifests, and numbers formatted for tables."""
