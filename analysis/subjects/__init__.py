"""The subjects of the analysis of a run or its networks. Each subject has its measure, its tables, its figures and, if
the report shows it, `part.py` with `applies(run)` and `parts(findings)`.
"""
