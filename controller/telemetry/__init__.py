"""Telemetry: what the service says while it runs. The log, for the operator; status is for the user.

Knows nothing of apps and decides nothing; who has something to say says it as an event.
"""
