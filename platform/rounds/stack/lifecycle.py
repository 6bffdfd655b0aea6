"""Bringing the parts up, telling how they are, and taking down exactly what was brought up."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rounds.settings import Settings
from rounds.stack import labelstudio, ports
from rounds.stack.health import SILENT, PartFailed, wait_until_up
from rounds.stack.parts import LABELSTUDIO, PARTS, WAVES, Part
from rounds.stack.processes import alive, stop
from rounds.stack.state import (
    PartRecord,
    StackState,
    locked,
    prepare_home,
    read_state,
    secret_path,
    write_state,
)

PATIENCE = 20.0  # seconds that a running part may be too busy to answer before it counts as hung
TRIES = 4  # ports that a part is started on: so many stacks may start at one moment

Report = Callable[[str, str], None]


@dataclass(frozen=True)
class PartStatus:
    """Whether a part answers now, and what and where it is."""

    up: bool
    version: str | None
    url: str | None


def up(settings: Settings, report: Report | None = None) -> dict[str, Any]:
    """Start every part that is not given and not up; return parts and log-ins.

    `report(part, what)` is called as things happen, from several threads. Raises PartFailed, which names the
    part and its log.
    """
    home = settings.home.absolute()
    prepare_home(home)
    with locked(home):
        starter = _Starter(settings.model_copy(update={"home": home}), report or (lambda _part, _what: None))
        for wave in WAVES:
            _side_by_side(starter.ensure, wave)
        state = starter.state
    return {
        "parts": {name: asdict(_told(record)) for name, record in state.parts.items()},
        "logins": _logins(state, home),
    }


def down(settings: Settings, report: Report | None = None) -> None:
    """Stop what `up` started, last first; addresses leave `stack.json`, ports and secrets stay for the next start."""
    home = settings.home.absolute()
    if not (home / "stack.json").is_file():
        return
    with locked(home):
        state = read_state(home)
        for wave in reversed(WAVES):
            _side_by_side(lambda part: _stop(part, state.parts.get(part.name), report), wave)
        stopped = {name: replace(record, process=None) for name, record in state.parts.items()}
        write_state(home, StackState({}, {**state.previous, **state.settings}, stopped))


def status(settings: Settings) -> dict[str, PartStatus]:
    """Ask every part, ours or not, whether it answers."""
    home = settings.home.absolute()
    state = read_state(home)
    known = _in_force(settings.model_copy(update={"home": home}), state)
    with ThreadPoolExecutor(len(PARTS)) as threads:
        answers = threads.map(lambda part: _ask(part, known, state.parts.get(part.name)), PARTS)
        return {part.name: answer for part, answer in zip(PARTS, answers, strict=True)}


class _Starter:
    """One `rounds up`: the state as it grows, written to `stack.json` after each change."""

    def __init__(self, settings: Settings, report: Report) -> None:
        self.settings = settings
        self.report = report
        self.state = read_state(settings.home)
        self._changing = threading.Lock()

    def ensure(self, part: Part) -> None:
        """Leave a part that is up alone; otherwise start it, wait until it answers and prepare it."""
        old = self.state.parts.get(part.name, PartRecord())
        if _is_given(part, self.settings, self.state):
            _stop(part, old, self.report)
            self._use(part)
        elif self._is_up(part, old):
            part.refresh(self._known(), self._log(part))
            self._save(part, old)
            self.report(part.name, "up")
        else:
            _stop(part, old, None)
            self._start(part, old)

    def _use(self, part: Part) -> None:
        try:
            if part.prepare_given:
                (part.answers or part.probe)(self.settings)
                part.prepare(self.settings, self._log(part))
            version = part.probe(self.settings)
        except SILENT as error:
            where = f"ROUNDS_{part.setting.upper()}"
            raise PartFailed(
                f"{part.name}: nothing that works answers at the address in {where} ({type(error).__name__})"
            ) from error
        url = public(getattr(self.settings, part.setting))
        with self._changing:
            ours = {name: value for name, value in self.state.settings.items() if name not in _filled(part)}
            self.state = replace(self.state, settings=ours)
            self.state = self.state.with_part(part.name, PartRecord(url=url, version=version))
            write_state(self.settings.home, self.state)
        self.report(part.name, "used where it is")

    def _is_up(self, part: Part, record: PartRecord) -> bool:
        if record.process is None or not alive(record.process) or record.needed != self._needed(part):
            return False
        known = self._known()
        try:
            self._wait(part, record, lambda: part.probe(known), PATIENCE)
        except PartFailed:
            return False
        return True

    def _start(self, part: Part, old: PartRecord) -> None:
        """Start a part; on another port each time that somebody took the chosen one in the meantime."""
        for left in reversed(range(TRIES)):
            try:
                self._start_once(part, old)
                return
            except PartFailed:
                failed = self.state.parts[part.name]
                _stop(part, failed, None)  # a slow one would go on beside the next, unknown to anybody
                port = failed.port
                if not left or port is None or ports.is_free(port):
                    raise
                self.report(part.name, f"port {port} was taken meanwhile")
                old = PartRecord()

    def _start_once(self, part: Part, old: PartRecord) -> None:
        self.report(part.name, "starting")
        log = self._log(part)
        with self._changing:
            port = self._free_port(part, old)
            self.state = self.state.with_part(part.name, PartRecord(port=port))
        process = part.start(self._known(), port or 0, log)
        record = PartRecord(port=port, process=process, started_by_us=True, needed=self._needed(part))
        known = self._save(part, record)
        first = part.answers or part.probe
        self._wait(part, record, lambda: first(known), part.timeout)
        part.prepare(known, log)
        version = self._wait(part, record, lambda: part.probe(known), part.timeout)
        self._save(part, replace(record, version=version))
        self.report(part.name, "up")

    def _wait(self, part: Part, record: PartRecord, probe: Callable[[], str], seconds: float) -> str:
        return wait_until_up(part.name, probe, record.process, self._log(part), seconds, record.port)

    def _free_port(self, part: Part, old: PartRecord) -> int | None:
        """Choose the port of last time or the usual one, else one near it; called with the lock held."""
        if part.port is None:
            return None
        taken = {record.port or 0 for name, record in self.state.parts.items() if name != part.name}
        if old.port is not None and old.port not in taken and ports.is_free(old.port):
            return old.port
        return ports.free_port(part.port, taken)

    def _save(self, part: Part, record: PartRecord) -> Settings:
        with self._changing:
            address = dict(part.address(self.settings.home, record.port or 0))
            url = public(address.get(part.setting) or getattr(self._known(), part.setting))
            self.state = replace(
                self.state.with_part(part.name, replace(record, url=url)),
                settings={**self.state.settings, **address},
            )
            write_state(self.settings.home, self.state)
            return self._known()

    def _known(self) -> Settings:
        return _in_force(self.settings, self.state)

    def _needed(self, part: Part) -> str:
        values = {name: getattr(self._known(), name) for name in part.needs}
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()

    def _log(self, part: Part) -> Path:
        return self.settings.home / "logs" / f"{part.name}.log"


def public(url: str | None) -> str | None:
    """Return an address without the password in it."""
    if not url or "@" not in url:
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _is_given(part: Part, settings: Settings, state: StackState) -> bool:
    """Tell whether the part's address came from outside: it is set, and not to what a `rounds up` wrote."""
    value = getattr(settings, part.setting)
    return bool(value) and value not in (state.settings.get(part.setting), state.previous.get(part.setting))


def _in_force(settings: Settings, state: StackState) -> Settings:
    """Return the settings with every address of ours as the state has it, and the given ones as given."""
    fields = {name for part in PARTS if not _is_given(part, settings, state) for name in _filled(part)}
    return settings.model_copy(update={name: state.settings.get(name) for name in fields})


def _filled(part: Part) -> Iterable[str]:
    extra = {"objects": ("s3_access_key", "s3_secret_key"), "labelstudio": ("labelstudio_token",)}
    return (part.setting, *extra.get(part.name, ()))


def _ask(part: Part, settings: Settings, record: PartRecord | None) -> PartStatus:
    last = record or PartRecord()
    url = public(getattr(settings, part.setting))
    gone = last.process is None or not alive(last.process)
    if url is None or (last.started_by_us and gone):  # whoever answers there now is not ours
        return PartStatus(False, last.version, last.url)
    try:
        return PartStatus(True, part.probe(settings), url)
    except SILENT:
        return PartStatus(False, last.version, url)


def _stop(part: Part, record: PartRecord | None, report: Report | None) -> None:
    if record is None or record.process is None:
        return
    stop(record.process, how=part.stop_with, grace=part.grace)
    if report is not None:
        report(part.name, "stopped")


def _told(record: PartRecord) -> PartStatus:
    return PartStatus(True, record.version, record.url)


def _logins(state: StackState, home: Path) -> dict[str, dict[str, str]]:
    record = state.parts[LABELSTUDIO.name]
    if not record.started_by_us:
        return {}
    return {
        LABELSTUDIO.name: {
            "url": record.url or "",
            "email": labelstudio.ADMIN_EMAIL,
            "password_file": str(secret_path(home, "labelstudio_password")),
        }
    }


def _side_by_side(do: Callable[[Part], None], parts: Iterable[Part]) -> None:
    """Do it to every part at once; when some fail, raise the first failure after all have ended."""
    with ThreadPoolExecutor(len(PARTS)) as threads:
        doing = [threads.submit(do, part) for part in parts]
        wait(doing)
    for one in doing:
        one.result()
