"""Facts: the keys under which the store keeps what is true of the service as a whole.

Names only. Who writes a fact and what follows from it is the reconciler's, the manager's and control's.
"""

from __future__ import annotations

APPROVED = "approved:"
"""With the app's name behind it: a person let its removal go. One fact an app, so that no two writers meet."""
SUSPENDED = "suspended:"
"""With the app's name behind it: suspended by command."""
STOPPED = "stopped:"
"""With the app's name behind it: stopped by command, until it is started by command."""
RESTART = "restart:"
"""With the app's name behind it: a person wants all its containers stopped and started, once."""
UPDATE = "update:"
"""With the app's name behind it: a person wants its images pulled and what moved applied, once."""
ROLLBACK = "rollback:"
"""With the app's name behind it: the revision (or the beginning of one) that a person wants to go back to;
"" for the last good one before the present."""
REMOVE = "remove:"
"""With the app's name behind it: a person wants it removed, folder and all; the folder is kept aside."""
ADOPT = "adopt:"
"""With the app's name behind it: a person says that the running project of that name is this app."""
LEFT = "left:"
"""With the app's name behind it: volumes (JSON list of full names) that it left when it was removed."""
SAID = (SUSPENDED, STOPPED, RESTART, UPDATE, ROLLBACK, REMOVE, ADOPT, APPROVED)
"""What people said of one app: forgotten with the app."""
ALL_SEEN = "all_seen"
"""When all apps were looked at last, and each that was not at rest then has been seen by a run since (ISO 8601): what rests was
known to be as it is at that moment."""
LAST_RESYNC = "last_resync"
"""When all apps were last compared with what they rest on, and all others queued (ISO 8601)."""
ENGINE_TROUBLE = "engine_trouble"
"""Why nothing is done on the engine: it does not answer, was not looked at yet, or is not the one that the records speak of."""
ENGINE_TROUBLE_SINCE = "engine_trouble_since"
"""Since when there is any such reason, without a break (RFC 3339)."""
NOTIFIED = "notified"
"""What a person was told and is not over (JSON), so that its end is told as well, and nothing twice."""
ROOT_ID = "root_id"
"""The id of the apps tree that this state belongs to."""
