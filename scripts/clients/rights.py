"""Kinesis and DynamoDB of PyPI ministack, which checks signatures and IAM policies: a wrong secret, and each right missing in turn.

The connector names the action that is refused, loses nothing, and goes on when the right is given.
"""

import json
import pathlib
import sys
import tempfile

import boto3
from stack import FRAZIL, Local, configuration, free_ports, start, wait_for

RECORDS = 100
# On the stream and on the lease table; what polling asks for.
ACTIONS = [
    "kinesis:DescribeStream",
    "kinesis:ListShards",
    "kinesis:GetShardIterator",
    "kinesis:GetRecords",
    "dynamodb:DescribeTable",
    "dynamodb:Query",
    "dynamodb:GetItem",
    "dynamodb:UpdateItem",
]


def policy(actions):
    # ministack does not see from an iterator which stream it is of, as AWS does.
    iterating = [action for action in actions if action == "kinesis:GetRecords"]
    kinesis = [action for action in actions if action.startswith("kinesis:") and action not in iterating]
    dynamodb = [action for action in actions if action.startswith("dynamodb:")]
    statements = [
        (kinesis, "arn:aws:kinesis:us-east-1:*:stream/clicks"),
        (iterating, "*"),
        ([*dynamodb, "dynamodb:CreateTable"], "arn:aws:dynamodb:us-east-1:*:table/rights-*"),
    ]
    allowed = [{"Effect": "Allow", "Action": actions, "Resource": resource} for actions, resource in statements if actions]
    return json.dumps({"Version": "2012-10-17", "Statement": allowed})


class Trial:
    """One application on a table of its own, under a policy."""

    def __init__(self, folder, local, gateway, name, key, secret):
        self.local, self.table = local, f"RIGHTS.PUBLIC.{name}"
        local.sql(f"CREATE TABLE {self.table} (N INT)")
        url = f"http://127.0.0.1:{gateway}"
        path = configuration(
            folder / f"{name}.yaml", local, "clicks", self.table, f"127.0.0.1:{free_ports(1)[0]}",
            kinesis=url, dynamodb=url, application=f"rights-{name}",
        )
        keys = f"access_key_id: {key}, secret_access_key: {secret}"
        path.write_text(path.read_text().replace("access_key_id: AKIDLOCAL, secret_access_key: local", keys))
        self.log = folder / f"{name}.log"
        self.worker = start([FRAZIL, "run", "-c", str(path)], self.log)

    def says(self, what):
        return wait_for(f"{what} in {self.log}", lambda: what in self.log.read_text(), seconds=90)

    def rows(self):
        return int(self.local.sql(f"SELECT COUNT(*) AS C FROM {self.table}")[0]["C"])

    def end(self):
        self.worker.terminate()
        return self.worker.wait(timeout=90)


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="frazil-rights-"))
    (gateway,) = free_ports(1)
    ministack = pathlib.Path(sys.executable).with_name("ministack")
    environment = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(gateway), "AUTH": "true"}
    # Its owner's own key, which may do everything.
    environment |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    server = start([str(ministack)], folder / "ministack.log", environment)
    local = Local(folder / "data")

    def root(service):
        return boto3.client(
            service, endpoint_url=f"http://127.0.0.1:{gateway}", region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test",
        )

    iam, kinesis = root("iam"), root("kinesis")

    def answers():
        try:
            return iam.list_users() is not None
        except Exception:  # not up yet
            return False

    wait_for("ministack", answers)
    local.sql("CREATE DATABASE RIGHTS")
    iam.create_user(UserName="frazil")
    key = iam.create_access_key(UserName="frazil")["AccessKey"]
    give = lambda actions: iam.put_user_policy(UserName="frazil", PolicyName="p", PolicyDocument=policy(actions))
    give(ACTIONS)
    kinesis.create_stream(StreamName="clicks", ShardCount=1)
    describe = lambda: kinesis.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]["StreamStatus"]
    wait_for("the stream", lambda: describe() == "ACTIVE")
    for n in range(RECORDS):
        kinesis.put_record(StreamName="clicks", Data=json.dumps({"n": n}).encode(), PartitionKey="k")

    wrong = Trial(folder, local, gateway, "WRONG", key["AccessKeyId"], "not-the-secret-canary")
    wrong.says("Signature")
    assert wrong.rows() == 0 and "canary" not in wrong.log.read_text()
    wrong.end()

    refused = []
    for number, missing in enumerate(ACTIONS):
        give([action for action in ACTIONS if action != missing])
        trial = Trial(folder, local, gateway, f"T{number}", key["AccessKeyId"], key["SecretAccessKey"])
        action = missing.split(":")[1]
        trial.says(action)
        assert trial.rows() == 0 or action in ("UpdateItem", "Query"), (missing, trial.rows())
        give(ACTIONS)
        if trial.worker.poll() is not None:
            # Refused for good: the operator starts it again.
            restarted = start([FRAZIL, "run", "-c", str(folder / f"T{number}.yaml")], trial.log)
            trial.worker = restarted
        wait_for(f"the rows without {missing} at first", lambda: trial.rows() == RECORDS, seconds=90, every=0.3)
        code = trial.end()
        assert code == 0, (missing, code, trial.log.read_text()[-2000:])
        assert trial.rows() == RECORDS, (missing, trial.rows())
        refused.append(missing)
    local.stop()
    server.kill()
    server.wait()
    assert len(refused) == len(ACTIONS)
    print(f"ok: a wrong secret and {len(refused)} missing rights were named; {RECORDS} rows each, once, when they were given")


if __name__ == "__main__":
    sys.exit(main())
