"""Reports: tables of a study's results, and the HTML page of studies and runs."""
