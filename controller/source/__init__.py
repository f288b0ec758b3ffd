"""Desired state: the apps tree. Which folders there are, what each asks for, and what changed.

Reads files; writes only `.env` and the root's marker, and takes a folder out of the tree when told to. What an
app's files mean to the engine, and what to do about a difference, belongs to other rooms.
"""
