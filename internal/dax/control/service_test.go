package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/dax/api"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/smithy/smithytest"
)

func openService(t *testing.T) *Service {
	t.Helper()
	store, err := pebblekv.Open(pebblekv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := New(context.Background(), Options{
		Records: registry.Storage{Coordinator: &cluster.Solo{}, KV: store}, Now: time.Now,
		Namespace: func(c smithy.Caller) (account, region string) { return c.Account, c.Region },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func codeOf(err error) awserr.Code {
	var known *awserr.Error
	if errors.As(err, &known) {
		return known.Code
	}
	return ""
}

// TestQuotasOfAnAccount creates each group in a new Region, whose name clients choose freely: quotas apply to all Regions together.
func TestQuotasOfAnAccount(t *testing.T) {
	ctx, s := context.Background(), openService(t)
	create := func(account string, i int) (parameters, subnets error) {
		call := &smithy.Call{Caller: smithy.Caller{Account: account, Region: fmt.Sprint("region-", i)}}
		_, parameters = s.createParameterGroup(ctx, call, &api.CreateParameterGroupRequest{ParameterGroupName: smithy.Some("g")})
		_, subnets = s.createSubnetGroup(ctx, call, &api.CreateSubnetGroupRequest{SubnetGroupName: smithy.Some("g"), SubnetIds: []string{"subnet-1"}})
		return parameters, subnets
	}
	for i := range 60 {
		parameters, subnets := create("a", i)
		if (parameters != nil) != (i >= maxParameterGroups) || parameters != nil && codeOf(parameters) != groupQuota {
			t.Errorf("parameter group %d: %v", i, parameters)
		}
		if (subnets != nil) != (i >= maxSubnetGroups) || subnets != nil && codeOf(subnets) != subnetGroupQuota {
			t.Errorf("subnet group %d: %v", i, subnets)
		}
	}
	if parameters, subnets := create("b", 0); parameters != nil || subnets != nil {
		t.Errorf("another account: %v, %v", parameters, subnets)
	}
	call := &smithy.Call{Caller: smithy.Caller{Account: "c", Region: "r"}}
	_, err := s.createParameterGroup(ctx, call, &api.CreateParameterGroupRequest{ParameterGroupName: smithy.Some("g"), Description: smithy.Some(strings.Repeat("x", maxText+1))})
	if codeOf(err) != invalidValue {
		t.Errorf("a description of %d bytes: %v", maxText+1, err)
	}
}

// TestEventsAreBounded records more events than an account may have: the oldest go, and another account's stay.
func TestEventsAreBounded(t *testing.T) {
	ctx, s := context.Background(), openService(t)
	if err := s.recordEvent(ctx, ID{Account: "b", Region: "r"}, "b", sourceCluster, "b"); err != nil {
		t.Fatal(err)
	}
	for i := range maxEvents + 10 {
		if err := s.recordEvent(ctx, ID{Account: "a", Region: fmt.Sprint("r", i%3)}, fmt.Sprint(i), sourceCluster, "m"); err != nil {
			t.Fatal(err)
		}
	}
	counts, oldest := map[string]int{}, ""
	for _, e := range s.events.All() {
		counts[e.Account]++
		if e.Source == "9" || e.Source == "10" {
			oldest += e.Source
		}
	}
	if counts["a"] != maxEvents || counts["b"] != 1 || oldest != "10" {
		t.Errorf("%v events, the oldest of them %s", counts, oldest)
	}
}

// TestOtherAccountsARN names a cluster of another account by its ARN.
func TestOtherAccountsARN(t *testing.T) {
	handlers := openService(t).Operations()
	caller := smithy.Caller{Account: "111111111111", Region: "us-east-1", Verified: true}
	for operation, in := range map[string]map[string]any{"ListTags": {}, "TagResource": {"Tags": []any{}}, "UntagResource": {"TagKeys": []any{}}} {
		in["ResourceName"] = "arn:aws:dax:us-east-1:222222222222:cache/c"
		err := smithytest.Do(context.Background(), handlers, caller, operation, in, nil)
		if codeOf(err) != awserr.AccessDenied || !strings.Contains(err.Error(), "dax:"+operation) {
			t.Errorf("%s: %v", operation, err)
		}
		in["ResourceName"] = "arn:aws:dax:us-east-1:111111111111:cache/c"
		if err := smithytest.Do(context.Background(), handlers, caller, operation, in, nil); codeOf(err) != clusterNotFound {
			t.Errorf("%s, of its own account: %v", operation, err)
		}
	}
}

// nodes are Nodes that keep what they are opened for.
type nodes struct {
	Nodes
	opened Spec
}

func (n *nodes) Open(spec Spec) (Address, error) {
	n.opened = spec
	return Address{Scheme: "dax", Host: "127.0.0.1", Port: 8111}, nil
}

func (*nodes) Address(ID) (Address, bool) { return Address{}, false }

// TestNodesOutliveRequests reuses the memory of a request after the answer, as servers do.
func TestNodesOutliveRequests(t *testing.T) {
	const role = "arn:aws:iam::111111111111:role/front"
	body := []byte("front" + role)
	view := func(part []byte) smithy.Opt[string] { return smithy.Some(unsafe.String(&part[0], len(part))) }
	s, n := openService(t), &nodes{}
	s.Nodes = n
	call := &smithy.Call{Caller: smithy.Caller{Account: "111111111111", Region: "us-east-1"}}
	_, err := s.createCluster(context.Background(), call, &api.CreateClusterRequest{
		ClusterName: view(body[:5]), NodeType: smithy.Some("dax.t3.small"), ReplicationFactor: smithy.Some[int64](1), IamRoleArn: view(body[5:]),
	})
	if err != nil {
		t.Fatal(err)
	}
	copy(body, strings.Repeat("x", len(body)))
	if n.opened.Name != "front" || n.opened.Role != role {
		t.Errorf("the node is that of cluster %q with the role %q", n.opened.Name, n.opened.Role)
	}
}
