"""The read model: what is on a backend and in its folders, what it is doing, and what changed since a cursor.

The lists of the command line and the pages of the console are made of the same views, so they can't disagree.
"""
