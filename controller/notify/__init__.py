"""Notify: tells a person who is not looking what they would want to know, and nothing else.

What is worth a message is decided on values in `digest`; `sight` makes those of the records; `sender` is the one thread and the
one library at the edge. What happens to an app is not decided here.
"""
