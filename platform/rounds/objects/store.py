"""The only code that speaks to the object store: put, get and presign by the SHA-256 of the bytes."""

import hashlib
import io
import re
from datetime import timedelta
from mimetypes import guess_type
from urllib.parse import urlsplit

from minio import Minio
from minio.error import S3Error

from rounds.settings import Settings

ASK_FIRST = 2**20  # bytes
PART = 512 * 2**20  # bytes; sent in parts of 5 MiB, a scan takes three times the processor time
REF = re.compile(r"^[0-9a-f]{64}(\.[a-z0-9]+)*$")


class ObjectMissing(Exception):
    """No object has this reference."""


class ObjectCorrupt(Exception):
    """The stored bytes no longer have the hash that names them."""


class ObjectStore:
    """A bucket of immutable objects; a reference is `<sha256><suffix>`, such as `ab12....png`."""

    def __init__(self, client: Minio, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    @classmethod
    def from_settings(cls, settings: Settings) -> "ObjectStore":
        url = urlsplit(settings.require("s3_url"))
        client = Minio(
            url.netloc,
            access_key=settings.require("s3_access_key"),
            secret_key=settings.require("s3_secret_key"),
            secure=url.scheme == "https",
            region=settings.s3_region,
        )
        return cls(client, settings.s3_bucket)

    def ensure_bucket(self) -> None:
        """Create the bucket unless it exists."""
        if not self._client.bucket_exists(self._bucket):
            self._client.make_bucket(self._bucket)

    def put(self, data: bytes, suffix: str) -> str:
        """Store `data` unless it is already there; return its reference.

        A small object is sent without asking first: its name is its content, so that sending it again changes nothing.
        """
        ref = hashlib.sha256(data).hexdigest() + suffix
        if len(data) < ASK_FIRST or not self.has(ref):
            kind = guess_type(f"object{suffix}")[0] or "application/octet-stream"
            self._client.put_object(
                self._bucket, _key(ref), io.BytesIO(data), len(data), content_type=kind, part_size=PART
            )
        return ref

    def has(self, ref: str) -> bool:
        try:
            self._client.stat_object(self._bucket, _key(ref))
        except S3Error as error:
            if error.code in {"NoSuchKey", "NoSuchObject", "NotFound"}:
                return False
            raise
        return True

    def get(self, ref: str) -> bytes:
        """Return the bytes of `ref`; raise ObjectMissing or ObjectCorrupt."""
        try:
            response = self._client.get_object(self._bucket, _key(ref))
        except S3Error as error:
            if error.code in {"NoSuchKey", "NoSuchObject", "NotFound"}:
                raise ObjectMissing(f"object {ref} is not in bucket {self._bucket}") from error
            raise
        try:
            data: bytes = response.read()
        finally:
            response.close()
            response.release_conn()
        if hashlib.sha256(data).hexdigest() != ref[:64]:
            raise ObjectCorrupt(f"object {ref} does not have its hash any more: restore it from a backup")
        return data

    def presign(self, ref: str, lifetime: timedelta) -> str:
        """Return a URL that serves `ref` without credentials for `lifetime` (7 days at most, S3's limit)."""
        url: str = self._client.presigned_get_object(self._bucket, _key(ref), expires=lifetime)
        return url


def _key(ref: str) -> str:
    if not REF.match(ref):
        raise ValueError(f"not an object reference: {ref!r}")
    return f"sha256/{ref[:2]}/{ref}"
