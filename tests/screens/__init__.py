"""Captures of what people see: made-up records, a fixed clock, a terminal of a given size; kept in docs/screens."""
