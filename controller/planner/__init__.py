"""Decisions: is it healthy, what is due and why, in which order, what may be removed, what a hook said.

Pure functions from values to values. No clock, no files, no engine, no log; sorted before iterated.
"""
