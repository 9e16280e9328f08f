package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/smithy/smithytest"
	"github.com/statordb/stator/test/request"
)

// grant is an action on a resource.
type grant struct{ action, resource string }

// door is a request to an operation, and what policies must allow for it. in nil means the first attempt of TestStrangers.
type door struct {
	in     any
	grants []grant
}

// openDoors are the operations that ask no policy.
var openDoors = map[string]bool{
	tokens + "GetCallerIdentity": true, tokens + "GetSessionToken": true, tokens + "AssumeRoleWithWebIdentity": true,
}

// grants returns the grants of actions on one resource.
func grants(resource string, actions ...string) (list []grant) {
	for _, a := range actions {
		list = append(list, grant{a, resource})
	}
	return list
}

// doors returns what operations ask, beyond their own action on doorResource.
func (o *owned) doors() map[string]door {
	const dynamodb, alarms = "dynamodb:", "arn:aws:cloudwatch:us-east-1:" + accountA + ":alarm:"
	newTable := obj{"TableName": "new", "AttributeDefinitions": []obj{attr("pk", "S")}, "KeySchema": keys("pk"), "BillingMode": "PAY_PER_REQUEST"}
	sibling := func(name string) string { return strings.Replace(o.table, "shared", name, 1) }
	restore := []string{"BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan", "UpdateItem"}
	for i, action := range restore {
		restore[i] = dynamodb + action
	}
	tags := []obj{{"Key": "k", "Value": "v"}}
	policy := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + accountA + `"},"Action":"dynamodb:GetItem","Resource":"*"}}`
	return map[string]door{
		dynamo + "BatchExecuteStatement": {
			obj{"Statements": []obj{{"Statement": `SELECT * FROM shared WHERE pk='k'`}}}, grants(o.table, "dynamodb:PartiQLSelect"),
		},
		dynamo + "CreateTable": {with(newTable, obj{"Tags": tags, "ResourcePolicy": policy}),
			grants(sibling("new"), "dynamodb:CreateTable", "dynamodb:TagResource", "dynamodb:PutResourcePolicy")},
		dynamo + "DescribeExport":        {nil, grants(o.export, "dynamodb:DescribeExport")},
		dynamo + "DescribeImport":        {nil, grants(o.imported, "dynamodb:DescribeImport")},
		dynamo + "DescribeBackup":        {nil, grants(o.backup, "dynamodb:DescribeBackup")},
		dynamo + "DeleteBackup":          {nil, grants(o.backup, "dynamodb:DeleteBackup")},
		dynamo + "DescribeBulkOperation": {nil, grants(o.bulk, "dynamodb:DescribeBulkOperation")},
		dynamo + "CancelBulkOperation":   {nil, grants(o.bulk, "dynamodb:CancelBulkOperation")},
		dynamo + "ExecuteStatement":      {nil, grants(o.table, "dynamodb:PartiQLSelect")},
		dynamo + "ExecuteTransaction":    {nil, grants(o.table, "dynamodb:PartiQLSelect")},
		dynamo + "ImportTable": {obj{"S3BucketSource": obj{"S3Bucket": "bucket"}, "InputFormat": "DYNAMODB_JSON", "TableCreationParameters": newTable},
			grants(sibling("new")+"/import/*", "dynamodb:ImportTable")},
		dynamo + "ListExports": {nil, grants("*", "dynamodb:ListExports")},
		dynamo + "ListImports": {nil, grants("*", "dynamodb:ListImports")},
		dynamo + "Query": {obj{"TableName": "shared", "IndexName": "by-g", "KeyConditionExpression": "g=:k", "ExpressionAttributeValues": obj{":k": s("g")}},
			grants(o.table+"/index/by-g", "dynamodb:Query")},
		dynamo + "RestoreTableFromBackup": {nil, append(grants(o.backup, "dynamodb:RestoreTableFromBackup"),
			grants(sibling("stolen"), append(restore, "dynamodb:RestoreTableFromBackup")...)...)},
		dynamo + "RestoreTableToPointInTime": {nil, append(grants(o.table, "dynamodb:RestoreTableToPointInTime"),
			grants(sibling("stolen"), append(restore, "dynamodb:RestoreTableToPointInTime")...)...)},
		dynamo + "TransactGetItems": {nil, grants(o.table, "dynamodb:GetItem")},
		dynamo + "TransactWriteItems": {obj{"TransactItems": []obj{
			{"Put": obj{"TableName": "shared", "Item": obj{"pk": s("1")}}}, {"Delete": obj{"TableName": "shared", "Key": obj{"pk": s("2")}}},
			{"Update": obj{"TableName": "shared", "Key": obj{"pk": s("3")}, "UpdateExpression": "REMOVE v"}},
			{"ConditionCheck": obj{"TableName": "shared", "Key": obj{"pk": s("4")}, "ConditionExpression": "attribute_not_exists(pk)"}},
		}}, grants(o.table, "dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:UpdateItem", "dynamodb:ConditionCheckItem")},
		streams + "DescribeStream":          {nil, grants(o.stream, "dynamodb:DescribeStream")},
		streams + "GetRecords":              {nil, grants(o.stream, "dynamodb:GetRecords")},
		streams + "GetShardIterator":        {nil, grants(o.stream, "dynamodb:GetShardIterator")},
		private + "CreateCheckpoint":        {nil, grants("*", "stator:CreateCheckpoint")},
		cloudWatch + "DeleteAlarms":         {obj{"AlarmNames": []string{"a", "b"}}, []grant{{"cloudwatch:DeleteAlarms", alarms + "a"}, {"cloudwatch:DeleteAlarms", alarms + "b"}}},
		cloudWatch + "DescribeAlarms":       {nil, grants(alarms+"*", "cloudwatch:DescribeAlarms")},
		cloudWatch + "SetAlarmState":        {nil, grants(o.alarm, "cloudwatch:SetAlarmState")},
		cloudWatch + "TagResource":          {nil, grants(o.alarm, "cloudwatch:TagResource")},
		cloudWatch + "UntagResource":        {nil, grants(o.alarm, "cloudwatch:UntagResource")},
		cloudWatch + "PutMetricAlarm":       {obj{"AlarmName": "x", "Tags": tags}, grants(alarms+"x", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource")},
		cloudWatch + "EnableAlarmActions":   {nil, grants(o.alarm, "cloudwatch:EnableAlarmActions")},
		cloudWatch + "DisableAlarmActions":  {nil, grants(o.alarm, "cloudwatch:DisableAlarmActions")},
		cloudWatch + "DescribeAlarmHistory": {nil, grants(alarms+"*", "cloudwatch:DescribeAlarmHistory")},
		cloudWatch + "ListTagsForResource":  {nil, grants(o.alarm, "cloudwatch:ListTagsForResource")},
		cloudWatch + "GetInsightRuleReport": {nil,
			grants("arn:aws:cloudwatch:us-east-1:"+accountA+":insight-rule/DynamoDBContributorInsights-PKC-shared-1", "cloudwatch:GetInsightRuleReport")},
		scaling + "RegisterScalableTarget": {with(scalable, obj{"ResourceId": "table/other", "MinCapacity": 1, "MaxCapacity": 1, "Tags": obj{"k": "v"}}),
			grants("arn:aws:application-autoscaling:us-east-1:"+accountA+":scalable-target/*", "application-autoscaling:RegisterScalableTarget", "application-autoscaling:TagResource")},
		acceleration + "CreateCluster": {obj{"ClusterName": "more", "NodeType": "dax.t3.small", "ReplicationFactor": 1, "IamRoleArn": "arn:aws:iam::" + accountA + ":role/r", "Tags": tags},
			[]grant{{"dax:CreateCluster", strings.Replace(o.cluster, "cluster", "more", 1)}, {"dax:TagResource", strings.Replace(o.cluster, "cluster", "more", 1)},
				{"iam:PassRole", "arn:aws:iam::" + accountA + ":role/r"}}},
		identity + "AddRoleToInstanceProfile": {nil, []grant{{"iam:AddRoleToInstanceProfile", "*"}, {"iam:PassRole", iamRole}}},
		acceleration + "DescribeClusters":     {nil, grants(strings.Replace(o.cluster, "/cluster", "/*", 1), "dax:DescribeClusters")},
	}
}

// doorResource returns the resource of an operation that doors does not list.
func (o *owned) doorResource(target string) string {
	api, operation, _ := strings.Cut(target, ".")
	unbound := []string{"DescribeEndpoints", "DescribeLimits", "ListBackups", "ListBulkOperations", "ListContributorInsights", "ListStreams", "ListTables"}
	switch {
	case api+"." == scaling && !strings.HasPrefix(operation, "Describe"):
		return o.target
	case api+"." == acceleration && !strings.Contains(operation, "Group") && !strings.HasPrefix(operation, "Describe"):
		return o.cluster
	case (api+"." == dynamo || api+"." == private) && !slices.Contains(unbound, operation):
		return o.table
	}
	return "*"
}

// doorPrefixes are the prefixes of actions, by API.
var doorPrefixes = map[string]string{
	dynamo: "dynamodb:", streams: "dynamodb:", private: "dynamodb:", cloudWatch: "cloudwatch:", scaling: "application-autoscaling:", acceleration: "dax:", identity: "iam:", tokens: "sts:",
}

// userWith returns a user of account A with one policy.
func userWith(t testing.TB, list ...grant) *policy.Identity {
	t.Helper()
	return identityWith(t, "arn:aws:iam::"+accountA+":user/ann", list...)
}

// identityWith returns an identity of account A whose policy has a statement for each grant.
func identityWith(t testing.TB, arn string, list ...grant) *policy.Identity {
	t.Helper()
	var statements []obj
	for _, g := range list {
		statements = append(statements, obj{"Effect": "Allow", "Action": g.action, "Resource": g.resource})
	}
	id := &policy.Identity{Principal: policy.Principal{Account: accountA, ARN: arn}, Type: "User", UserID: "AIDAANN", UserName: "ann"}
	if len(list) == 0 {
		return id
	}
	text, err := json.Marshal(obj{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	document, err := policy.Parse(string(text), policy.OfIdentity)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	id.Policies.Identity = []*policy.Document{document}
	return id
}

// refusedAccess reports whether an operation has refused a request, or each statement of a batch, for lack of a permission.
func refusedAccess(err error, out obj) bool {
	var known *awserr.Error
	if errors.As(err, &known) {
		return known.Code == awserr.AccessDenied
	}
	responses := list(out["Responses"])
	for _, r := range responses {
		if e, ok := r["Error"].(obj); !ok || e["Code"] != "AccessDenied" {
			return false
		}
	}
	return len(responses) > 0
}

// TestDoors calls every operation of every service as a user: without policies, with exactly those that the operation needs, and with all of
// them but one.
func TestDoors(t *testing.T) {
	buckets := t.TempDir()
	a, _ := strangers(t, Options{DataDir: t.TempDir(), S3Dir: buckets, DAX: DAXOptions{Listen: "127.0.0.1:0"}, SecretsKey: testSecrets})
	o := owner(a, buckets)
	a.must("DeleteResourcePolicy", obj{"ResourceArn": o.table})
	doors, attempts := o.doors(), o.attempts()
	// Operations that delete what others need come last.
	handlers := slices.Clone(a.server.handlers)
	slices.SortStableFunc(handlers, func(a, b smithy.Handler) int {
		removes := func(h smithy.Handler) int {
			return strings.Count(h.Target, ".Delete") + strings.Count(h.Target, ".Deregister")
		}
		return removes(a) - removes(b)
	})
	for _, h := range handlers {
		api, operation, _ := strings.Cut(h.Target, ".")
		d := doors[h.Target]
		delete(doors, h.Target)
		if d.in == nil {
			if len(attempts[h.Target]) == 0 {
				t.Errorf("%s has no case in this test", h.Target)
				continue
			}
			d.in = attempts[h.Target][0].in
		}
		if d.grants == nil {
			d.grants = grants(o.doorResource(h.Target), doorPrefixes[api+"."]+operation)
		}
		call := func(list ...grant) (refused bool, answer string) {
			caller := smithy.Caller{Account: accountA, Region: "us-east-1", Verified: true, Operator: true, Identity: userWith(t, list...)}
			var out obj
			err := smithytest.Do(context.Background(), []smithy.Handler{h}, caller, operation, d.in, &out)
			return refusedAccess(err, out), fmt.Sprint(err, out)
		}
		if openDoors[h.Target] {
			if refused, answer := call(); refused {
				t.Errorf("%s asks for permission: %s", h.Target, answer)
			}
			continue
		}
		if refused, answer := call(); !refused {
			t.Errorf("%s without a policy: %s", h.Target, answer)
		}
		for i := range d.grants {
			some := slices.Delete(slices.Clone(d.grants), i, i+1)
			if refused, answer := call(some...); !refused {
				t.Errorf("%s without %v: %s", h.Target, d.grants[i], answer)
			}
		}
		if refused, answer := call(d.grants...); refused {
			t.Errorf("%s with %v: %s", h.Target, d.grants, answer)
		}
	}
	for target := range doors {
		t.Errorf("the server has no %s", target)
	}
}

// TestUsersAsOperators reads /metrics as a user: its account must have an operator's key, and its policies must allow the action.
func TestUsersAsOperators(t *testing.T) {
	iam := &issuer{}
	a, _ := strangers(t, Options{issuer: iam})
	for _, c := range []struct {
		name, account string
		grants        []grant
		want          int
	}{
		{"a user of an account without an operator's key", accountA, grants("*", "*"), 403},
		{"a user without the action", accountB, grants("*", "dynamodb:*", "stator:CreateCheckpoint"), 403},
		{"a user with the action", accountB, grants("*", "stator:GetMetrics"), 200},
		{"a user with the action on something else", accountB, grants("arn:aws:dynamodb:*:*:table/*", "stator:GetMetrics"), 403},
	} {
		user := userWith(t, c.grants...)
		user.Account = c.account
		iam.set(user, nil)
		req, err := http.NewRequest("GET", a.server.URL()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := request.Sign(req, nil, userKey, userSecret, "dynamodb"); err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != c.want {
			t.Errorf("%s: %d: %.200s, %v", c.name, res.StatusCode, body, err)
		}
		res.Body.Close()
	}
}
