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
ddb delete-table --table-name "$T" >/dev/null
aws dynamodb wait table-not-exists --table-name "$T"
echo "AWS CLI: $checks passed, 0 failed"
