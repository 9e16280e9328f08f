package server

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/wire"
)

// userKey and userSecret are the access key of the user whom issuer knows.
const userKey, userSecret = "AKIAISSUED", "issued"

// issuer is an auth.Issuer of a single access key, and the IAM of a single role. Both can change at any time.
type issuer struct {
	mu         sync.Mutex
	user, role *policy.Identity // nil for none
}

func (i *issuer) set(user, role *policy.Identity) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.user, i.role = user, role
}

func (i *issuer) Credential(accessKey, _ string) (string, *policy.Identity, *awserr.Error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if accessKey != userKey || i.user == nil {
		return "", nil, awserr.New(awserr.UnrecognizedClient, "The security token included in the request is invalid.")
	}
	return userSecret, i.user, nil
}

func (*issuer) Used(string, string, string) {}

func (*issuer) Issued(accessKey string) bool { return accessKey == userKey }

func (i *issuer) roleOf(arn string) *policy.Identity {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.role == nil || i.role.Role != arn {
		return nil
	}
	return i.role
}

const (
	frontARN  = "arn:aws:dax:us-east-1:" + accountA + ":cache/front"
	frontRole = "arn:aws:iam::" + accountA + ":role/front"
	frontUser = "arn:aws:iam::" + accountA + ":user/ann"
	frontSelf = "arn:aws:sts::" + accountA + ":assumed-role/front/dax" // the session as which the nodes use the role
	hashARN   = "arn:aws:dynamodb:us-east-1:" + accountA + ":table/" + daxTable
)

// openFront opens a server with a table that has a GSI by x, and, if cluster is set, with a DAX cluster.
func openFront(t *testing.T, cluster bool) (a account, iam *issuer) {
	t.Helper()
	iam = &issuer{user: userWith(t)}
	a, _ = strangers(t, Options{DAX: DAXOptions{Listen: "127.0.0.1:0"}, issuer: iam, role: iam.roleOf})
	a.must("CreateTable", obj{
		"TableName": daxTable, "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("pk", "S"), attr("x", "S")}, "KeySchema": keys("pk"),
		"GlobalSecondaryIndexes": []obj{{"IndexName": "by-x", "KeySchema": keys("x"), "Projection": obj{"ProjectionType": "ALL"}}},
	})
	if cluster {
		a.must(acceleration+"CreateCluster", obj{"ClusterName": "front", "NodeType": "dax.t3.small", "ReplicationFactor": 1, "IamRoleArn": frontRole})
	}
	return a, iam
}

// dialFront opens a connection with an access key.
func dialFront(t *testing.T, a account, key, secret string) *daxConn {
	t.Helper()
	c := dialDAX(t, a.server.DAXURLs()[0], 0)
	c.write(daxAuthorization(key, secret, "dax.amazonaws.com", time.Now()))
	return c
}

// role returns the cluster's role with grants.
func role(t *testing.T, list ...grant) *policy.Identity {
	t.Helper()
	id := identityWith(t, frontSelf, list...)
	id.Type, id.UserName, id.Role = "AssumedRole", "", frontRole
	return id
}

// TestDAXDoors calls every method as a user: without policies, with the one action of DAX that the method needs, and with and without the
// action of DynamoDB that the cluster's role needs.
func TestDAXDoors(t *testing.T) {
	a, iam := openFront(t, true)
	root := dialFront(t, a, "A", secretA)
	id := root.listID("x")
	root.put("k", "cached")
	c := dialFront(t, a, userKey, userSecret)
	covered := map[string]bool{"createTable": true} // which the protocol has and the server does not
	check := func(call daxCall, user, role *policy.Identity, want string) {
		t.Helper()
		iam.set(user, role)
		got := c.call(call.method, call.values...)
		if want == "" && got.name == denied || want != "" && (got.name != denied || !strings.Contains(got.message, want)) {
			t.Errorf("%s: %v: %s, want %q", call.method, got, got.message, want)
		}
	}
	for _, call := range daxCalls(daxTable, id) {
		covered[call.method] = true
		action := "dax:" + call.action
		if call.method == "defineKeySchema" {
			action = "dax:DefineKeySchema"
		}
		user, needed := userWith(t, grant{action, frontARN}), role(t, grant{"dynamodb:" + call.action, hashARN})
		check(call, userWith(t), needed, "User: "+frontUser+" is not authorized to perform: "+action+" on resource: "+frontARN+" because no identity-based policy allows the "+action+" action")
		check(call, userWith(t, grant{action, frontARN + "2"}), needed, action)
		check(call, user, role(t), "User: "+frontSelf+" is not authorized to perform: dynamodb:"+call.action+" on resource: "+hashARN+" because no identity-based policy")
		check(call, user, nil, "is not authorized to perform: "+action+" on resource: "+frontARN+" because the cluster's role does not exist: "+frontRole)
		check(call, user, needed, "")
	}
	for action, call := range map[string]daxCall{
		"dax:Endpoints": {method: "endpoints"}, "dax:DefineAttributeList": {method: "defineAttributeList", values: [][]byte{wire.AppendInt(nil, id)}},
		"dax:DefineAttributeListId": {method: "defineAttributeListId", values: [][]byte{wire.AppendText(wire.AppendArray(nil, 1), "x")}},
	} {
		covered[call.method] = true
		check(call, userWith(t), role(t), action)
		check(call, userWith(t, grant{action, frontARN}), role(t), "")
		check(call, userWith(t, grant{"dax:Scan", frontARN}), nil, "") // AWS's policies for clients have no more
	}
	for method := range daxMethods {
		if !covered[method] {
			t.Errorf("%s has no case in this test", method)
		}
	}
}

// TestDAXRole checks which policies decide at a cluster, and that their changes take effect with the next request of an open connection.
func TestDAXRole(t *testing.T) {
	a, iam := openFront(t, true)
	root, user := dialFront(t, a, "A", secretA), dialFront(t, a, userKey, userSecret)
	root.put("k", "v") // while IAM does not know the role, a root reads and writes as itself
	all := userWith(t, grant{"dax:*", frontARN})
	byX := [][]byte{text(daxTable), text("\x83\x01\x83\x00\x82\x12\x61x\x82\x11\x00\x81\x61v"), options(11, text("by-x"))}
	get := [][]byte{text(daxTable), text("k"), options()}
	check := func(what string, c *daxConn, method string, values [][]byte, want string) {
		t.Helper()
		if got := c.call(method, values...); got.codes != nil && want == "" || want != "" && !strings.Contains(got.message, want) {
			t.Errorf("%s: %v: %s, want %q", what, got, got.message, want)
		}
	}
	table := role(t, grant{"dynamodb:*", hashARN})
	both := role(t, grant{"dynamodb:*", hashARN}, grant{"dynamodb:Query", hashARN + "/index/by-x"})
	iam.set(all, table)
	check("a user at a cached item", user, "getItem", get, "")
	check("an index", user, "query", byX, "dynamodb:Query on resource: "+hashARN+"/index/by-x")
	iam.set(all, both)
	check("an index that the role may read", user, "query", byX, "")
	iam.set(all, table)
	check("the same, from the cache", user, "query", byX, "dynamodb:Query on resource: "+hashARN+"/index/by-x")
	iam.set(all, role(t, grant{"dynamodb:PutItem", hashARN}))
	check("a cached item that the role may not read", user, "getItem", get, frontSelf)
	check("the same as root", root, "getItem", get, frontSelf)
	iam.set(userWith(t), both)
	check("a user whose policy is gone", user, "getItem", get, "dax:GetItem")
	iam.set(nil, both)
	check("a user whose key is gone", user, "getItem", get, "The security token included in the request is invalid.")

	// Conditions about transactions are DAX's; those about items are not evaluated.
	document := func(text string) []*policy.Document {
		d, err := policy.Parse(text, policy.OfIdentity)
		if err != nil {
			t.Fatal(err)
		}
		return []*policy.Document{d}
	}
	alone := userWith(t)
	alone.Policies.Identity = document(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"dax:*","Resource":"*"},
		{"Effect":"Deny","Action":"dax:GetItem","Resource":"*","Condition":{"StringEquals":{"dax:EnclosingOperation":"TransactGetItems"}}}]}`)
	fine := role(t)
	fine.Policies.Identity = document(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*",
		"Condition":{"ForAllValues:StringEquals":{"dynamodb:LeadingKeys":["another"]},"Bool":{"aws:SecureTransport":"false"},"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}}}`)
	iam.set(alone, fine)
	user.write(daxAuthorization(userKey, userSecret, "dax.amazonaws.com", time.Now()))
	check("a single read", user, "getItem", get, "")
	check("a read that is not cached", user, "getItem", [][]byte{text(daxTable), text("other"), options()}, "")
	one := func(b []byte) []byte { return append(wire.AppendArray(nil, 1), b...) }
	check("a transaction", user, "transactGetItems", [][]byte{one(text(daxTable)), one(text("k")), wire.AppendNull(nil), options()}, "with an explicit deny in an identity-based policy")
}

// TestDAXWithoutCluster uses the node that the server has without a cluster: no role says what users may read there.
func TestDAXWithoutCluster(t *testing.T) {
	a, iam := openFront(t, false)
	root, user := dialFront(t, a, "A", secretA), dialFront(t, a, userKey, userSecret)
	root.put("k", "v")
	arn := "arn:aws:dax:us-east-1:" + accountA + ":cache/stator"
	iam.set(userWith(t, grant{"dax:*", arn}, grant{"dynamodb:*", "*"}), role(t, grant{"dynamodb:*", "*"}))
	if got := user.call("getItem", text(daxTable), text("k"), options()); got.name != denied || !strings.Contains(got.message, arn+" because the node has no cluster, and so no role that reads tables") {
		t.Errorf("a user: %v: %s", got, got.message)
	}
	if got := user.call("endpoints"); got.codes != nil {
		t.Errorf("endpoints: %v: %s", got, got.message)
	}

	// Another account's cluster takes the node. Account A goes on as before.
	b := account{t, a.server, "B", secretB, accountB, a.credentials}
	b.must(acceleration+"CreateCluster", obj{"ClusterName": "front", "NodeType": "dax.t3.small", "ReplicationFactor": 1, "IamRoleArn": frontRole})
	if got := root.get("k"); got != "v" {
		t.Errorf("the root of account A gets %q", got)
	}
	if got := user.call("getItem", text(daxTable), text("k"), options()); got.name != denied || !strings.Contains(got.message, arn+" because the node has no cluster") {
		t.Errorf("a user of account A at the cluster of account B: %v: %s", got, got.message)
	}
	// A node that only account B's next cluster has refuses account A.
	b.must(acceleration+"CreateCluster", obj{"ClusterName": "next", "NodeType": "dax.t3.small", "ReplicationFactor": 1, "IamRoleArn": frontRole})
	endpoint := field(list(b.must(acceleration+"DescribeClusters", obj{"ClusterNames": []string{"next"}})["Clusters"])[0], "ClusterDiscoveryEndpoint.URL").(string)
	c := dialDAX(t, endpoint, 0)
	c.write(daxAuthorization("A", secretA, "dax.amazonaws.com", time.Now()))
	if got := c.call("scan", text(daxTable), options()); got.name != denied || !strings.Contains(got.message, "arn:aws:dax:us-east-1:"+accountB+":cache/next because no resource-based policy") {
		t.Errorf("the root of account A at the cluster of account B: %v: %s", got, got.message)
	}
}
