package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator/internal/dax/control"
)

// accelerator calls an operation of DAX's control plane.
func (d *db) accelerator(operation string, in any) obj {
	d.t.Helper()
	return d.must("AmazonDAXV3."+operation, in)
}

const daxRole = "arn:aws:iam::000000000000:role/DAXServiceRole"

func (d *db) createCluster(name string, more obj) obj {
	d.t.Helper()
	in := obj{"ClusterName": name, "NodeType": "dax.t3.small", "ReplicationFactor": 1, "IamRoleArn": daxRole}
	return d.accelerator("CreateCluster", with(in, more))["Cluster"].(obj)
}

func (d *db) describeCluster(name string) obj {
	d.t.Helper()
	return d.accelerator("DescribeClusters", obj{"ClusterNames": []string{name}})["Clusters"].([]any)[0].(obj)
}

// endpointOf returns a cluster's endpoint.
func (d *db) endpointOf(name string) string {
	d.t.Helper()
	e := d.describeCluster(name)["ClusterDiscoveryEndpoint"].(obj)
	if want := fmt.Sprintf("dax://%s:%v", e["Address"], e["Port"]); e["URL"] != want {
		d.t.Errorf("URL %v, want %s", e["URL"], want)
	}
	return e["URL"].(string)
}

// TestDAXClusters creates clusters, which are nodes with caches of their own, and finds them again after a restart.
func TestDAXClusters(t *testing.T) {
	clock := newMovedClock()
	opt := Options{Now: clock.Now, DataDir: t.TempDir(), DAX: DAXOptions{Listen: "127.0.0.1:0"}}
	d := open(t, opt)
	d.createDAXTable()
	created := d.createCluster("First-One", obj{"ReplicationFactor": 3, "Description": "the first", "Tags": []obj{{"Key": "env", "Value": "test"}}})
	if created["Status"] != "creating" || created["ClusterName"] != "first-one" || created["ClusterArn"] != "arn:aws:dax:us-east-1:000000000000:cache/first-one" || created["ActiveNodes"] != 0.0 {
		t.Errorf("created %v", created)
	}
	first := d.describeCluster("first-one")
	endpoint := d.endpointOf("first-one")
	if endpoint != d.DAXURLs()[0] {
		t.Errorf("the first cluster is at %s, not at %s", endpoint, d.DAXURLs()[0])
	}
	nodes := list(first["Nodes"])
	if first["Status"] != "available" || first["TotalNodes"] != 3.0 || first["ActiveNodes"] != 3.0 || len(nodes) != 3 {
		t.Errorf("the cluster is %v", first)
	}
	for i, n := range nodes {
		if n["NodeId"] != "first-one-"+string("abc"[i]) || n["AvailabilityZone"] != "us-east-1"+string("abc"[i]) || n["NodeStatus"] != "available" || n["Endpoint"].(obj)["Port"] != first["ClusterDiscoveryEndpoint"].(obj)["Port"] {
			t.Errorf("node %v", n)
		}
	}
	want := obj{
		"Description": "the first", "NodeType": "dax.t3.small", "SubnetGroup": "default", "IamRoleArn": daxRole, "ClusterEndpointEncryptionType": "NONE", "NetworkType": "ipv4",
		"SSEDescription": obj{"Status": "DISABLED"}, "ParameterGroup": obj{"ParameterGroupName": "default.dax1.0", "ParameterApplyStatus": "in-sync", "NodeIdsToReboot": []any{}},
	}
	for k, v := range want {
		if !reflect.DeepEqual(first[k], v) {
			t.Errorf("%s is %v, want %v", k, first[k], v)
		}
	}
	d.refused("ClusterAlreadyExistsFault", "already exists", "AmazonDAXV3.CreateCluster", obj{"ClusterName": "FIRST-one", "NodeType": "dax.t3.small", "ReplicationFactor": 1, "IamRoleArn": daxRole})

	// A second cluster has another endpoint, its own caches, and the TTLs of its parameter group.
	d.accelerator("CreateParameterGroup", obj{"ParameterGroupName": "short", "Description": "short TTLs"})
	d.accelerator("UpdateParameterGroup", obj{"ParameterGroupName": "short", "ParameterNameValues": []obj{
		{"ParameterName": "record-ttl-millis", "ParameterValue": "10000"}, {"ParameterName": "query-ttl-millis", "ParameterValue": "0"},
	}})
	d.createCluster("second", obj{"ParameterGroupName": "short", "SubnetGroupName": "", "Description": ""})
	other := d.endpointOf("second")
	if other == endpoint {
		t.Fatal("both clusters are at one endpoint")
	}
	a, b := dialDAX(t, endpoint, 0), dialDAX(t, other, 0)
	a.put("k", "1")
	if got := b.get("k"); got != "1" {
		t.Errorf("got %s", got)
	}
	a.put("k", "2")
	if got := b.get("k"); got != "1" {
		t.Errorf("the second cluster knows at once of a write through the first: %s", got)
	}
	clock.Advance(11 * time.Second)
	a.put("k", "3")
	if got := b.get("k"); got != "3" {
		t.Errorf("after its TTL the second cluster has %s", got)
	}
	b.must("scan", text(daxTable), options())
	b.must("scan", text(daxTable), options())
	if hits, misses := d.daxSum(clock, "ScanCacheHits", "second"), d.daxSum(clock, "ScanCacheMisses", "second"); hits+misses != 0 {
		t.Errorf("queries are cached with a TTL of 0: %v %v", hits, misses)
	}
	if n := d.daxSum(clock, "ItemCacheMisses", "second"); n != 2 {
		t.Errorf("%v misses of the second cluster", n)
	}
	d.refused("InvalidParameterGroupStateFault", "second", "AmazonDAXV3.UpdateParameterGroup", obj{"ParameterGroupName": "short", "ParameterNameValues": []obj{}})
	d.refused("InvalidParameterGroupStateFault", "second", "AmazonDAXV3.DeleteParameterGroup", obj{"ParameterGroupName": "short"})
	// A new parameter group takes effect at once.
	d.accelerator("UpdateCluster", obj{"ClusterName": "second", "ParameterGroupName": "default.dax1.0", "Description": "longer now"})
	b.put("long", "1")
	a.put("long", "2")
	clock.Advance(4 * time.Minute)
	if got := b.get("long"); got != "1" {
		t.Errorf("the default TTL has ended after 4 minutes: %s", got)
	}
	d.accelerator("RebootNode", obj{"ClusterName": "second", "NodeId": "second-a"})
	if got := b.get("long"); got != "2" {
		t.Errorf("a rebooted node has its cache: %s", got)
	}
	d.accelerator("DeleteParameterGroup", obj{"ParameterGroupName": "short"})

	// After a restart, clusters and endpoints are unchanged.
	addresses := []string{endpoint, other}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	opt.DAX.Listen = strings.TrimPrefix(endpoint, "dax://")
	d = open(t, opt)
	for i, name := range []string{"first-one", "second"} {
		if got := d.endpointOf(name); got != addresses[i] {
			t.Errorf("%s is at %s, was at %s", name, got, addresses[i])
		}
		if c := dialDAX(t, addresses[i], 0); c.get("k") != "3" {
			t.Errorf("%s does not read", name)
		}
	}
	if got := d.describeCluster("second")["Description"]; got != "longer now" {
		t.Errorf("the description is %v", got)
	}
	// A deleted cluster is gone; only the endpoint that the server's options ask for stays.
	if got := d.accelerator("DeleteCluster", obj{"ClusterName": "second"})["Cluster"].(obj)["Status"]; got != "deleting" {
		t.Errorf("the status is %v", got)
	}
	if nc, err := net.Dial("tcp", strings.TrimPrefix(other, "dax://")); err == nil {
		nc.Close()
		t.Error("a deleted cluster still listens")
	}
	d.accelerator("DeleteCluster", obj{"ClusterName": "first-one"})
	if c := dialDAX(t, endpoint, 0); c.get("k") != "3" {
		t.Error("the server's own endpoint is gone")
	}
	d.refused("ClusterNotFoundFault", "not found", "AmazonDAXV3.DescribeClusters", obj{"ClusterNames": []string{"second"}})
	if all := list(d.accelerator("DescribeClusters", obj{})["Clusters"]); len(all) != 0 {
		t.Errorf("clusters %v", all)
	}
	// The next cluster takes that endpoint.
	d.createCluster("third", nil)
	if got := d.endpointOf("third"); got != endpoint {
		t.Errorf("the next cluster is at %s", got)
	}
}

// sweepDAX runs the control plane's sweepers.
func (d *db) sweepDAX(t *testing.T) {
	t.Helper()
	if err := errors.Join(d.clusters.Finish(context.Background()), d.clusters.Sweep(context.Background())); err != nil {
		t.Fatal(err)
	}
}

// TestDAXEverywhere listens on all interfaces. The endpoint is then the address at which the client reached the server.
func TestDAXEverywhere(t *testing.T) {
	d := open(t, Options{Insecure: true, DAX: DAXOptions{Listen: "0.0.0.0:0"}})
	d.createCluster("c", nil)
	at := d.endpointOf("c")
	if !strings.HasPrefix(at, "dax://127.0.0.1:") {
		t.Errorf("the cluster is at %s", at)
	}
	dialDAX(t, at, 0).must("endpoints")
	d = open(t, Options{DAX: DAXOptions{Listen: "127.0.0.1:0", Advertise: "localhost:4711"}})
	d.createCluster("c", nil)
	if at := d.endpointOf("c"); at != "dax://localhost:4711" {
		t.Errorf("the cluster is at %s", at)
	}
	r := dialDAX(t, d.DAXURLs()[0], 0).must("endpoints")
	r.Array()
	endpoint := map[int64]string{}
	for n := r.Map(); r.Next(&n); {
		k := r.Int()
		endpoint[k] = fmt.Sprintf("%x", r.Skip())
	}
	if endpoint[1] != "696c6f63616c686f7374" || endpoint[3] != "191267" {
		t.Errorf("the endpoint is %v", endpoint)
	}
}

// TestDAXWithoutCertificate restarts without the certificate that a cluster needs. The rest of the server works, and the
// cluster returns with the certificate.
func TestDAXWithoutCertificate(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	with := DAXOptions{TLSListen: "127.0.0.1:0", Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for name, block := range map[string]*pem.Block{with.Certificate: {Type: "CERTIFICATE", Bytes: certificate}, with.Key: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var failures failureLog
	for i, options := range []DAXOptions{with, {}, with} {
		d := open(t, Options{DataDir: filepath.Join(dir, "data"), DAX: options, Logger: slog.New(&failures)})
		if i == 0 {
			d.createCluster("secret", obj{"ClusterEndpointEncryptionType": "TLS"})
			d.createDAXTable()
		}
		c := d.describeCluster("secret")
		if e, _ := c["ClusterDiscoveryEndpoint"].(obj); (e != nil) != (options.TLSListen != "") || e != nil && !strings.HasPrefix(e["URL"].(string), "daxs://127.0.0.1:") {
			t.Errorf("start %d: the endpoint is %v", i, e)
		}
		if n := len(failures.take()); n != min(i, 1) {
			t.Errorf("start %d: %d failures", i, n)
		}
		d.must("DescribeTable", obj{"TableName": daxTable})
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// daxSum returns the sum of a cluster's metric over the last hour.
func (d *db) daxSum(clock *movedClock, name, cluster string) (sum float64) {
	d.t.Helper()
	out := d.must("GraniteServiceVersion20100801.GetMetricStatistics", obj{
		"Namespace": "AWS/DAX", "MetricName": name, "Dimensions": []obj{{"Name": "ClusterId", "Value": cluster}}, "Period": 60, "Statistics": []string{"Sum"},
		"StartTime": clock.Now().Add(-time.Hour).Unix(), "EndTime": clock.Now().Add(time.Minute).Unix(),
	})
	for _, p := range list(out["Datapoints"]) {
		sum += p["Sum"].(float64)
	}
	return sum
}

// TestDAXClusterChanges adds and removes nodes, and changes tags, subnet groups and parameter groups; it checks events too.
func TestDAXClusterChanges(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now}) // without a DAX endpoint in the options
	if d.DAXURLs() != nil {
		t.Errorf("DAX at %v", d.DAXURLs())
	}
	d.createCluster("c", obj{"AvailabilityZones": []string{"us-east-1c"}, "SSESpecification": obj{"Enabled": true}, "NotificationTopicArn": "arn:aws:sns:us-east-1:000000000000:t"})
	dialDAX(t, d.endpointOf("c"), 0).must("endpoints")
	if c := d.describeCluster("c"); !reflect.DeepEqual(c["SSEDescription"], obj{"Status": "ENABLED"}) || !reflect.DeepEqual(c["NotificationConfiguration"], obj{"TopicArn": "arn:aws:sns:us-east-1:000000000000:t", "TopicStatus": "active"}) {
		t.Errorf("the cluster is %v", c)
	}
	ids := func() (out string) {
		for _, n := range list(d.describeCluster("c")["Nodes"]) {
			out += fmt.Sprint(n["NodeId"], "@", n["AvailabilityZone"], " ")
		}
		return strings.TrimSpace(out)
	}
	check := func(want string) {
		t.Helper()
		if got := ids(); got != want {
			t.Errorf("nodes %s, want %s", got, want)
		}
	}
	check("c-a@us-east-1c")
	d.accelerator("IncreaseReplicationFactor", obj{"ClusterName": "c", "NewReplicationFactor": 3})
	check("c-a@us-east-1c c-b@us-east-1b c-c@us-east-1c")
	out := d.accelerator("DecreaseReplicationFactor", obj{"ClusterName": "c", "NewReplicationFactor": 2, "NodeIdsToRemove": []string{"c-b"}})["Cluster"].(obj)
	if !reflect.DeepEqual(out["NodeIdsToRemove"], []any{"c-b"}) || out["Status"] != "modifying" {
		t.Errorf("decreased: %v", out)
	}
	check("c-a@us-east-1c c-c@us-east-1c")
	d.accelerator("IncreaseReplicationFactor", obj{"ClusterName": "c", "NewReplicationFactor": 4, "AvailabilityZones": []string{"us-east-1a", "us-east-1a"}})
	check("c-a@us-east-1c c-b@us-east-1a c-c@us-east-1c c-d@us-east-1a")
	d.accelerator("DecreaseReplicationFactor", obj{"ClusterName": "c", "NewReplicationFactor": 3, "AvailabilityZones": []string{"us-east-1c"}})
	check("c-a@us-east-1c c-b@us-east-1a c-d@us-east-1a")

	arn := d.describeCluster("c")["ClusterArn"]
	tagged := d.accelerator("TagResource", obj{"ResourceName": arn, "Tags": []obj{{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "1"}}})["Tags"]
	if want := []any{obj{"Key": "a", "Value": "1"}, obj{"Key": "b", "Value": "2"}}; !reflect.DeepEqual(tagged, want) {
		t.Errorf("tags %v", tagged)
	}
	d.accelerator("UntagResource", obj{"ResourceName": arn, "TagKeys": []string{"a"}})
	if got := d.accelerator("ListTags", obj{"ResourceName": arn})["Tags"]; !reflect.DeepEqual(got, []any{obj{"Key": "b", "Value": "2"}}) {
		t.Errorf("tags %v", got)
	}

	d.accelerator("CreateSubnetGroup", obj{"SubnetGroupName": "Nets", "Description": "two", "SubnetIds": []string{"subnet-1", "subnet-2"}})
	d.accelerator("UpdateSubnetGroup", obj{"SubnetGroupName": "nets", "SubnetIds": []string{"subnet-3"}})
	group := list(d.accelerator("DescribeSubnetGroups", obj{"SubnetGroupNames": []string{"nets"}})["SubnetGroups"])[0]
	if group["Description"] != "two" || len(list(group["Subnets"])) != 1 || list(group["Subnets"])[0]["SubnetIdentifier"] != "subnet-3" {
		t.Errorf("subnet group %v", group)
	}
	if all := list(d.accelerator("DescribeSubnetGroups", obj{})["SubnetGroups"]); len(all) != 2 {
		t.Errorf("subnet groups %v", all)
	}
	d.createCluster("in-nets", obj{"SubnetGroupName": "nets"})
	d.refused("SubnetGroupInUseFault", "in-nets", "AmazonDAXV3.DeleteSubnetGroup", obj{"SubnetGroupName": "nets"})
	d.accelerator("DeleteCluster", obj{"ClusterName": "in-nets"})
	d.accelerator("DeleteSubnetGroup", obj{"SubnetGroupName": "nets"})

	d.accelerator("CreateParameterGroup", obj{"ParameterGroupName": "p"})
	d.accelerator("UpdateParameterGroup", obj{"ParameterGroupName": "p", "ParameterNameValues": []obj{{"ParameterName": "record-ttl-millis", "ParameterValue": "7"}}})
	values := map[any]any{}
	for _, p := range list(d.accelerator("DescribeParameters", obj{"ParameterGroupName": "p"})["Parameters"]) {
		values[p["ParameterName"]] = fmt.Sprint(p["ParameterValue"], p["Source"], p["DataType"], p["IsModifiable"])
	}
	if want := map[any]any{"record-ttl-millis": "7userintegerTRUE", "query-ttl-millis": "300000systemintegerTRUE"}; !reflect.DeepEqual(values, want) {
		t.Errorf("parameters %v", values)
	}
	if user := list(d.accelerator("DescribeParameters", obj{"ParameterGroupName": "p", "Source": "user"})["Parameters"]); len(user) != 1 {
		t.Errorf("parameters of the user %v", user)
	}
	if all := list(d.accelerator("DescribeDefaultParameters", obj{})["Parameters"]); len(all) != 2 || all[0]["ParameterValue"] != "300000" {
		t.Errorf("default parameters %v", all)
	}
	if all := list(d.accelerator("DescribeParameterGroups", obj{})["ParameterGroups"]); len(all) != 2 || all[0]["ParameterGroupName"] != "default.dax1.0" {
		t.Errorf("parameter groups %v", all)
	}

	messages := func(in obj) (out []string) {
		for _, e := range list(d.accelerator("DescribeEvents", in)["Events"]) {
			out = append(out, fmt.Sprint(e["SourceName"], " ", e["SourceType"], " ", e["Message"]))
		}
		return out
	}
	all := messages(obj{})
	if len(all) != 16 || all[0] != "c CLUSTER Added node c-a in Availability Zone us-east-1c." || all[1] != "c CLUSTER Cluster created." {
		t.Errorf("%d events %v", len(all), strings.Join(all, "\n"))
	}
	if got := messages(obj{"SourceType": "PARAMETER_GROUP"}); !reflect.DeepEqual(got, []string{"p PARAMETER_GROUP Parameter group created.", "p PARAMETER_GROUP Parameter group updated."}) {
		t.Errorf("events %v", got)
	}
	clock.Advance(2 * time.Hour)
	if got := messages(obj{}); got != nil {
		t.Errorf("events of the last hour %v", got)
	}
	if got := messages(obj{"Duration": 180, "SourceName": "nets"}); len(got) != 3 {
		t.Errorf("events %v", got)
	}
	clock.Advance(15 * 24 * time.Hour)
	d.sweepDAX(t)
	if got := messages(obj{"StartTime": clock.Now().Add(-20 * 24 * time.Hour).Unix()}); got != nil {
		t.Errorf("events of two weeks ago %v", got)
	}
}

// TestDAXClusterErrors checks the control plane's errors.
func TestDAXClusterErrors(t *testing.T) {
	d := open(t, Options{})
	d.createCluster("c", nil)
	for i := range 4 {
		d.createCluster(fmt.Sprint("full", i), obj{"ReplicationFactor": 10})
	}
	create := func(more obj) obj {
		return with(obj{"ClusterName": "new", "NodeType": "dax.t3.small", "ReplicationFactor": 1, "IamRoleArn": daxRole}, more)
	}
	var tags []obj
	for i := range 51 {
		tags = append(tags, obj{"Key": fmt.Sprint(i), "Value": ""})
	}
	arn := "arn:aws:dax:us-east-1:000000000000:cache/"
	for _, c := range []struct {
		operation string
		in        obj
		kind      string
	}{
		{"CreateCluster", obj{}, "ValidationException"},
		{"CreateCluster", create(obj{"ClusterName": "1st"}), "InvalidParameterValueException"},
		{"CreateCluster", create(obj{"ClusterName": "a--b"}), "InvalidParameterValueException"},
		{"CreateCluster", create(obj{"ClusterName": "a-"}), "InvalidParameterValueException"},
		{"CreateCluster", create(obj{"ClusterName": strings.Repeat("a", 21)}), "InvalidParameterValueException"},
		{"CreateCluster", create(obj{"NodeType": "cache.t3.small"}), "InvalidParameterValueException"},
		{"CreateCluster", create(obj{"IamRoleArn": "role"}), "InvalidParameterValueException"},
		{"CreateCluster", create(obj{"ReplicationFactor": 0}), "InvalidParameterValueException"},
		{"CreateCluster", create(obj{"ReplicationFactor": 11}), "NodeQuotaForClusterExceededFault"},
		{"CreateCluster", create(obj{"ReplicationFactor": 10}), "NodeQuotaForCustomerExceededFault"},
		{"CreateCluster", create(obj{"ReplicationFactor": 2, "AvailabilityZones": []string{"us-east-1a"}}), "InvalidParameterCombinationException"},
		{"CreateCluster", create(obj{"PreferredMaintenanceWindow": "sometimes"}), "InvalidParameterValueException"},
		{"CreateCluster", create(obj{"ParameterGroupName": "nope"}), "ParameterGroupNotFoundFault"},
		{"CreateCluster", create(obj{"SubnetGroupName": "nope"}), "SubnetGroupNotFoundFault"},
		{"CreateCluster", create(obj{"Tags": tags}), "TagQuotaPerResourceExceeded"},
		{"CreateCluster", create(obj{"ClusterEndpointEncryptionType": "TLS"}), "InvalidParameterValueException"},
		{"CreateCluster", create(obj{"ClusterEndpointEncryptionType": "SSL"}), "ValidationException"},
		{"DeleteCluster", obj{"ClusterName": "nope"}, "ClusterNotFoundFault"},
		{"UpdateCluster", obj{"ClusterName": "nope"}, "ClusterNotFoundFault"},
		{"UpdateCluster", obj{"ClusterName": "c", "ParameterGroupName": "nope"}, "ParameterGroupNotFoundFault"},
		{"UpdateCluster", obj{"ClusterName": "c", "NotificationTopicStatus": "maybe"}, "InvalidParameterValueException"},
		{"IncreaseReplicationFactor", obj{"ClusterName": "c", "NewReplicationFactor": 1}, "InvalidParameterValueException"},
		{"IncreaseReplicationFactor", obj{"ClusterName": "c", "NewReplicationFactor": 3, "AvailabilityZones": []string{"us-east-1a"}}, "InvalidParameterCombinationException"},
		{"DecreaseReplicationFactor", obj{"ClusterName": "c", "NewReplicationFactor": 0}, "InvalidParameterValueException"},
		{"DecreaseReplicationFactor", obj{"ClusterName": "full1", "NewReplicationFactor": 9, "NodeIdsToRemove": []string{"nope"}}, "NodeNotFoundFault"},
		{"RebootNode", obj{"ClusterName": "c", "NodeId": "c-b"}, "NodeNotFoundFault"},
		{"DescribeClusters", obj{"MaxResults": 5}, "InvalidParameterValueException"},
		{"DescribeEvents", obj{"Duration": 5, "StartTime": 1}, "InvalidParameterCombinationException"},
		{"DescribeParameters", obj{"ParameterGroupName": "nope"}, "ParameterGroupNotFoundFault"},
		{"CreateParameterGroup", obj{"ParameterGroupName": "default.dax1.0"}, "ParameterGroupAlreadyExistsFault"},
		{"UpdateParameterGroup", obj{"ParameterGroupName": "default.dax1.0", "ParameterNameValues": []obj{}}, "InvalidParameterGroupStateFault"},
		{"DeleteParameterGroup", obj{"ParameterGroupName": "default.dax1.0"}, "InvalidParameterGroupStateFault"},
		{"CreateSubnetGroup", obj{"SubnetGroupName": "g", "SubnetIds": []string{}}, "InvalidSubnet"},
		{"CreateSubnetGroup", obj{"SubnetGroupName": "g", "SubnetIds": []string{"net"}}, "InvalidSubnet"},
		{"DeleteSubnetGroup", obj{"SubnetGroupName": "default"}, "SubnetGroupNotFoundFault"},
		{"ListTags", obj{"ResourceName": "nope"}, "InvalidARNFault"},
		{"ListTags", obj{"ResourceName": arn + "nope"}, "ClusterNotFoundFault"},
		{"UntagResource", obj{"ResourceName": arn + "c", "TagKeys": []string{"nope"}}, "TagNotFoundFault"},
		{"TagResource", obj{"ResourceName": arn + "c", "Tags": []obj{{"Key": "aws:x", "Value": ""}}}, "InvalidParameterValueException"},
	} {
		if _, err := d.call("AmazonDAXV3."+c.operation, c.in); kindOf(err) != c.kind {
			t.Errorf("%s %v: %v, want %s", c.operation, c.in, err, c.kind)
		}
	}
	d.accelerator("CreateParameterGroup", obj{"ParameterGroupName": "p"})
	for _, value := range []string{"-1", "x", "99999999999999999999"} {
		d.refused("InvalidParameterValueException", value, "AmazonDAXV3.UpdateParameterGroup", obj{"ParameterGroupName": "p", "ParameterNameValues": []obj{{"ParameterName": "query-ttl-millis", "ParameterValue": value}}})
	}
}

// TestDAXTransientStatus checks that clusters pass through transient statuses for as long as tables do.
func TestDAXTransientStatus(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now, TransientStatus: 10 * time.Second})
	d.accelerator("CreateParameterGroup", obj{"ParameterGroupName": "p"})
	d.accelerator("CreateSubnetGroup", obj{"SubnetGroupName": "s", "SubnetIds": []string{"subnet-1"}})
	d.createCluster("c", obj{"ParameterGroupName": "p", "SubnetGroupName": "s"})
	if c := d.describeCluster("c"); c["Status"] != "creating" || c["ClusterDiscoveryEndpoint"] != nil {
		t.Errorf("the cluster is %v", c)
	}
	d.refused("InvalidClusterStateFault", "creating", "AmazonDAXV3.DeleteCluster", obj{"ClusterName": "c"})
	clock.Advance(11 * time.Second)
	d.endpointOf("c")
	d.accelerator("UpdateCluster", obj{"ClusterName": "c", "Description": "x"})
	if got := d.describeCluster("c")["Status"]; got != "modifying" {
		t.Errorf("the status is %v", got)
	}
	clock.Advance(11 * time.Second)
	d.accelerator("DeleteCluster", obj{"ClusterName": "c"})
	if got := d.describeCluster("c")["Status"]; got != "deleting" {
		t.Errorf("the status is %v", got)
	}
	clock.Advance(11 * time.Second)
	d.refused("ClusterNotFoundFault", "not found", "AmazonDAXV3.DescribeClusters", obj{"ClusterNames": []string{"c"}})
	d.accelerator("DeleteParameterGroup", obj{"ParameterGroupName": "p"}) // the cluster frees its groups as soon as it is gone
	d.accelerator("DeleteSubnetGroup", obj{"SubnetGroupName": "s"})
	d.sweepDAX(t)
	d.createCluster("c", nil)
	clock.Advance(11 * time.Second)
	dialDAX(t, d.endpointOf("c"), 0).must("endpoints")
}

// TestDAXClusterOfSlowClients deletes a cluster while a client has sent half a request. The deletion doesn't wait, and the
// client may finish. All clusters share one memory budget.
func TestDAXClusterOfSlowClients(t *testing.T) {
	d := open(t, Options{DAX: DAXOptions{Cache: 60 << 20}})
	d.createDAXTable()
	memory := func() (list []int64) {
		d.Server.dax.mu.Lock()
		defer d.Server.dax.mu.Unlock()
		for _, n := range d.Server.dax.nodes {
			list = append(list, n.Caches.Memory())
		}
		return list
	}
	for i := range 3 {
		d.createCluster(fmt.Sprint("c", i), nil)
		for _, bytes := range memory() {
			if want := int64(60<<20) / int64(i+1); bytes != want {
				t.Errorf("of %d clusters each has %d bytes, want %d", i+1, bytes, want)
			}
		}
	}
	c := dialDAX(t, d.endpointOf("c0"), 0)
	c.must("endpoints")
	d.Server.dax.mu.Lock()
	node := d.Server.dax.nodes[control.ID{Account: "000000000000", Region: "us-east-1", Name: "c0"}]
	d.Server.dax.mu.Unlock()
	eventually(t, "the first request to end", func() bool { return node.Busy() == 0 }) // the client may have its answer before that
	scan := daxRequest("scan", text(daxTable), options())
	c.write(scan[:5])
	eventually(t, "the node has begun to read", func() bool { return node.Busy() == 1 })
	d.accelerator("DeleteCluster", obj{"ClusterName": "c0"})
	c.write(scan[5:])
	if a, err := c.receive(1); err != nil || a.codes != nil {
		t.Errorf("the client got %v, %v", a, err)
	}
	c.closed()
}
