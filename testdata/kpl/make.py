"""Makes the aggregates of this folder; see README.md."""

import hashlib
import json
import pathlib

from aws_kinesis_agg.aggregator import RecordAggregator

HERE = pathlib.Path(__file__).parent


def hash_of(key):
    return str(int.from_bytes(hashlib.md5(key.encode()).digest(), "big"))


def write(name, records):
    """Each record is (partition key, explicit hash key or None, data)."""
    aggregator = RecordAggregator()
    for key, hash_key, data in records:
        assert aggregator.add_user_record(key, data, hash_key) is None
    _, _, aggregate = aggregator.clear_and_get().get_contents()
    (HERE / f"{name}.bin").write_bytes(aggregate)
    expected = [
        {"partition_key": key, "explicit_hash_key": hash_key, "data": data.hex()}
        for key, hash_key, data in records
    ]
    lines = ",\n".join(json.dumps(record) for record in expected)
    (HERE / f"{name}.json").write_text(f"[\n{lines}\n]\n")


event = lambda n: json.dumps({"n": n, "text": "ä\n"}).encode()
write("one", [("key", None, event(0))])
write("two", [("a", None, event(0)), ("b", None, event(1))])
write("shared-keys", [(f"key-{n % 3}", None, event(n)) for n in range(20)])
write("hash-keys", [(f"key-{n}", hash_of(f"key-{n % 2}") if n % 4 else None, event(n)) for n in range(10)])
write("odd", [("ключ \"1\"", None, b""), ("k", "0", bytes(range(256))), ("k" * 256, str(2**128 - 1), b"{}")])
write("many", [(f"key-{n % 150}", None, b'{"n":%d}' % n) for n in range(300)])
