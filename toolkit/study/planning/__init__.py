"""Planning of a study: the configs of its runs, their time, and what they can show."""
