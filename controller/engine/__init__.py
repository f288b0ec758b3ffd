"""What runs: the Docker engine behind the `Engine` protocol. Act through Compose, observe through the SDK.

Endpoint, child processes, Compose's command line, raw streams, hooks in containers, host ports. The only
room that knows docker, Compose or a child process; it never decides anything and never reads the apps tree.
"""
