"""The nouns: what people want (desired), what runs (observed), what to do about it (plan), what is known (record).

Frozen values, the effects a reconcile can ask for, and the protocols of the outside world. Nothing here
reads a file, a clock or an engine, and nothing here decides.
"""
