"""The only code that speaks to the object store: put, get and presign by the SHA-256 of the bytes."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from io import BufferedRandom
from mimetypes import guess_type
from urllib.parse import urlsplit

from minio import Minio
from minio.credentials.credentials import Credentials
from minio.error import S3Error
from minio.signer import sign_v4_s3
from urllib3 import PoolManager, Retry, Timeout

from rounds.settings import Settings

ASK_FIRST = 2**20  # bytes
BLOCK = 2**20  # bytes of a file that are sent at a time
REF = re.compile(r"^[0-9a-f]{64}(\.[a-z0-9]+)*$")
_PATIENCE = Timeout(connect=60, read=300)  # seconds
_AGAIN = Retry(total=5, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504))


class ObjectMissing(Exception):
    """No object has this reference."""


class ObjectCorrupt(Exception):
    """The stored bytes no longer have the hash that names them."""


class NotStored(Exception):
    """The object store answered, but did not take an object."""


class ObjectStore:
    """A bucket of immutable objects; a reference is `<sha256><suffix>`, such as `ab12....png`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bucket = settings.s3_bucket
        self._pool = PoolManager(maxsize=10, timeout=_PATIENCE, retries=_AGAIN, blocksize=BLOCK)
        self._credentials = Credentials(settings.require("s3_access_key"), settings.require("s3_secret_key"))
        url = urlsplit(settings.require("s3_url"))
        self._client = Minio(
            url.netloc,
            access_key=self._credentials.access_key,
            secret_key=self._credentials.secret_key,
            secure=url.scheme == "https",
            region=settings.s3_region,
            http_client=self._pool,
        )
        anything = self._client.presigned_get_object(self._bucket, "any")  # nothing is asked of the server
        self._folder = anything.partition("?")[0].removesuffix("any")

    @classmethod
    def from_settings(cls, settings: Settings) -> "ObjectStore":
        return cls(settings)

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
            self._send(ref, data, len(data))
        return ref

    def put_file(self, file: BufferedRandom, suffix: str) -> str:
        """Store what an open file holds, from its beginning, as `put` does; it need not fit into memory."""
        file.seek(0)
        ref = hashlib.file_digest(file, "sha256").hexdigest() + suffix
        length = file.tell()
        if not self.has(ref):
            file.seek(0)
            self._send(ref, file, length)
        return ref

    def _send(self, ref: str, body: bytes | BufferedRandom, length: int) -> None:
        """Send an object or raise NotStored; the client's own way would copy it whole and hash it a second time."""
        digest = ref[:64]
        url = urlsplit(self._folder + _key(ref))
        now = datetime.now(UTC)
        headers = sign_v4_s3(
            method="PUT",
            url=url,
            region=self._settings.s3_region,
            headers={
                "Host": url.netloc,
                "Content-Type": guess_type(f"object{ref[64:]}")[0] or "application/octet-stream",
                "Content-Length": str(length),
                "x-amz-content-sha256": digest,
                "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            },
            credentials=self._credentials,
            content_sha256=digest,
            date=now,
        )
        answer = self._pool.urlopen("PUT", url.geturl(), body=body, headers=headers)
        if answer.status not in {200, 204}:
            raise NotStored(
                f"the object store refused an object with HTTP status {answer.status}: "
                "check its credentials, bucket and free space with `rounds status`"
            )

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
