"""Facts: the keys under which the store keeps what is true of the service as a whole.

Names only. Who writes a fact and what follows from it is the reconciler's, the manager's and control's.
"""

from __future__ import annotations

APPROVED = "approved:"
"""With the app's name behind it: a person let its removal go. One fact an app, so that no two writers meet."""
SUSPENDED = "suspended:"
"""With the app's name behind it: suspended by command."""
LAST_RESYNC = "last_resync"
"""When everything was last looked at afresh (ISO 8601)."""
ENGINE_UP = "engine_reachable"
"""Present while the engine answers."""
ROOT_ID = "root_id"
"""The id of the apps tree that this state belongs to."""
