"""Typed objects over a store, and the watch-fed cache that every step reads instead of the store."""

from newbon_core.state.cache import Cache, ObjectChange, Stored
from newbon_core.state.changes import Changes, CommitResult, commit_atomic, commit_units

__all__ = ["Cache", "Changes", "CommitResult", "ObjectChange", "Stored", "commit_atomic", "commit_units"]
