"""Api: the service's door for other processes, HTTP on a Unix socket, and the client that knocks.

It carries verbs and documents of the control room as JSON; what they mean does not belong here.
"""
