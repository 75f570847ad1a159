"""Style of numbers, tables, figures and pages, for all subjects."""
