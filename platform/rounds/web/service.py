"""What every request reaches for: settings, pool, object store, schemes, decoded masks, and the guards in memory."""

from dataclasses import dataclass
from functools import cached_property

from rounds.db import Pool
from rounds.labelstudio.schemes import Scheme, load_scheme
from rounds.objects import ObjectStore
from rounds.settings import Settings
from rounds.web.attempts import Attempts
from rounds.web.doorbell import Doorbell
from rounds.web.pixels import MaskCache


@dataclass(frozen=True)
class Service:
    """One running service; everything in it is safe to share between threads."""

    settings: Settings
    pool: Pool
    attempts: Attempts
    doorbell: Doorbell

    @cached_property
    def objects(self) -> ObjectStore:
        return ObjectStore.from_settings(self.settings)

    @cached_property
    def masks(self) -> MaskCache:
        return MaskCache(self.objects.get)

    @cached_property
    def secure(self) -> bool:
        """Whether people reach the service over TLS, so that cookies never travel in the clear."""
        return (self.settings.service_url or "").startswith("https:")

    def scheme(self, name: str) -> Scheme:
        """Return the scheme called `name`, read anew so that an edited colour shows at once."""
        return load_scheme(self.settings.annotation_configs, name)
