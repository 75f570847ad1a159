"""How numbers, tables, figures and pages look, whatever they are about."""
