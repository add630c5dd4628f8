"""Results of a study: aggregation, paired tests, tables and number formats."""
