"""Putting apps into the tree by command: catalogs, installing, a first manifest, the manifest's schema.

Reads folders and writes new ones; never changes an app that is in the tree. What happens to an app once it is
there belongs to the controller.
"""
