"""What is recorded: conditions, how they move, the one word people read, and the store that keeps them.

The movement is pure (`transition`, `summary`); only `store` and `lock` touch the disk. Nothing in this
room decides what to do about an app.
"""
