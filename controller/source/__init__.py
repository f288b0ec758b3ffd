"""Desired state: the apps tree. Which folders there are, what each asks for, and what changed.

Reads files and writes only `.env` and the root's marker. What an app's files mean to the engine, and what to
do about a difference, belongs to other rooms.
"""
