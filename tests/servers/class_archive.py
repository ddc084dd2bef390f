"""DynamoDB Local that starts with two thirds of the work: the JVM takes its classes from an archive, where they are
parsed and verified already (application class-data sharing, JEP 350).

`python -m tests.servers.class_archive` makes one in the checkout's `build`; without it an engine starts as ever. No
archive goes with a class path that has a folder in it, and the manifest of the engine's jar names one: so the tests
have a copy of that jar without its manifest, and links to the rest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from restrike.local import dynamodb_local as product
from tests.integration import tables

FOLDER = Path(__file__).parents[2] / "build" / "dynamodb-local"
WHERE_THE_ENGINE_LIES = "RESTRIKE_DYNAMODB_LOCAL"
_ARCHIVE = FOLDER / "classes.jsa"
_OPTIONS = (*product.JVM_OPTIONS, "-Xlog:disable")
_LAUNCHER = "LoopbackServer"


def use() -> None:
    """From now on this process starts its engines from the archive, where there is one."""
    if _ARCHIVE.is_file():
        os.environ.setdefault(WHERE_THE_ENGINE_LIES, str(FOLDER))
        product.JVM_OPTIONS = (*_OPTIONS, f"-XX:SharedArchiveFile={_ARCHIVE}")


def make() -> None:
    """Starts an engine, has it do what tests ask for, and keeps the classes that it then has."""
    library = _copied(product.ensure_installed(product.say_on_stderr))
    java, _ = product.find_java()
    class_path = os.pathsep.join([str(FOLDER / "DynamoDBLocal.jar"), str(library / "*")])
    command = [java, *_OPTIONS, f"-XX:ArchiveClassesAtExit={_ARCHIVE}", f"-Drestrike.owner={os.getpid()}"]
    command += [f"-Djava.library.path={library}", "-cp", class_path, _LAUNCHER, "-sharedDb", "-disableTelemetry"]
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([*command, "-inMemory"], cwd=FOLDER, stdout=log, stderr=log)
        try:
            _use(f"http://127.0.0.1:{product._await_listening(process, log)}", folder)
        finally:
            product._end(process)


def _copied(engine: Path) -> Path:
    """Makes the folder anew; returns that of its libraries."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    library = FOLDER / "DynamoDBLocal_lib"
    library.mkdir(parents=True)
    for file in (engine / library.name).iterdir():
        (library / file.name).symlink_to(file)
    with zipfile.ZipFile(library / f"{_LAUNCHER}.jar", "w") as jar:
        jar.write(Path(product.__file__).with_name(f"{_LAUNCHER}.class"), f"{_LAUNCHER}.class")
    with (
        zipfile.ZipFile(engine / "DynamoDBLocal.jar") as whole,
        zipfile.ZipFile(FOLDER / "DynamoDBLocal.jar", "w", zipfile.ZIP_DEFLATED) as jar,
    ):
        for entry in whole.infolist():
            if entry.filename != "META-INF/MANIFEST.MF":
                jar.writestr(entry, whole.read(entry))
    return library


def _use(url: str, folder: str) -> None:
    key: tables.Attribute = ("k", "S")
    table = tables.create(url, key, indexes=[tables.Index("by-key", key)], items=[{"k": str(n)} for n in range(50)])
    asked: list[dict[str, Any]] = [{"all": True}, {"all": True, "counter": "n"}]
    for each in [*asked, {"partition_key": "1", "api": "update-item"}]:
        tables.touch(table, ledger=f"{folder}/ledger.db", **each)


if __name__ == "__main__":
    os.environ |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": tables.REGION}
    make()
