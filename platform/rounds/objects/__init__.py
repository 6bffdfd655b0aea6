"""Content-addressed bytes in any S3 store."""

from rounds.objects.store import NotStored, ObjectCorrupt, ObjectMissing, ObjectStore

__all__ = ["NotStored", "ObjectCorrupt", "ObjectMissing", "ObjectStore"]
