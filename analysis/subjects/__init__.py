"""What can be known of a run or of its networks: each subject has its measure, its tables, its figures and, where the
report shows it, `part.py`: `applies(run)` and `parts(findings)`.
"""
