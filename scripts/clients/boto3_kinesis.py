"""boto3 against `frazil local`: create a stream, put records, read them back."""

import sys
import tempfile

import boto3
from stack import FAKE_AWS, Local, wait_for

RECORDS = 1_000


def client(service, url):
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=FAKE_AWS["AWS_DEFAULT_REGION"],
        aws_access_key_id=FAKE_AWS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=FAKE_AWS["AWS_SECRET_ACCESS_KEY"],
    )


def read_all(kinesis, stream):
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        iterator = iterator["ShardIterator"]
        while iterator:
            answer = kinesis.get_records(ShardIterator=iterator)
            yield from answer["Records"]
            if not answer["Records"] and answer["MillisBehindLatest"] == 0:
                break
            iterator = answer.get("NextShardIterator")


def main():
    local = Local(tempfile.mkdtemp(prefix="frazil-boto3-"))
    kinesis = client("kinesis", local.addresses["kinesisUrl"])
    kinesis.create_stream(StreamName="clicks", ShardCount=2)
    wait_for(
        "the stream",
        lambda: kinesis.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE",
    )
    sent = {}
    for begin in range(0, RECORDS, 500):
        batch = [{"Data": f"event {n}".encode(), "PartitionKey": str(n)} for n in range(begin, begin + 500)]
        answer = kinesis.put_records(StreamName="clicks", Records=batch)
        assert answer["FailedRecordCount"] == 0, answer
        sent.update({r["SequenceNumber"]: b["Data"] for r, b in zip(answer["Records"], batch)})
    read = {r["SequenceNumber"]: r["Data"] for r in read_all(kinesis, "clicks")}
    assert read == sent and len(read) == RECORDS, (len(read), len(sent))
    dynamodb = client("dynamodb", local.addresses["dynamodbUrl"])
    assert "TableNames" in dynamodb.list_tables()
    local.stop()
    print(f"ok: {RECORDS} records put and read by boto3")


if __name__ == "__main__":
    sys.exit(main())
