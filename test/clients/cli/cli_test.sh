#!/usr/bin/env bash
# The AWS CLI against a real server: every data plane and table command. Needs STATOR_ENDPOINT, and aws in the PATH.
set -euo pipefail
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 AWS_ENDPOINT_URL=$STATOR_ENDPOINT AWS_PAGER=
T=cli-$$
checks=0
ddb() { aws dynamodb "$@" --output json; }
# expect WHAT GOT WANT
expect() {
	checks=$((checks + 1))
	[ "$2" = "$3" ] || { printf 'FAIL %s: got %s, want %s\n' "$1" "$2" "$3"; exit 1; }
}
# eventually WHAT WANT COMMAND… waits until the command prints what is wanted.
eventually() {
	local what=$1 want=$2 got
	shift 2
	for _ in $(seq 60); do
		got=$(ddb "$@")
		[ "$got" = "$want" ] && checks=$((checks + 1)) && return
		sleep 0.1
	done
	printf 'FAIL %s: got %s, want %s\n' "$what" "$got" "$want"
	exit 1
}
# refused ERROR COMMAND…
refused() {
	local want=$1 out
	shift
	if out=$(ddb "$@" 2>&1); then printf 'FAIL %s was not refused\n' "$*"; exit 1; fi
	case $out in *"($want)"*) checks=$((checks + 1)) ;; *) printf 'FAIL %s: %s\n' "$*" "$out"; exit 1 ;; esac
}

ddb create-table --table-name "$T" --billing-mode PAY_PER_REQUEST \
	--attribute-definitions AttributeName=pk,AttributeType=S AttributeName=sk,AttributeType=N AttributeName=g,AttributeType=S \
	--key-schema AttributeName=pk,KeyType=HASH AttributeName=sk,KeyType=RANGE \
	--global-secondary-indexes 'IndexName=by-g,KeySchema=[{AttributeName=g,KeyType=HASH}],Projection={ProjectionType=ALL}' >/dev/null
aws dynamodb wait table-exists --table-name "$T"
expect describe-table "$(ddb describe-table --table-name "$T" --query Table.TableStatus)" '"ACTIVE"'
expect list-tables "$(ddb list-tables --query "contains(TableNames, '$T')")" true
for i in 1 2 3; do
	ddb put-item --table-name "$T" --item "{\"pk\":{\"S\":\"a\"},\"sk\":{\"N\":\"$i\"},\"g\":{\"S\":\"x\"}}" >/dev/null
done
expect get-item "$(ddb get-item --table-name "$T" --key '{"pk":{"S":"a"},"sk":{"N":"2"}}' --query Item.g.S)" '"x"'
expect update-item "$(ddb update-item --table-name "$T" --key '{"pk":{"S":"a"},"sk":{"N":"2"}}' --update-expression 'SET hits = if_not_exists(hits, :z) + :o' \
	--expression-attribute-values '{":z":{"N":"0"},":o":{"N":"1"}}' --return-values UPDATED_NEW --query Attributes.hits.N)" '"1"'
expect query "$(ddb query --table-name "$T" --key-condition-expression 'pk = :p AND sk > :s' --expression-attribute-values '{":p":{"S":"a"},":s":{"N":"1"}}' --query Count)" 2
expect query-index "$(ddb query --table-name "$T" --index-name by-g --key-condition-expression 'g = :g' --expression-attribute-values '{":g":{"S":"x"}}' --query Count)" 3
expect scan "$(ddb scan --table-name "$T" --page-size 1 --query 'length(Items)')" 3
expect batch-write-item "$(ddb batch-write-item --request-items "{\"$T\":[{\"DeleteRequest\":{\"Key\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"N\":\"3\"}}}},{\"PutRequest\":{\"Item\":{\"pk\":{\"S\":\"b\"},\"sk\":{\"N\":\"1\"}}}}]}" --query 'length(keys(UnprocessedItems))')" 0
expect batch-get-item "$(ddb batch-get-item --request-items "{\"$T\":{\"Keys\":[{\"pk\":{\"S\":\"a\"},\"sk\":{\"N\":\"1\"}},{\"pk\":{\"S\":\"a\"},\"sk\":{\"N\":\"3\"}}]}}" --query "length(Responses.\"$T\")")" 1
ddb transact-write-items --transact-items "[{\"Put\":{\"TableName\":\"$T\",\"Item\":{\"pk\":{\"S\":\"t\"},\"sk\":{\"N\":\"1\"}}}},{\"Delete\":{\"TableName\":\"$T\",\"Key\":{\"pk\":{\"S\":\"b\"},\"sk\":{\"N\":\"1\"}}}}]" >/dev/null
expect transact-get-items "$(ddb transact-get-items --transact-items "[{\"Get\":{\"TableName\":\"$T\",\"Key\":{\"pk\":{\"S\":\"t\"},\"sk\":{\"N\":\"1\"}}}}]" --query 'Responses[0].Item.pk.S')" '"t"'
expect delete-item "$(ddb delete-item --table-name "$T" --key '{"pk":{"S":"t"},"sk":{"N":"1"}}' --return-values ALL_OLD --query Attributes.pk.S)" '"t"'
refused ConditionalCheckFailedException put-item --table-name "$T" --item '{"pk":{"S":"a"},"sk":{"N":"1"}}' --condition-expression 'attribute_not_exists(pk)'
refused ResourceNotFoundException describe-table --table-name no-such-table
refused ValidationException get-item --table-name "$T" --key '{"pk":{"S":"a"}}'
refused TransactionCanceledException transact-write-items --transact-items "[{\"ConditionCheck\":{\"TableName\":\"$T\",\"Key\":{\"pk\":{\"S\":\"zz\"},\"sk\":{\"N\":\"1\"}},\"ConditionExpression\":\"attribute_exists(pk)\"}}]"
ddb update-table --table-name "$T" --billing-mode PROVISIONED --provisioned-throughput ReadCapacityUnits=5,WriteCapacityUnits=5 \
	--global-secondary-index-updates '[{"Update":{"IndexName":"by-g","ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":5}}}]' >/dev/null
expect update-table "$(ddb describe-table --table-name "$T" --query Table.ProvisionedThroughput.ReadCapacityUnits)" 5
ARN=$(aws dynamodb describe-table --table-name "$T" --query Table.TableArn --output text)
ddb tag-resource --resource-arn "$ARN" --tags Key=team,Value=core
expect list-tags-of-resource "$(ddb list-tags-of-resource --resource-arn "$ARN" --query 'Tags[0].Value')" '"core"'
ddb untag-resource --resource-arn "$ARN" --tag-keys team
expect describe-limits "$(ddb describe-limits --query 'TableMaxReadCapacityUnits > `0`')" true
expect describe-endpoints "$(ddb describe-endpoints --query 'length(Endpoints)')" 1
# An index of a live table, as in any guide.
ddb update-table --table-name "$T" --attribute-definitions AttributeName=kind,AttributeType=S \
	--global-secondary-index-updates '[{"Create":{"IndexName":"by-kind","KeySchema":[{"AttributeName":"kind","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"},"ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1}}}]' >/dev/null
eventually index-active '"ACTIVE"' describe-table --table-name "$T" --query "Table.GlobalSecondaryIndexes[?IndexName=='by-kind'].IndexStatus | [0]"
ddb update-table --table-name "$T" --global-secondary-index-updates '[{"Delete":{"IndexName":"by-kind"}}]' >/dev/null
eventually index-gone 1 describe-table --table-name "$T" --query 'length(Table.GlobalSecondaryIndexes)'
# TTL
ddb update-time-to-live --table-name "$T" --time-to-live-specification Enabled=true,AttributeName=expires >/dev/null
eventually ttl-enabled '"ENABLED"' describe-time-to-live --table-name "$T" --query TimeToLiveDescription.TimeToLiveStatus
ddb put-item --table-name "$T" --item "{\"pk\":{\"S\":\"old\"},\"sk\":{\"N\":\"1\"},\"expires\":{\"N\":\"$(($(date +%s) - 5))\"}}" >/dev/null
eventually expired 0 query --table-name "$T" --key-condition-expression 'pk = :p' --expression-attribute-values '{":p":{"S":"old"}}' --query Count
# Streams
STREAM=$(aws dynamodb update-table --table-name "$T" --stream-specification StreamEnabled=true,StreamViewType=NEW_IMAGE --query TableDescription.LatestStreamArn --output text)
ddb put-item --table-name "$T" --item '{"pk":{"S":"streamed"},"sk":{"N":"1"}}' >/dev/null
expect list-streams "$(aws dynamodbstreams list-streams --table-name "$T" --query 'length(Streams)')" 1
SHARD=$(aws dynamodbstreams describe-stream --stream-arn "$STREAM" --query 'StreamDescription.Shards[0].ShardId' --output text)
IT=$(aws dynamodbstreams get-shard-iterator --stream-arn "$STREAM" --shard-id "$SHARD" --shard-iterator-type TRIM_HORIZON --query ShardIterator --output text)
expect get-records "$(aws dynamodbstreams get-records --shard-iterator "$IT" --query 'Records[].dynamodb.NewImage.pk.S' --output text)" streamed
# PartiQL
ddb execute-statement --statement "INSERT INTO \"$T\" VALUE {'pk': 'ql', 'sk': 1, 'v': 2}" >/dev/null
expect execute-statement "$(ddb execute-statement --statement "SELECT v FROM \"$T\" WHERE pk = ? AND sk = 1" --parameters '[{"S":"ql"}]' --query 'Items[0].v.N')" '"2"'
expect batch-execute-statement "$(ddb batch-execute-statement --statements "[{\"Statement\":\"SELECT * FROM \\\"$T\\\" WHERE pk = 'ql' AND sk = 1\"}]" --query 'Responses[0].Item.v.N')" '"2"'
ddb execute-transaction --transact-statements "[{\"Statement\":\"UPDATE \\\"$T\\\" SET v = 3 WHERE pk = 'ql' AND sk = 1\"}]" >/dev/null
refused DuplicateItemException execute-statement --statement "INSERT INTO \"$T\" VALUE {'pk': 'ql', 'sk': 1}"
# Policies
ddb put-resource-policy --resource-arn "$ARN" --policy "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::000000000000:root\"},\"Action\":\"dynamodb:GetItem\",\"Resource\":\"$ARN\"}]}" >/dev/null
expect get-resource-policy "$(ddb get-resource-policy --resource-arn "$ARN" --query 'length(RevisionId) > `0`')" true
ddb delete-resource-policy --resource-arn "$ARN" >/dev/null
refused PolicyNotFoundException get-resource-policy --resource-arn "$ARN"
expect describe-continuous-backups "$(ddb describe-continuous-backups --table-name "$T" --query ContinuousBackupsDescription.ContinuousBackupsStatus)" '"ENABLED"'
# Capacity: the guide's statistics, alarms, auto scaling
P=$T-provisioned
ddb create-table --table-name "$P" --attribute-definitions AttributeName=pk,AttributeType=S --key-schema AttributeName=pk,KeyType=HASH --provisioned-throughput ReadCapacityUnits=5,WriteCapacityUnits=5 >/dev/null
aws dynamodb wait table-exists --table-name "$P"
for i in 1 2 3; do ddb get-item --table-name "$P" --key '{"pk":{"S":"a"}}' --consistent-read >/dev/null; done
for _ in $(seq 30); do # of several servers, each tells what it has measured every few seconds
	CONSUMED=$(aws cloudwatch get-metric-statistics --namespace AWS/DynamoDB --metric-name ConsumedReadCapacityUnits \
		--dimensions Name=TableName,Value="$P" --start-time "$(date -u -d '10 minutes ago' +%FT%TZ)" --end-time "$(date -u -d '2 minutes' +%FT%TZ)" \
		--period 60 --statistics Sum --query 'sum(Datapoints[].Sum)')
	[ "$CONSUMED" = 3.0 ] && break
	sleep 0.3
done
expect get-metric-statistics "$CONSUMED" 3.0
expect list-metrics "$(aws cloudwatch list-metrics --namespace AWS/DynamoDB --metric-name ConsumedReadCapacityUnits --dimensions Name=TableName,Value="$P" --query 'length(Metrics)')" 1
aws cloudwatch put-metric-alarm --alarm-name "$P" --namespace AWS/DynamoDB --metric-name ReadThrottleEvents --dimensions Name=TableName,Value="$P" --statistic Sum --period 60 --evaluation-periods 1 --threshold 0 --comparison-operator GreaterThanThreshold --treat-missing-data notBreaching
aws cloudwatch wait alarm-exists --alarm-names "$P"
expect describe-alarms "$(aws cloudwatch describe-alarms --alarm-names "$P" --query 'MetricAlarms[0].Threshold')" 0.0
SCALED="--service-namespace dynamodb --resource-id table/$P --scalable-dimension dynamodb:table:WriteCapacityUnits"
aws application-autoscaling register-scalable-target $SCALED --min-capacity 10 --max-capacity 100 >/dev/null
expect put-scaling-policy "$(aws application-autoscaling put-scaling-policy $SCALED --policy-name writes --policy-type TargetTrackingScaling \
	--target-tracking-scaling-policy-configuration '{"PredefinedMetricSpecification":{"PredefinedMetricType":"DynamoDBWriteCapacityUtilization"},"TargetValue":70.0}' --query 'length(Alarms)')" 4
expect describe-scaling-activities "$(aws application-autoscaling describe-scaling-activities --service-namespace dynamodb --resource-id "table/$P" --query 'ScalingActivities[0].Cause')" '"minimum capacity was set to 10"'
expect scaled "$(ddb describe-table --table-name "$P" --query Table.ProvisionedThroughput.WriteCapacityUnits)" 10
aws application-autoscaling deregister-scalable-target $SCALED
ddb update-contributor-insights --table-name "$P" --contributor-insights-action ENABLE >/dev/null
expect describe-contributor-insights "$(ddb describe-contributor-insights --table-name "$P" --query ContributorInsightsStatus)" '"ENABLED"'
aws cloudwatch delete-alarms --alarm-names "$P"
ddb delete-table --table-name "$P" >/dev/null
# Backups, point-in-time recovery, export, import (this CLI does not know bulk puts yet), and stator's own backup, restore and import
B=$T-backed
ddb create-table --table-name "$B" --attribute-definitions AttributeName=pk,AttributeType=S --key-schema AttributeName=pk,KeyType=HASH --billing-mode PAY_PER_REQUEST >/dev/null
ddb put-item --table-name "$B" --item '{"pk":{"S":"a"},"v":{"N":"1"}}' >/dev/null
BACKUP=$(aws dynamodb create-backup --table-name "$B" --backup-name "$B" --query BackupDetails.BackupArn --output text)
eventually create-backup '"AVAILABLE"' describe-backup --backup-arn "$BACKUP" --query BackupDescription.BackupDetails.BackupStatus
expect list-backups "$(ddb list-backups --table-name "$B" --query 'BackupSummaries[0].BackupName')" "\"$B\""
ddb restore-table-from-backup --target-table-name "$B-copy" --backup-arn "$BACKUP" >/dev/null
eventually restore-table-from-backup '"ACTIVE"' describe-table --table-name "$B-copy" --query Table.TableStatus
expect restored "$(ddb get-item --table-name "$B-copy" --key '{"pk":{"S":"a"}}' --query Item.v.N)" '"1"'
refused TableAlreadyExistsException restore-table-from-backup --target-table-name "$B-copy" --backup-arn "$BACKUP"
expect delete-backup "$(ddb delete-backup --backup-arn "$BACKUP" --query BackupDescription.BackupDetails.BackupStatus)" '"DELETED"'
refused BackupNotFoundException describe-backup --backup-arn "$BACKUP"
refused PointInTimeRecoveryUnavailableException restore-table-to-point-in-time --source-table-name "$B" --target-table-name "$B-past" --use-latest-restorable-time
expect update-continuous-backups "$(ddb update-continuous-backups --table-name "$B" --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true,RecoveryPeriodInDays=3 --query ContinuousBackupsDescription.PointInTimeRecoveryDescription.RecoveryPeriodInDays)" 3
ddb put-item --table-name "$B" --item '{"pk":{"S":"b"}}' >/dev/null
ddb restore-table-to-point-in-time --source-table-name "$B" --target-table-name "$B-past" --use-latest-restorable-time >/dev/null
eventually restore-table-to-point-in-time '"ACTIVE"' describe-table --table-name "$B-past" --query Table.TableStatus
expect restored-to-point "$(ddb scan --table-name "$B-past" --query Count)" 2
BARN=$(aws dynamodb describe-table --table-name "$B" --query Table.TableArn --output text)
EXPORT=$(aws dynamodb export-table-to-point-in-time --table-arn "$BARN" --s3-bucket cli --s3-prefix "$B" --query ExportDescription.ExportArn --output text)
eventually export-table-to-point-in-time '"COMPLETED"' describe-export --export-arn "$EXPORT" --query ExportDescription.ExportStatus
expect list-exports "$(ddb list-exports --table-arn "$BARN" --query 'ExportSummaries[0].ExportStatus')" '"COMPLETED"'
expect exported "$(gzip -dc "$STATOR_BUCKETS/cli/$B"/AWSDynamoDB/*/data/*.json.gz | grep -c '^{"Item":{"pk"')" 2
IMPORT=$(aws dynamodb import-table --s3-bucket-source "S3Bucket=cli,S3KeyPrefix=$B/AWSDynamoDB/${EXPORT##*/}/data/" --input-format DYNAMODB_JSON --input-compression-type GZIP \
	--table-creation-parameters "TableName=$B-imported,BillingMode=PAY_PER_REQUEST,AttributeDefinitions=[{AttributeName=pk,AttributeType=S}],KeySchema=[{AttributeName=pk,KeyType=HASH}]" \
	--query ImportTableDescription.ImportArn --output text)
eventually import-table '"COMPLETED"' describe-import --import-arn "$IMPORT" --query ImportTableDescription.ImportStatus
expect imported "$(ddb scan --table-name "$B-imported" --query Count)" 2
expect list-imports "$(ddb list-imports --query "length(ImportSummaryList[?ImportArn=='$IMPORT'])")" 1
bin/stator import "$STATOR_BUCKETS/cli/$B" --table "$B-again" --key pk:S >/dev/null
expect stator-import "$(ddb scan --table-name "$B-again" --query Count)" 2
W=$(dirname "$(dirname "$STATOR_BUCKETS")")
if [ -n "${STATOR_TEST_SHARED:-}" ]; then
	bin/stator copy --from "$STATOR_TEST_SHARED" --to "$W/restored" >/dev/null
else
	bin/stator backup "$W/backups" --data-dir "$(dirname "$STATOR_BUCKETS")" >/dev/null
	bin/stator restore "$W/backups" --data-dir "$W/restored" >/dev/null
fi
bin/stator verify --data-dir "$W/restored" >/dev/null
checks=$((checks + 1))
for t in "$B" "$B-copy" "$B-past" "$B-imported" "$B-again"; do ddb delete-table --table-name "$t" >/dev/null; done
# DynamoDB Accelerator's control plane.
C=cli-$$
dax() { aws dax "$@" --output json; }
dax create-parameter-group --parameter-group-name "$C-p" >/dev/null
dax update-parameter-group --parameter-group-name "$C-p" --parameter-name-values ParameterName=record-ttl-millis,ParameterValue=60000 >/dev/null
expect dax-parameters "$(dax describe-parameters --parameter-group-name "$C-p" --query "Parameters[?ParameterName=='record-ttl-millis'].ParameterValue | [0]")" '"60000"'
expect dax-create-cluster "$(dax create-cluster --cluster-name "$C" --node-type dax.t3.small --replication-factor 1 --iam-role-arn arn:aws:iam::123456789012:role/DAX \
	--parameter-group-name "$C-p" --query Cluster.Status)" '"creating"'
expect dax-describe-clusters "$(dax describe-clusters --cluster-names "$C" --query 'Clusters[0].[Status,ActiveNodes] | join(`,`,[[0],to_string([1])])')" '"available,1"'
case $(dax describe-clusters --cluster-names "$C" --query 'Clusters[0].ClusterDiscoveryEndpoint.URL') in '"dax://127.0.0.1:'*) checks=$((checks + 1)) ;; *) echo "FAIL: no discovery endpoint"; exit 1 ;; esac
expect dax-increase "$(dax increase-replication-factor --cluster-name "$C" --new-replication-factor 3 --query Cluster.TotalNodes)" 3
expect dax-events "$(dax describe-events --source-name "$C" --source-type CLUSTER --query 'length(Events)')" 4
dax create-subnet-group --subnet-group-name "$C-s" --subnet-ids subnet-1 subnet-2 >/dev/null
expect dax-subnet-groups "$(dax describe-subnet-groups --subnet-group-names "$C-s" --query 'length(SubnetGroups[0].Subnets)')" 2
dax delete-subnet-group --subnet-group-name "$C-s" >/dev/null
dax delete-cluster --cluster-name "$C" >/dev/null
dax delete-parameter-group --parameter-group-name "$C-p" >/dev/null
ddb delete-table --table-name "$T" >/dev/null
aws dynamodb wait table-not-exists --table-name "$T"
# IAM and STS, on the server with credentials. as NAME COMMAND… runs a command of the AWS CLI with the key of a profile.
HOME=$(mktemp -d) # the CLI writes profiles and roles' sessions there
export HOME AWS_ENDPOINT_URL=$STATOR_AUTH_ENDPOINT
trap 'rm -rf "$HOME"' EXIT
as() { local name=$1 && shift && env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY aws --output json --profile "$name" "$@"; }
profile() { aws configure set aws_access_key_id "$2" --profile "$1" && aws configure set aws_secret_access_key "$3" --profile "$1"; }
profile root AKIDKNOWN known-secret
profile other AKIDOTHER other-secret
U=cli-$$
as root dynamodb create-table --table-name "$U" --billing-mode PAY_PER_REQUEST --attribute-definitions AttributeName=pk,AttributeType=S --key-schema AttributeName=pk,KeyType=HASH >/dev/null
UARN=arn:aws:dynamodb:us-east-1:123456789012:table/$U
allow() { printf '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"%s","Resource":"%s"%s}]}' "$@"; }
OWN=',"Condition":{"ForAllValues:StringEquals":{"dynamodb:LeadingKeys":["${aws:username}"]}}'
as root iam create-user --user-name "$U" --tags Key=team,Value=a >/dev/null
as root iam wait user-exists --user-name "$U"
read -r ID SECRET <<<"$(as root iam create-access-key --user-name "$U" --query 'AccessKey.[AccessKeyId,SecretAccessKey]' --output text)"
profile user "$ID" "$SECRET"
expect get-caller-identity "$(as user sts get-caller-identity --query Arn)" "\"arn:aws:iam::123456789012:user/$U\""
denied() { # denied ACTION PROFILE COMMAND…
	local action=$1 out
	shift
	if out=$(as "$@" 2>&1); then printf 'FAIL %s was not refused\n' "$*"; exit 1; fi
	case $out in *AccessDenied*"is not authorized to perform: $action on resource: "*) checks=$((checks + 1)) ;; *) printf 'FAIL %s: %s\n' "$*" "$out"; exit 1 ;; esac
}
MINE=(dynamodb get-item --table-name "$U" --key "{\"pk\":{\"S\":\"$U\"}}")
denied dynamodb:GetItem user "${MINE[@]}"
as root iam create-group --group-name "$U" >/dev/null
POLICY=$(as root iam create-policy --policy-name "$U" --policy-document "$(allow 'dynamodb:*Item' "$UARN" "$OWN")" --query Policy.Arn --output text)
as root iam attach-group-policy --group-name "$U" --policy-arn "$POLICY"
as root iam add-user-to-group --group-name "$U" --user-name "$U"
as user dynamodb put-item --table-name "$U" --item "{\"pk\":{\"S\":\"$U\"},\"v\":{\"N\":\"1\"}}" >/dev/null
expect own-item "$(as user "${MINE[@]}" --query Item.v.N)" '"1"'
denied dynamodb:GetItem user dynamodb get-item --table-name "$U" --key '{"pk":{"S":"another"}}'
denied iam:ListUsers user iam list-users
expect simulate "$(as root iam simulate-principal-policy --policy-source-arn "arn:aws:iam::123456789012:user/$U" --action-names dynamodb:Scan --resource-arns "$UARN" --query 'EvaluationResults[0].EvalDecision')" '"implicitDeny"'
ROLE=$(as root iam create-role --role-name "$U" --query Role.Arn --assume-role-policy-document \
	"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::123456789012:user/$U\"},\"Action\":\"sts:AssumeRole\"}]}" --output text)
as root iam put-role-policy --role-name "$U" --policy-name scan --policy-document "$(allow dynamodb:Scan "$UARN" '')"
aws configure set role_arn "$ROLE" --profile role && aws configure set role_session_name work --profile role && aws configure set source_profile user --profile role
expect assumed-role "$(as role sts get-caller-identity --query Arn)" "\"arn:aws:sts::123456789012:assumed-role/$U/work\""
expect scan-as-role "$(as role dynamodb scan --table-name "$U" --query Count)" 1
denied dynamodb:PutItem role dynamodb put-item --table-name "$U" --item '{"pk":{"S":"x"}}'
denied dynamodb:Scan other dynamodb scan --table-name "$UARN"
as root dynamodb put-resource-policy --resource-arn "$UARN" --policy \
	"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"210987654321\"},\"Action\":\"dynamodb:Scan\",\"Resource\":\"$UARN\"}]}" >/dev/null
expect scan-from-another-account "$(as other dynamodb scan --table-name "$UARN" --query Count)" 1
expect authorization-details "$(as root iam get-account-authorization-details --filter User --query "UserDetailList[?UserName=='$U'].GroupList[0] | [0]")" "\"$U\""
as root iam delete-access-key --user-name "$U" --access-key-id "$ID"
if OUT=$(as user "${MINE[@]}" 2>&1); then echo "FAIL: a deleted key works"; exit 1; fi
case $OUT in *UnrecognizedClientException*) checks=$((checks + 1)) ;; *) echo "FAIL deleted key: $OUT"; exit 1 ;; esac
as root dynamodb delete-table --table-name "$U" >/dev/null
echo "AWS CLI: $checks passed, 0 failed"
