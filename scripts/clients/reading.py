"""Other people's Kinesis, read by polling and by enhanced fan-out, over a split and a merge, with plain records and with aggregates
that PyPI aws-kinesis-agg made.

By fan-out kinesis-local never ends a shard that was closed, and ministack forgets a shard with its records when it is split: both
are not resharded there."""

import json
import pathlib
import subprocess
import sys
import tempfile

from aws_kinesis_agg.aggregator import RecordAggregator
from boto3_kinesis import client
from other_servers import kinesis_local
from stack import FRAZIL, Local, configuration, free_ports, frazil, start, wait_for

PLAIN = 60
PACKED = 40


class Source:
    """A stream of somebody's Kinesis, and what was put into it."""

    def __init__(self, kinesis, name):
        self.kinesis, self.name, self.receipts, self.number = kinesis, name, [], 0
        kinesis.create_stream(StreamName=name, ShardCount=2)
        self.active()

    def active(self):
        status = lambda: self.kinesis.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]["StreamStatus"]
        wait_for("the stream", lambda: status() == "ACTIVE")

    def event(self):
        self.number += 1
        return json.dumps({"n": self.number, "name": f"event {self.number}"})

    def took(self, answer, user_records=1):
        self.receipts.append(
            {"shardId": answer["ShardId"], "sequenceNumber": answer["SequenceNumber"], "userRecords": user_records}
        )

    def put(self):
        for n in range(PLAIN):
            self.took(self.kinesis.put_record(StreamName=self.name, PartitionKey=f"key-{n}", Data=self.event().encode()))
        for part in range(2):
            packer = RecordAggregator()
            for n in range(PACKED):
                assert packer.add_user_record(f"key-{part}-{n}", self.event()) is None
            key, _, data = packer.clear_and_get().get_contents()
            answer = self.kinesis.put_record(StreamName=self.name, PartitionKey=key, Data=data)
            self.took(answer, PACKED)

    def open_shards(self):
        shards = self.kinesis.list_shards(StreamName=self.name)["Shards"]
        shards = [s for s in shards if not s["SequenceNumberRange"].get("EndingSequenceNumber")]
        return sorted(shards, key=lambda s: int(s["HashKeyRange"]["StartingHashKey"]))

    def split_and_merge(self):
        first, second = self.open_shards()
        middle = int(first["HashKeyRange"]["EndingHashKey"]) // 2
        self.kinesis.split_shard(StreamName=self.name, ShardToSplit=first["ShardId"], NewStartingHashKey=str(middle))
        self.active()
        self.put()
        shards = self.open_shards()
        self.kinesis.merge_shards(
            StreamName=self.name, ShardToMerge=shards[1]["ShardId"], AdjacentShardToMerge=second["ShardId"]
        )
        self.active()


def run(folder, local, source, kinesis_url, consumer, name, reshards):
    table = f"READING.PUBLIC.{name.upper()}"
    (console,) = free_ports(1)
    config = configuration(
        folder / f"{name}.yaml", local, source.name, table, f"127.0.0.1:{console}", kinesis=kinesis_url, application=f"read-{name}"
    )
    config.write_text(config.read_text().replace("SHARED_THROUGHPUT", consumer))
    log = folder / f"{name}.log"
    source.put()
    worker = start([FRAZIL, "run", "-c", str(config)], log)
    if reshards:
        source.split_and_merge()
    source.put()
    expected = sum(r["userRecords"] for r in source.receipts)

    def all_there():
        if worker.poll() is not None:
            raise RuntimeError(f"frazil run ended: {log.read_text()[-3000:]}")
        try:
            return int(local.sql(f"SELECT COUNT(*) AS C FROM {table}")[0]["C"]) >= expected
        except RuntimeError:  # the table has no columns yet
            return False

    try:
        wait_for("every row", all_there, seconds=90, every=0.5)
    except TimeoutError as error:
        print(error, log.read_text()[-2000:])
    worker.terminate()
    code = worker.wait(timeout=90)
    receipts = folder / f"{name}.receipts"
    receipts.write_text("".join(json.dumps(r) + "\n" for r in source.receipts))
    verdict = subprocess.run([FRAZIL, "verify", str(receipts), "-c", str(config)], capture_output=True, text=True, check=False)
    frazil("remove", "-c", config)
    good = code == 0 and verdict.returncode == 0
    print(f"{'ok' if good else 'FAILED'}: {name}, {consumer}: {expected} events{' over a split and a merge' if reshards else ''}, exit {code}")
    if not good:
        print(verdict.stdout, verdict.stderr, log.read_text()[-2000:])
    return good


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="frazil-reading-"))
    plain, tls, gateway = free_ports(3)
    ministack = pathlib.Path(sys.executable).with_name("ministack")
    others = [
        kinesis_local(folder, plain, tls),
        start([str(ministack)], folder / "ministack.log", {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(gateway)}),
    ]
    plans = [
        ("ours_polled", None, "SHARED_THROUGHPUT", True),
        ("ours_pushed", None, "ENHANCED_FAN_OUT", True),
        ("kinesis_local_polled", f"http://127.0.0.1:{plain}", "SHARED_THROUGHPUT", True),
        ("kinesis_local_pushed", f"http://127.0.0.1:{plain}", "ENHANCED_FAN_OUT", False),
        ("ministack_pushed", f"http://127.0.0.1:{gateway}", "ENHANCED_FAN_OUT", False),
    ]
    plans = [plan for plan in plans if len(sys.argv) < 2 or plan[0] in sys.argv[1:]]
    tables = [option for name, *_ in plans for option in ("--table", f"READING.PUBLIC.{name.upper()}")]
    local = Local(folder / "data", tables)

    def answers(kinesis):
        try:
            return kinesis.list_streams() is not None
        except Exception:  # not up yet
            return False

    good = 0
    for name, url, consumer, reshards in plans:
        url = url or local.addresses["kinesisUrl"]
        kinesis = client("kinesis", url)
        wait_for(name, lambda: answers(kinesis))
        good += run(folder, local, Source(kinesis, name.replace("_", "-")), url, consumer, name, reshards)
    local.stop()
    for other in others:
        other.kill()
        other.wait()
    assert good == len(plans), f"{good} of {len(plans)}"


if __name__ == "__main__":
    sys.exit(main())
