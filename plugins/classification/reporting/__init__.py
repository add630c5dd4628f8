"""Clinical summaries, figures, panels of the report, comparison and model card."""
