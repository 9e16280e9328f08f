"""Makes the plots of docs/capacity.md: runs Stator with a simulated clock, drives it with boto3, and plots the results.

    make plots
"""
import json
import math
import re
import subprocess
import sys
import tempfile
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

import boto3
import matplotlib
from botocore.config import Config
from botocore.exceptions import ClientError

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402, after the backend is chosen

HERE = Path(__file__).parent
KEYS = dict(region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any", config=Config(retries={"total_max_attempts": 1}))
plt.rcParams.update({"svg.hashsalt": "stator", "font.size": 9, "figure.figsize": (7.5, 2.8), "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"})


class Server:
    """A server in memory with a clock that advance moves."""

    def __init__(self, *flags):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(["bin/stator", "serve", "--in-memory", "--test-clock", "--listen", "127.0.0.1:0", *flags],
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.url = re.search(r"http://\S+", self.process.stdout.readline())[0]
        self.db, self.watch, self.scaling = (boto3.client(s, endpoint_url=self.url, **KEYS) for s in ("dynamodb", "cloudwatch", "application-autoscaling"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def advance(self, duration):
        with urllib.request.urlopen(self.url + "/_stator/clock", json.dumps({"advance": duration}).encode()) as answer:
            return datetime.fromisoformat(json.load(answer)["now"].split(".")[0].rstrip("Z")).replace(tzinfo=timezone.utc)

    def table(self, name, read, write, **more):
        billing = {"ProvisionedThroughput": {"ReadCapacityUnits": read, "WriteCapacityUnits": write}} if read else {"BillingMode": "PAY_PER_REQUEST"}
        self.db.create_table(**{"TableName": name, "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
                                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}], **billing, **more})

    def put(self, table, key, units, **more):
        """Writes an item of that many write units; returns the reason if it is throttled."""
        item = {"pk": {"S": key}, "v": {"S": "x" * (units * 1024 - 100)}, **more}
        return reason(lambda: self.db.put_item(TableName=table, Item=item))

    def read(self, table, key):
        return reason(lambda: self.db.get_item(TableName=table, Key={"pk": {"S": key}}, ConsistentRead=True, ProjectionExpression="pk"))

    def per_minute(self, metric, start, end, stat="Sum", **dimensions):
        """A metric's statistic for each minute, as CloudWatch has it."""
        points = {}
        while start < end:
            until = min(end, start + timedelta(minutes=1440))
            for p in self.watch.get_metric_statistics(Namespace="AWS/DynamoDB", MetricName=metric, StartTime=start, EndTime=until, Period=60, Statistics=[stat],
                                                      Dimensions=[{"Name": k, "Value": v} for k, v in dimensions.items()])["Datapoints"]:
                points[p["Timestamp"].astimezone(timezone.utc)] = p[stat]
            start = until
        return points


def reason(call):
    try:
        call()
    except ClientError as e:
        found = e.response.get("ThrottlingReasons") or e.response.get("throttlingReasons")
        if not found:
            raise
        return found[0]["reason"]


def draw(name, title, lines, xlabel, ylabel, **marks):
    fig, ax = plt.subplots()
    for label, xs, ys, style in lines:
        ax.plot(xs, ys, label=label, **style)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.set_ylim(bottom=0)
    ax.margins(x=0.01)
    ax.legend(frameon=False, **marks)
    fig.tight_layout()
    fig.savefig(HERE / f"{name}.svg", metadata={"Date": None})
    plt.close(fig)
    print("docs/capacity/" + name + ".svg")


def smooth(ys):
    """Means over nine values."""
    return [sum(ys[max(0, i - 4):i + 5]) / len(ys[max(0, i - 4):i + 5]) for i in range(len(ys))]


WANTED = dict(color="#999999", linewidth=1, linestyle="--")
SERVED = dict(color="#1f6fb4", linewidth=1.5)
REFUSED = dict(color="#c8443b", linewidth=1)
PROVISIONED = dict(color="#222222", linewidth=1.2)


def burst():
    """A table of 100 write units per second is written at 250 units per second."""
    with Server() as s:
        s.table("Burst", 10, 100)
        served, refused = [], []
        for second in range(420):
            ok = sum(25 for i in range(10) if s.put("Burst", f"{second}-{i}", 25) is None)
            served.append(ok)
            refused.append(250 - ok)
            s.advance("1s")
    xs = range(len(served))
    draw("burst", "250 write units per second against 100 provisioned", [
        ("served", xs, smooth(served), SERVED), ("throttled", xs, smooth(refused), REFUSED), ("provisioned", xs, [100] * len(served), PROVISIONED)], "seconds", "write units per second")


def hot_key():
    """Two hot keys of one partition, in a table that has capacity to spare; then one key alone."""
    with Server() as s:
        s.table("Hot", 10, 4000)
        first = "hot"
        for _ in range(12):  # use up its partition for this second; who is throttled then shares it
            s.put("Hot", first, 100)
        second = next(k for k in (f"k{i}" for i in range(1000)) if s.put("Hot", k, 1))
        two, one, reasons = [], [], set()
        for _ in range(500):
            s.advance("1s")
            ok = 0
            for i in range(24):
                why = s.put("Hot", (first, second)[i % 2], 100)
                ok += 100 if why is None else 0
                reasons.add(why)
            two.append(ok)
        for _ in range(200):
            s.advance("1s")
            one.append(sum(100 for _ in range(24) if s.put("Hot", first, 100) is None))
    xs = range(700)
    draw("hot-key", "2,400 write units per second to two keys of one partition, then to one", [
        ("served", xs, smooth(two + one), SERVED), ("wanted", xs, [2400] * 700, WANTED), ("a partition's 1,000", xs, [1000] * 700, PROVISIONED)], "seconds", "write units per second")
    print("  reasons:", sorted(r for r in reasons if r))


def cold_index():
    """A GSI with little capacity holds back its table."""
    with Server() as s:
        s.table("Base", 10, 200, AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "g")], GlobalSecondaryIndexes=[{
            "IndexName": "cold", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}], "Projection": {"ProjectionType": "KEYS_ONLY"},
            "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2}}])
        indexed, plain = [], []
        for second in range(200):
            indexed.append(sum(1 for i in range(10) if s.put("Base", f"{second}-{i}", 1, g={"S": str(i)}) is None))
            plain.append(sum(1 for i in range(10) if s.put("Base", f"p{second}-{i}", 1) is None))
            s.advance("1s")
    xs = range(200)
    draw("cold-index", "20 writes per second to a table of 200 units, half of them to a GSI of 2", [
        ("writes with the GSI's key", xs, smooth(indexed), SERVED), ("writes without", xs, smooth(plain), WANTED)], "seconds", "writes per second")


def day():
    """A day's traffic against a table with auto scaling."""
    with Server() as s:
        s.table("Day", 20, 1000)
        s.put("Day", "large", 399)
        target = dict(ServiceNamespace="dynamodb", ResourceId="table/Day", ScalableDimension="dynamodb:table:ReadCapacityUnits")
        s.scaling.register_scalable_target(MinCapacity=20, MaxCapacity=500, **target)
        s.scaling.put_scaling_policy(PolicyName="follow", PolicyType="TargetTrackingScaling", **target, TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 70.0, "PredefinedMetricSpecification": {"PredefinedMetricType": "DynamoDBReadCapacityUtilization"}})
        now = s.advance("0s")
        start = s.advance(f"{86400 - (now.hour * 3600 + now.minute * 60 + now.second)}s")
        owed, end = 0.0, start + timedelta(hours=24)
        while (now := s.advance("10s")) < end:
            hours = (now - start).total_seconds() / 3600
            rush = 50 * math.exp(-((hours - 19) / 0.6) ** 2)  # an evening that comes fast
            owed += 10 * (60 - 40 * math.cos(2 * math.pi * hours / 24) + rush)
            while owed >= 100:
                owed -= 100
                s.read("Day", "large")
        used = s.per_minute("ConsumedReadCapacityUnits", start, end, TableName="Day")
        given = s.per_minute("ProvisionedReadCapacityUnits", start, end, "Average", TableName="Day")
        acts = s.scaling.describe_scaling_activities(ServiceNamespace="dynamodb", ResourceId="table/Day")["ScalingActivities"]
    hour = lambda t: (t - start).total_seconds() / 3600
    mean = lambda ps: [(hour(t), sum(ps.get(t + timedelta(minutes=d), 0) for d in range(-2, 3)) / 5) for t in sorted(ps)]
    xs, ys = zip(*((x, y / 60) for x, y in mean(used)))
    gx, gy = zip(*((hour(t), given[t]) for t in sorted(given)))
    draw("day", "A day with auto scaling at 70 %, read units per second", [("consumed", xs, ys, SERVED), ("provisioned", gx, gy, {**PROVISIONED, "drawstyle": "steps-post"})], "hour", "read units per second", loc="upper left")
    print(f"  {len(acts)} scaling activities; the latest: {acts[0]['Description']} {acts[0]['Cause']}")


def on_demand():
    """An on-demand table with AWS's limits: 4,000 write units at first, then twice the peak."""
    with Server("--on-demand-limits", "aws") as s:
        s.table("Growing", 0, 0)
        xs, ys, minute = [], [], 0
        while minute < 110:
            for second in range(3):  # three seconds of each minute stand for it
                ok = sum(150 for i in range(120) if s.put("Growing", f"{second}-{i}", 150) is None)
                xs.append(minute + second / 3)
                ys.append(ok)
                s.advance("1s")
            for _ in range(57):
                if minute % 35 < 2:  # a whole minute at full speed is what makes a peak
                    for i in range(120):
                        s.put("Growing", f"f-{i}", 150)
                s.advance("1s")
            minute += 1
    draw("on-demand", "What a new on-demand table serves of 18,000 write units per second", [("served", xs, ys, SERVED)], "minutes", "write units per second")


if __name__ == "__main__":
    for plot in [globals()[name] for name in sys.argv[1:]] or [burst, hot_key, cold_index, day, on_demand]:
        plot()
