"""A report that a small server renews while runs go on."""
