"""The report: a loop over one table of subjects, its page and its files."""
