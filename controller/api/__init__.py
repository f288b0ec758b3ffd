"""Api: the service's door for other processes, HTTP on a Unix socket, and the client that knocks.

It carries verbs and documents of the control room as JSON; what they mean does not belong here.
"""

from controller.api.client import ApiClient, ServiceUnreachable
from controller.api.server import ApiServer

__all__ = ["ApiClient", "ApiServer", "ServiceUnreachable"]
