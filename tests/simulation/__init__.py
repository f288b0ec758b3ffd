"""Deterministic simulation: the whole controller on a world in memory, driven by one seed.

`history` makes what happens, `world` is where it happens, `watch` holds the invariants, `life` plays a history and
judges its end, `shrink` makes a failing one small. Run `make sim`; the tests run some thousand in every `make test`.
"""
