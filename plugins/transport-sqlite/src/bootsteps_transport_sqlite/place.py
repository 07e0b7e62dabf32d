"""Where a broker lives: its URL, its files and their modes, and the file systems that it refuses."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from bootsteps_transport_sqlite.errors import UnusableBroker

__all__ = ["Place", "network_file_system", "place_of"]

#: Bytes that fit into `sun_path` (Linux unix(7): 108 with the closing NUL).
SOCKET_PATH_LIMIT = 107
#: Characters of a socket's file name, see `owner.py`.
SOCKET_NAME_LENGTH = 40

EXAMPLE = "sqlite:////var/lib/app/broker.db (absolute) or sqlite:///broker.db (relative)"

#: Locks or shared memory of SQLite's WAL do not work between the hosts that share one of these.
NETWORK_TYPES = frozenset(
    (
        *(
            "9p",
            "afs",
            "beegfs",
            "ceph",
            "cifs",
            "coda",
            "davfs",
            "gfs",
            "gfs2",
            "glusterfs",
            "gpfs",
            "lustre",
        ),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs", "vboxsf"),
        *("fuse.ceph", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.juicefs"),
        *("fuse.mount-s3", "fuse.rclone", "fuse.s3fs", "fuse.s3ql", "fuse.smbnetfs", "fuse.sshfs"),
        *("fuse.vmhgfs-fuse",),
    )
)


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one broker. All belong to one user: folders 0700, files 0600."""

    #: The database, absolute.
    database: Path
    #: One lock file for each process that holds messages.
    locks: Path
    #: One datagram socket for each process that consumes.
    sockets: Path

    def prepare(self) -> None:
        """Create what is missing. Raises `UnusableBroker` where the broker could not be safe."""
        _make_private(self.database.parent, ours=False)
        self._refuse_network()
        _make_private(self.locks)
        self._create_database()

    def prepare_sockets(self) -> None:
        """Create the folder of sockets, which may be far from the database and not there for long."""
        _make_private(self.sockets)

    def tidy_sockets(self) -> None:
        """Remove the folder of sockets if it is elsewhere and nobody needs it."""
        if self.sockets != self.locks:
            with contextlib.suppress(OSError):  # others have theirs in it
                self.sockets.rmdir()

    def _refuse_network(self) -> None:
        found = network_file_system(self.database.parent.resolve(), _mounts())
        if found:
            raise UnusableBroker(
                f"the broker file {self.database} lies on a network file system ({found}), where SQLite's "
                "locks do not hold",
                "a path on a local disk, or a broker with a server (redis://, amqp://)",
            )

    def _create_database(self) -> None:
        # Only ever created here, never opened: closing a second descriptor of the file would drop the locks
        # that SQLite holds on it in this process (fcntl(2), "record locks").
        try:
            os.close(os.open(self.database, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            pass
        except OSError as exc:
            raise UnusableBroker(
                f"the broker file {self.database} cannot be created: {exc.strerror}",
                "a path in a folder that this user may write to",
            ) from exc


def place_of(url: str) -> tuple[Place, dict[str, str]]:
    """Return the place that a URL names, and the options of its query.

    Raises `UnusableBroker` when it names no file.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.netloc:
        raise UnusableBroker(f"the broker URL {url!r} names a host, and a file has none", EXAMPLE)
    if not path or path == ":memory:" or path.endswith("/"):
        raise UnusableBroker(f"the broker URL {url!r} names no file", EXAMPLE)
    database = Path(os.path.abspath(path))
    locks = database.with_name(database.name + ".owners")
    return Place(database, locks, _socket_folder(locks)), dict(parse_qsl(parts.query))


def network_file_system(path: Path, mounts: str) -> str | None:
    """Return the type of the network file system that holds `path`, None where it is a local one.

    `mounts` has the form of /proc/self/mounts; `path` is absolute, without symbolic links.
    """
    best, found = -1, None
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point, kind = Path(_unescape(fields[1])), fields[2]
        # The last of two mounts on one point hides the first.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), kind
    return found if found in NETWORK_TYPES else None


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), field)


def _mounts() -> str:
    try:
        return Path("/proc/self/mounts").read_text(errors="surrogateescape")
    except OSError:  # not Linux: nothing to look up
        return ""


def _socket_folder(locks: Path) -> Path:
    if len(os.fsencode(locks)) + 1 + SOCKET_NAME_LENGTH <= SOCKET_PATH_LIMIT:
        return locks
    name = "bootsteps-" + hashlib.sha256(os.fsencode(os.path.realpath(locks))).hexdigest()[:16]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and len(os.fsencode(runtime)) + 30 + SOCKET_NAME_LENGTH <= SOCKET_PATH_LIMIT:
        return Path(runtime, name)
    return Path(tempfile.gettempdir(), f"{name}-{os.getuid()}")


def _make_private(folder: Path, *, ours: bool = True) -> None:
    """Create a folder of mode 0700; one of ours that exists must already be private."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as exc:
        raise UnusableBroker(
            f"the broker's folder {folder} cannot be made: {exc.strerror}",
            "a path in a folder that this user may write to",
        ) from exc
    if ours and (found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077 or stat.S_ISLNK(found.st_mode)):
        raise UnusableBroker(
            f"the broker's folder {folder} is open to other users",
            f"chmod 700 {folder}, or remove it when it is not yours",
        )
