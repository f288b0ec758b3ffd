"""Fakes that behave. Each passes the contract tests that the real thing passes."""
