"""Reconcile: one app, from its key alone. Load, look, plan, act, judge, remember.

Level-triggered: a run never asks what happened, only what is. It is a generator of effects and may be cut
off after any of them; the next run finds its way from there. Deciding and performing are other rooms' work.
"""

from controller.reconciler.memory import Memory
from controller.reconciler.run import Reconciler
from controller.reconciler.work import Policy

__all__ = ["Memory", "Policy", "Reconciler"]
