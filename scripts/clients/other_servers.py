"""A connector that reads npm kinesis-local, keeps its leases in PyPI ministack, and writes to `frazil local`: the same table."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from boto3_kinesis import client
from stack import FRAZIL, Local, configuration, free_ports, frazil, start, wait_for

RECORDS = 300


def kinesis_local(folder, plain, tls):
    package = pathlib.Path(os.environ["KINESIS_LOCAL"])
    # It binds every address and cannot be told otherwise: this preload sets the host.
    bind = folder / "bind127.js"
    bind.write_text(
        "const net = require('net');const listen = net.Server.prototype.listen;\n"
        "net.Server.prototype.listen = function (...a) {\n"
        "  if (a[0] && typeof a[0] === 'object' && a[0].port !== undefined) a[0].host = '127.0.0.1';\n"
        "  else if (typeof a[0] === 'number') { if (typeof a[1] === 'string') a[1] = '127.0.0.1'; else a.splice(1, 0, '127.0.0.1'); }\n"
        "  return listen.apply(this, a);\n};\n"
    )
    environment = {
        "KINESIS_MOCK_PLAIN_PORT": str(plain),
        "KINESIS_MOCK_TLS_PORT": str(tls),
        "SHARD_LIMIT": "50",
        "KINESIS_MOCK_CERT_PATH": str(package / "server.json"),
    }
    return start(["node", "-r", str(bind), str(package / "main.js")], folder / "kinesis-local.log", environment)


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="frazil-others-"))
    plain, tls, gateway, console = free_ports(4)
    others = [kinesis_local(folder, plain, tls)]
    ministack = pathlib.Path(sys.executable).with_name("ministack")
    others.append(start([str(ministack)], folder / "ministack.log", {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(gateway)}))
    local = Local(folder / "data", ["--table", "OTHERS.PUBLIC.EVENTS"])
    kinesis = client("kinesis", f"http://127.0.0.1:{plain}")
    dynamodb = client("dynamodb", f"http://127.0.0.1:{gateway}")

    def answers(call):
        try:
            return call() is not None
        except Exception:  # not up yet
            return False

    wait_for("kinesis-local", lambda: answers(kinesis.list_streams))
    wait_for("ministack", lambda: answers(dynamodb.list_tables))
    kinesis.create_stream(StreamName="clicks", ShardCount=2)
    describe = lambda: kinesis.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]["StreamStatus"]
    wait_for("the stream", lambda: describe() == "ACTIVE")

    sent = []
    for begin in range(0, RECORDS, 100):
        batch = [
            {"Data": json.dumps({"n": n, "name": f"event {n}"}).encode(), "PartitionKey": f"key-{n}"}
            for n in range(begin, begin + 100)
        ]
        answer = kinesis.put_records(StreamName="clicks", Records=batch)
        assert answer["FailedRecordCount"] == 0, answer
        sent += [{"shardId": r["ShardId"], "sequenceNumber": r["SequenceNumber"]} for r in answer["Records"]]
    receipts = folder / "receipts.ndjson"
    receipts.write_text("".join(json.dumps(r) + "\n" for r in sent))

    config = configuration(
        folder / "frazil.yaml", local, "clicks", "OTHERS.PUBLIC.EVENTS", f"127.0.0.1:{console}",
        kinesis=f"http://127.0.0.1:{plain}", dynamodb=f"http://127.0.0.1:{gateway}",
    )
    worker = start([FRAZIL, "run", "-c", str(config)], folder / "run.log")

    def all_there():
        if worker.poll() is not None:
            raise RuntimeError(f"frazil run ended: {(folder / 'run.log').read_text()[-3000:]}")
        return int(local.sql("SELECT COUNT(*) AS C FROM OTHERS.PUBLIC.EVENTS")[0]["C"]) >= RECORDS

    wait_for("every row", all_there, seconds=120, every=0.5)
    worker.terminate()
    assert worker.wait(timeout=90) == 0, f"exit {worker.returncode}: {(folder / 'run.log').read_text()[-3000:]}"
    print(frazil("verify", receipts, "-c", config).strip())

    # The checkpoint stands where another reader would go on: at the last record of each shard.
    rows = dynamodb.scan(TableName="conformance")["Items"]
    checkpoints = {r["shardId"]["S"]: r["sequenceNumber"]["S"] for r in rows if "sequenceNumber" in r}
    last = {}
    for r in sent:
        last[r["shardId"]] = max(last.get(r["shardId"], ""), r["sequenceNumber"], key=lambda s: (len(s), s))
    assert checkpoints == last, (checkpoints, last)
    local.stop()
    for other in others:
        other.kill()
        other.wait()
    print(f"ok: {RECORDS} records from kinesis-local, leases in ministack, exactly once")


if __name__ == "__main__":
    sys.exit(main())
