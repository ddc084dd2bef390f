"""A stand-in for DynamoDB that costs next to nothing, in a process of its own: what a benchmark measures is the client.

    python -m bench.stub --port 0 --items 1000000 [--tls] [--stream]

The first line on stdout is the port; with `--tls` the second is the path of the CA file (for AWS_CA_BUNDLE). It serves
on 127.0.0.1 until SIGTERM or SIGINT, until its parent is gone, or for `--max-seconds`, whichever comes first. `GET /`
answers its own counters and CPU time. In Python:

    with running(items=1_000_000) as stub:
        client = boto3.client("dynamodb", endpoint_url=stub.endpoint_url)

What it answers:

- `Scan` and `Query`: pages of 2,500 items of 400 bytes by DynamoDB's count, 1,000,000 bytes a page, made by splicing
  the page's number between constant pieces. `Limit`, `Segment`, `TotalSegments`, `Select=COUNT` and
  `ExclusiveStartKey` are honoured; filters and (unless `--honour-projection`) projections are not.
- `BatchExecuteStatement`: one `{}` a statement: every marker is fired. `UpdateItem`: `{}`.
- `BatchGetItem`: nothing found.
- `DescribeTable`, `DescribeTimeToLive`, `ListStreams`, `DescribeStream` (one open shard), `GetShardIterator`,
  `GetRecords`.
- With `--stream`, `GetRecords` answers a MODIFY record for each statement of a BatchExecuteStatement. The stub keeps no
  items, so that the same marker written twice makes two records, unlike in DynamoDB.

It is no HTTP server: it wants a Content-Length and one host, checks no signature, and reads only what it needs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

ITEMS_PER_PAGE = 2_500
ITEM_BYTES = 400
SHARD_ID = "shardId-00000001700000000000-benchbench"
_ACCOUNT = "arn:aws:dynamodb:us-east-1:123456789012"
_STREAM_LABEL = "2026-01-01T00:00:00.000"
_FIRST_SEQUENCE_NUMBER = 100_000_000_000_000_000_000_000
_CREATED_S = 1_767_225_600  # 2026-01-01
_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0
_HEAD_LIMIT = 64 * 1024

Body = dict[str, Any]
_decode = msgspec.json.Decoder(Body).decode
_encode = msgspec.json.Encoder().encode


# --- responses ----------------------------------------------------------------------------------------------------

_STATUS = {200: b"HTTP/1.1 200 OK", 400: b"HTTP/1.1 400 Bad Request"}
# There is no x-amz-crc32: clients would spend time checking it.
_REST_OF_HEAD = (
    b"\r\nContent-Type: application/x-amz-json-1.0\r\nx-amzn-RequestId: BENCH\r\nConnection: keep-alive\r\n"
    b"Content-Length: %d\r\n\r\n"
)


def answer_head(body_bytes: int, status: int = 200) -> bytes:
    """What goes before a body of that length."""
    return _STATUS[status] + _REST_OF_HEAD % body_bytes


def answer(body: bytes, status: int = 200) -> bytes:
    """A whole HTTP response."""
    return answer_head(len(body), status) + body


# --- items --------------------------------------------------------------------------------------------------------


class Pages:
    """The table's items, numbered from 0, in pages of `ITEMS_PER_PAGE`; an item's key is made of its number."""

    def __init__(self, items: int, *, keys_only: bool = False) -> None:
        self.items = items
        slots = [self._slot(i, keys_only=keys_only) for i in range(ITEMS_PER_PAGE)]
        self._slots = slots
        # A page is its number (8 digits) joined between these pieces: one pass of memcpy in C.
        self._pieces = [
            slots[0][0],
            *(a[1] + b"," + b[0] for a, b in pairwise(slots)),
            slots[-1][1],
        ]
        self._page_bytes = sum(map(len, self._pieces)) + len(b"12345678") * ITEMS_PER_PAGE

    @staticmethod
    def _slot(i: int, *, keys_only: bool) -> tuple[bytes, bytes]:
        """The item's JSON before and after the page number."""
        sk = f"sk#{i:05d}"
        if keys_only:
            return b'{"pk":{"S":"bench#', b'#%05d"},"sk":{"S":"%b"}}' % (i, sk.encode())
        pk_bytes = len("bench#12345678#12345")
        data = "x" * (ITEM_BYTES - len("pk") - pk_bytes - len("sk") - len(sk) - len("data"))
        return b'{"pk":{"S":"bench#', b'#%05d"},"sk":{"S":"%b"},"data":{"S":"%b"}}' % (i, sk.encode(), data.encode())

    @staticmethod
    def key(number: int) -> bytes:
        """The primary key of an item as JSON."""
        page, i = divmod(number, ITEMS_PER_PAGE)
        return b'{"pk":{"S":"bench#%08d#%05d"},"sk":{"S":"sk#%05d"}}' % (page, i, i)

    @staticmethod
    def number(key: Body) -> int:
        """The inverse of `key`."""
        _, page, i = key["pk"]["S"].split("#")
        return int(page) * ITEMS_PER_PAGE + int(i)

    def respond(self, first: int, last: int, before: bytes, after: bytes) -> bytes:
        """The HTTP response with the items from `first` to before `last`, of one page, between two bits of JSON.

        A page is put together in one pass, HTTP head included: a second block of 1 MB makes glibc give memory back
        and fetch it again for each page, which costs 20 times the copying.
        """
        page, i = divmod(first, ITEMS_PER_PAGE)
        digits = b"%08d" % page
        if last - first == ITEMS_PER_PAGE:
            head = answer_head(len(before) + self._page_bytes + len(after))
            pieces = self._pieces
            return digits.join([head + before + pieces[0], *pieces[1:-1], pieces[-1] + after])
        items = b",".join([a + digits + b for a, b in self._slots[i : i + last - first]])
        return answer(before + items + after)


def scan(body: Body, pages: Pages) -> bytes:
    """One page, like DynamoDB's: at most `ITEMS_PER_PAGE` items, of the caller's segment only."""
    segment, segments = body.get("Segment", 0), body.get("TotalSegments", 1)
    start = body.get("ExclusiveStartKey")
    if start is None:
        first = segment * ITEMS_PER_PAGE
    else:
        first = Pages.number(start) + 1
        if first % ITEMS_PER_PAGE == 0:
            first += (segments - 1) * ITEMS_PER_PAGE
    page_end = (first // ITEMS_PER_PAGE + 1) * ITEMS_PER_PAGE
    last = max(first, min(page_end, pages.items, first + body.get("Limit", ITEMS_PER_PAGE)))
    count = last - first
    following = last if last < page_end else last + (segments - 1) * ITEMS_PER_PAGE

    before = b'{"Count":%d,"ScannedCount":%d' % (count, count)
    after = b""
    if count and following < pages.items:
        after += b',"LastEvaluatedKey":' + Pages.key(last - 1)
    if body.get("ReturnConsumedCapacity", "NONE") != "NONE":
        # Eventually consistent: half a unit for 4 KB of the page.
        units = max(1, -(-count * ITEM_BYTES // 4096)) / (1 if body.get("ConsistentRead") else 2)
        after += b',"ConsumedCapacity":' + _encode({"TableName": body.get("TableName"), "CapacityUnits": units})
    after += b"}"
    if body.get("Select") == "COUNT":
        return answer(before + after)
    return pages.respond(first, last, before + b',"Items":[', b"]" + after)


# --- the stream ---------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r""""((?:[^"]|"")*)"|('(?:[^']|'')*')|(\?)|([A-Za-z_][\w.-]*)|(\S)""")
_CLAUSES = frozenset({"UPDATE", "SET", "WHERE", "RETURNING"})
_OPERATORS = frozenset({"AND", "OR", "NOT", "IS", "MISSING"})


@dataclass(frozen=True)
class Update:
    """Which parameter of a PartiQL UPDATE is what: attribute to index of its `?`."""

    written: dict[str, int]
    keys: dict[str, int]


@lru_cache(maxsize=1024)
def parse_update(statement: str) -> Update:
    """Read `UPDATE "T" SET "a"=? … WHERE "pk"=? AND "sk"=? …`; a condition on another attribute is no key.

    Of any other statement nothing is written.
    """
    name = clause = ""
    written: dict[str, int] = {}
    keys: dict[str, int] = {}
    parameters = 0
    for quoted, _, mark, word, _ in _TOKEN.findall(statement):
        if mark:
            if clause == "SET":
                written[name] = parameters
            elif clause == "WHERE" and name in ("pk", "sk"):
                keys.setdefault(name, parameters)
            parameters += 1
        elif word.upper() in _CLAUSES:
            clause = word.upper()
        elif word.upper() not in _OPERATORS and (quoted or word):
            name = quoted.replace('""', '"') or word
    return Update(written, keys)


class Stream:
    """The records of what was written, in memory: the newest `retain` of them, one open shard."""

    def __init__(self, retain: int) -> None:
        self._retain = retain
        self._records: list[bytes] = []
        self._base = 0
        self._seconds: list[int] = []
        self._first_of_second: list[int] = []

    @property
    def end(self) -> int:
        """The number of the next record."""
        return self._base + len(self._records)

    def write(self, body: Body) -> None:
        """Append a MODIFY record for each statement."""
        now = int(time.time())
        if not self._seconds or self._seconds[-1] != now:
            self._seconds.append(now)
            self._first_of_second.append(self.end)
        for entry in body["Statements"]:
            update = parse_update(entry["Statement"])
            if not update.written:
                continue
            parameters = entry.get("Parameters", ())
            keys = {name: parameters[i] for name, i in update.keys.items()}
            written = {name: parameters[i] for name, i in update.written.items()}
            number = self.end
            self._records.append(
                _encode(
                    {
                        "eventID": f"{number:032x}",
                        "eventName": "MODIFY",
                        "eventVersion": "1.1",
                        "eventSource": "aws:dynamodb",
                        "awsRegion": "us-east-1",
                        "dynamodb": {
                            "ApproximateCreationDateTime": now,
                            "Keys": keys,
                            "NewImage": {**keys, **written},
                            "OldImage": keys,
                            "SequenceNumber": str(_FIRST_SEQUENCE_NUMBER + number),
                            "SizeBytes": 100,
                            "StreamViewType": "NEW_AND_OLD_IMAGES",
                        },
                    }
                )
            )
        if len(self._records) > 2 * self._retain:
            gone = len(self._records) - self._retain
            del self._records[:gone]
            self._base += gone

    def position(self, body: Body) -> int:
        """What a GetShardIterator asks for, as the number of a record."""
        match body["ShardIteratorType"]:
            case "TRIM_HORIZON":
                return self._base
            case "AT_SEQUENCE_NUMBER":
                return int(body["SequenceNumber"]) - _FIRST_SEQUENCE_NUMBER
            case "AFTER_SEQUENCE_NUMBER":
                return int(body["SequenceNumber"]) - _FIRST_SEQUENCE_NUMBER + 1
            case "AT_TIMESTAMP":
                # Records carry whole seconds, so those of the second before belong to a timestamp within it.
                i = bisect_right(self._seconds, int(body["Timestamp"]) - 1)
                return max(self._base, self._first_of_second[i]) if i < len(self._seconds) else self.end
            case _:
                return self.end

    def read(self, body: Body) -> bytes | None:
        """A page of records and the next iterator (the shard stays open); None if the position was trimmed."""
        start = int(body["ShardIterator"].rpartition("-")[2])
        if start < self._base:
            return None
        i = start - self._base
        records = self._records[i : i + min(1_000, body.get("Limit", 1_000))]
        return b'{"Records":[%b],"NextShardIterator":"bench-%d"}' % (b",".join(records), start + len(records))


# --- operations ---------------------------------------------------------------------------------------------------

_UPDATED_TABLE = re.compile(rb'UPDATE \\"((?:[^"\\]|\\"\\")*)\\"')
_ASKS_FOR_CAPACITY = re.compile(rb'"ReturnConsumedCapacity":\s*"(?:TOTAL|INDEXES)"')


@lru_cache(maxsize=256)
def batch_answer(statements: int, table: str | None) -> bytes:
    """The response to a batch of so many statements; with the capacity that it consumed if a table is given."""
    body = b'{"Responses":[%b]' % b",".join([b"{}"] * statements)
    if table is not None:
        body += b',"ConsumedCapacity":' + _encode([{"TableName": table, "CapacityUnits": float(statements)}])
    return answer(body + b"}")


_UPDATED = answer(b"{}")
_UPDATED_WITH_CAPACITY = answer(b'{"ConsumedCapacity":{"TableName":"bench","CapacityUnits":1.0}}')
_BATCH_25 = batch_answer(25, None)


class Engine:
    """Operation names (in lower case, as bytes) to functions from request body to response."""

    def __init__(self, *, items: int, stream: bool, retain: int, honour_projection: bool) -> None:
        self._pages = Pages(items)
        self._keys_only = Pages(items, keys_only=True) if honour_projection else self._pages
        self._stream = Stream(retain)
        self._writes_records = stream
        self.counts: Counter[bytes] = Counter()
        self.operations: dict[bytes, Callable[[bytes], bytes]] = {
            b"scan": self._scan,
            b"query": self._scan,
            b"batchexecutestatement": self._batch_to_stream if stream else self._batch,
            b"updateitem": self._update_item,
            b"describetable": lambda raw: _described_table(_decode(raw)["TableName"], items),
            b"batchgetitem": lambda _: answer(b'{"Responses":{},"UnprocessedKeys":{}}'),
            b"describetimetolive": lambda _: answer(b'{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}'),
            b"liststreams": self._list_streams,
            b"describestream": self._describe_stream,
            b"getsharditerator": self._get_shard_iterator,
            b"getrecords": self._get_records,
        }

    def respond(self, operation: bytes, raw: bytes) -> bytes:
        """Answer one request; whatever goes wrong is the caller's ValidationException."""
        self.counts[operation] += 1
        handler = self.operations.get(operation)
        if handler is None:
            return _error("UnknownOperationException", f"the stub does not know {operation.decode()}")
        try:
            return handler(raw)
        except Exception as e:
            return _error("ValidationException", f"the stub cannot answer this: {e!r}")

    def stats(self) -> bytes:
        """Requests by operation and the CPU seconds of this process so far, start-up included."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return answer(
            _encode(
                {
                    "requests": {k.decode(): n for k, n in self.counts.items()},
                    "cpu_s": usage.ru_utime + usage.ru_stime,
                    "records": self._stream.end,
                }
            )
        )

    def _scan(self, raw: bytes) -> bytes:
        body = _decode(raw)
        return scan(body, self._keys_only if "ProjectionExpression" in body else self._pages)

    def _batch(self, raw: bytes) -> bytes:
        # Counting is 20 times cheaper than parsing. Within a JSON string the quotes would be escaped.
        statements = raw.count(b'"Statement":')
        if _ASKS_FOR_CAPACITY.search(raw) is None:
            return _BATCH_25 if statements == 25 else batch_answer(statements, None)
        table = _UPDATED_TABLE.search(raw)
        return batch_answer(statements, "bench" if table is None else table[1].replace(b'\\"\\"', b'"').decode())

    def _batch_to_stream(self, raw: bytes) -> bytes:
        self._stream.write(_decode(raw))
        return self._batch(raw)

    @staticmethod
    def _update_item(raw: bytes) -> bytes:
        return _UPDATED if _ASKS_FOR_CAPACITY.search(raw) is None else _UPDATED_WITH_CAPACITY

    def _list_streams(self, raw: bytes) -> bytes:
        table = _decode(raw).get("TableName", "bench")
        stream = {"StreamArn": _stream_arn(table), "TableName": table, "StreamLabel": _STREAM_LABEL}
        return answer(_encode({"Streams": [stream]}))

    def _describe_stream(self, raw: bytes) -> bytes:
        body = _decode(raw)
        shard = {
            "ShardId": SHARD_ID,
            "SequenceNumberRange": {"StartingSequenceNumber": str(_FIRST_SEQUENCE_NUMBER)},
        }
        last = body.get("ExclusiveStartShardId") == SHARD_ID or "ShardFilter" in body
        table = body["StreamArn"].partition(":table/")[2].partition("/")[0]
        return answer(
            _encode(
                {
                    "StreamDescription": {
                        "StreamArn": body["StreamArn"],
                        "StreamLabel": _STREAM_LABEL,
                        "StreamStatus": "ENABLED",
                        "StreamViewType": "NEW_AND_OLD_IMAGES",
                        "CreationRequestDateTime": _CREATED_S,
                        "TableName": table,
                        "KeySchema": _KEY_SCHEMA,
                        "Shards": [] if last else [shard],
                    }
                }
            )
        )

    def _get_shard_iterator(self, raw: bytes) -> bytes:
        return answer(b'{"ShardIterator":"bench-%d"}' % self._stream.position(_decode(raw)))

    def _get_records(self, raw: bytes) -> bytes:
        page = self._stream.read(_decode(raw))
        return _error("TrimmedDataAccessException", "trimmed: see --retain") if page is None else answer(page)


_KEY_SCHEMA = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]


def _stream_arn(table: str) -> str:
    return f"{_ACCOUNT}:table/{table}/stream/{_STREAM_LABEL}"


@lru_cache(maxsize=16)
def _described_table(name: str, items: int) -> bytes:
    name = name.rpartition("/")[2]
    table = {
        "TableName": name,
        "TableArn": f"{_ACCOUNT}:table/{name}",
        "TableId": "00000000-0000-4000-8000-000000000000",
        "TableStatus": "ACTIVE",
        "CreationDateTime": _CREATED_S,
        "KeySchema": _KEY_SCHEMA,
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "ProvisionedThroughput": {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
        "ItemCount": items,
        "TableSizeBytes": items * ITEM_BYTES,
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        "LatestStreamLabel": _STREAM_LABEL,
        "LatestStreamArn": _stream_arn(name),
        "DeletionProtectionEnabled": False,
    }
    return answer(_encode({"Table": table}))


def _error(code: str, message: str) -> bytes:
    return answer(_encode({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}), 400)


# --- HTTP ---------------------------------------------------------------------------------------------------------

_TARGET = re.compile(rb"\r\nx-amz-target: *[^.\r]*\.(\w+)")
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")


class _Connection(asyncio.Protocol):
    """Requests with a Content-Length on a connection that is kept alive, answered one by one in order."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # Room for a page, as far as net.core.wmem_max allows: what the kernel does not take at once is copied again.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * 2**20)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        buffer = self._buffer + data if self._buffer else data
        while buffer:
            head_end = buffer.find(b"\r\n\r\n")
            if head_end < 0:
                if len(buffer) > _HEAD_LIMIT:
                    self._transport.abort()
                    return
                break
            head = buffer[:head_end].lower()
            length = _CONTENT_LENGTH.search(head)
            start = head_end + 4
            end = start + (int(length[1]) if length else 0)
            if len(buffer) < end:
                break
            target = _TARGET.search(head)
            if target:
                self._transport.write(self._engine.respond(target[1], buffer[start:end]))
            elif head.startswith(b"get "):
                self._transport.write(self._engine.stats())
            else:
                self._transport.write(_error("UnknownOperationException", "no X-Amz-Target"))
            buffer = buffer[end:]
        self._buffer = buffer


async def serve(engine: Engine, *, port: int, tls: ssl.SSLContext | None, ca_file: str, max_s: float) -> None:
    """Serve and print the port (and the CA file) until something of what the module's docstring names happens."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(lambda: _Connection(engine), "127.0.0.1", port, ssl=tls, backlog=1024)
    print(server.sockets[0].getsockname()[1], *filter(None, [ca_file]), sep="\n", flush=True)
    parent, ends = os.getppid(), loop.time() + max_s
    while not stop.is_set() and os.getppid() == parent and loop.time() < ends:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1.0)
    server.close()


def make_certificate(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A certificate for 127.0.0.1 that signs itself, so that it is its own CA file; made with the openssl command."""
    config, key, certificate = directory / "openssl.cnf", directory / "key.pem", directory / "ca.pem"
    config.write_text(
        "[req]\ndistinguished_name=dn\nx509_extensions=v3\nprompt=no\n[dn]\nCN=127.0.0.1\n[v3]\n"
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=critical,CA:TRUE\n"
        "keyUsage=critical,digitalSignature,keyCertSign\nextendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\n"
    )
    command: list[str | Path] = [
        *("openssl", "req", "-x509", "-config", config, "-days", "2", "-nodes"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", key, "-out", certificate),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


# --- for benchmarks -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stub:
    """A running stub process."""

    endpoint_url: str
    ca_file: str | None
    pid: int

    def stats(self) -> Body:
        """Its counters: `requests` by operation in lower case, `cpu_s`, `records`."""
        context = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        with urllib.request.urlopen(self.endpoint_url, timeout=5, context=context) as response:
            return _decode(response.read())


@contextlib.contextmanager
def running(
    *, items: int = 1_000_000, tls: bool = False, stream: bool = False, arguments: tuple[str, ...] = ()
) -> Iterator[Stub]:
    """A stub in a process of its own for the length of the block."""
    command = [sys.executable, "-m", "bench.stub", "--port", "0", "--items", str(items), *arguments]
    command += ["--tls"] * tls + ["--stream"] * stream
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
    # A read of a pipe has no time-out: the process that does not come up is killed, and the read ends.
    watchdog = threading.Timer(_START_TIMEOUT_S, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        with process.stdout:
            port = process.stdout.readline().strip()
            ca_file = process.stdout.readline().strip() if tls else None
            watchdog.cancel()
            if not port:
                raise RuntimeError(f"the stub did not start: {command}")
            yield Stub(f"http{'s' * tls}://127.0.0.1:{port}", ca_file, process.pid)
    finally:
        watchdog.cancel()
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_TIMEOUT_S)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.stub", description="a stub DynamoDB for benchmarks")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--items", type=int, default=1_000_000, help="items in the table")
    parser.add_argument("--tls", action="store_true", help="HTTPS with a certificate made at the start")
    parser.add_argument("--stream", action="store_true", help="make stream records of what is written")
    parser.add_argument("--retain", type=int, default=1_000_000, help="records kept at least, about 600 bytes each")
    parser.add_argument("--honour-projection", action="store_true", help="a projected read answers keys only")
    parser.add_argument("--max-seconds", type=float, default=3600.0, help="end after so long in any case")
    options = parser.parse_args()
    engine = Engine(
        items=options.items,
        stream=options.stream,
        retain=options.retain,
        honour_projection=options.honour_projection,
    )
    directory = Path(tempfile.mkdtemp(prefix="restrike-bench-"))
    try:
        tls, ca_file = make_certificate(directory) if options.tls else (None, "")
        asyncio.run(serve(engine, port=options.port, tls=tls, ca_file=str(ca_file), max_s=options.max_seconds))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
