"""Content-addressed bytes in any S3 store."""

from rounds.objects.store import ObjectCorrupt, ObjectMissing, ObjectStore

__all__ = ["ObjectCorrupt", "ObjectMissing", "ObjectStore"]
