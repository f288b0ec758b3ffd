"""Cli: the `homeport` command. It parses, asks, prints, and says with its exit code how it went.

What a command means is decided in the control room; nothing here knows the engine or the tree.
"""
