package node

import (
	"crypto/tls"
	"net/netip"

	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/smithy"
)

// DefaultCluster is the name of the cluster that a node has while it belongs to none.
const DefaultCluster = "stator"

// Cluster is what a node knows of its cluster.
type Cluster struct {
	// Name and Node are the names in metrics.
	Name, Node string
	// Account and Region are the cluster's; empty for a node without a cluster.
	Account, Region string
	// Role is the ARN of the role that reads and writes tables; empty for a node without a cluster.
	Role string
	// Default says that the server has the node even without a cluster. Callers of other accounts use it as if it had none.
	Default bool
}

// permission is an action for which policies are asked twice ("DAX access control"): the caller's, about the action of DAX on the
// cluster; and those of the cluster's role, about the action of DynamoDB on each table.
type permission struct{ dax, dynamodb string }

func permissionTo(action string) permission { return permission{"dax:" + action, "dynamodb:" + action} }

// Permissions that operations need ("Actions, resources, and condition keys for Amazon DynamoDB Accelerator (DAX)"). Transactions have
// none of their own.
var (
	mayGet        = permissionTo("GetItem")
	mayPut        = permissionTo("PutItem")
	mayUpdate     = permissionTo("UpdateItem")
	mayDelete     = permissionTo("DeleteItem")
	mayCheck      = permissionTo("ConditionCheckItem")
	mayQuery      = permissionTo("Query")
	mayScan       = permissionTo("Scan")
	mayBatchGet   = permissionTo("BatchGetItem")
	mayBatchWrite = permissionTo("BatchWriteItem")
)

// operations are the permissions that AWS's policies for clients list. Those that the protocol needs besides, e.g. dax:Endpoints, are
// not in AWS's examples, so each of operations includes them.
var operations = []*permission{&mayGet, &mayPut, &mayUpdate, &mayDelete, &mayCheck, &mayQuery, &mayScan, &mayBatchGet, &mayBatchWrite}

// origin is a connection's smithy.Origin.
type origin struct {
	address string
	secure  bool
}

func originOf(c *conn) *origin {
	o := &origin{}
	if at, err := netip.ParseAddrPort(c.net.RemoteAddr().String()); err == nil {
		o.address = at.Addr().Unmap().String()
	}
	_, o.secure = c.net.(*tls.Conn)
	return o
}

// Address implements smithy.Origin.
func (o *origin) Address() string { return o.address }

// Secure implements smithy.Origin.
func (o *origin) Secure() bool { return o.secure }

// UserAgent implements smithy.Origin. The protocol has none for a request.
func (*origin) UserAgent() string { return "" }

// Referer implements smithy.Origin.
func (*origin) Referer() string { return "" }

// place is the cluster as a connection's caller sees it.
type place struct {
	of          *Cluster // what the rest was made of; nil for nothing
	arn         string
	owner, role string // the account that the cluster belongs to, and the cluster's role, or ""
}

// place returns the cluster as the caller sees it.
func (c *conn) place() *place {
	cluster := c.node.cluster.Load()
	if c.at.of == cluster {
		return &c.at
	}
	account, region := c.node.service.opt.Database.Namespace(c.caller)
	p := place{of: cluster, owner: cluster.Account, role: cluster.Role}
	name := cluster.Name
	switch {
	case cluster.Account == account: // of the caller, or of all callers in a shared namespace
		region, p.owner = cluster.Region, c.caller.Account
	case cluster.Account == "" || cluster.Default:
		name, p.owner, p.role = DefaultCluster, c.caller.Account, ""
	default:
		account, region = cluster.Account, cluster.Region
	}
	p.arn = "arn:aws:dax:" + region + ":" + account + ":cache/" + name
	c.at = p
	return &c.at
}

// allow returns AWS's refusal if the caller may not take an action of DAX on the cluster. enclosing is the operation that has the action
// as a part; empty for an operation of its own.
func (c *conn) allow(action, enclosing string) error {
	p := c.place()
	if c.caller.Identity == nil && p.owner == c.caller.Account {
		return nil // a root; without credentials, everyone is
	}
	q := &c.asked
	*q = access.Question{Call: &c.call, Action: action, Resource: p.arn, Owner: p.owner}
	if enclosing != "" {
		keys := access.Keys{}
		keys.Set("dax:enclosingoperation", enclosing)
		q.Keys = keys
	}
	c.call.Caller = c.caller
	if err := access.Authorize(q); err != nil {
		return err
	}
	return nil
}

// allowAny is allow for an action that each of operations includes.
func (c *conn) allowAny(action string) error {
	err := c.allow(action, "")
	for i := 0; err != nil && i < len(operations); i++ {
		if c.allow(operations[i].dax, "") == nil {
			return nil
		}
	}
	return err
}

// act makes DynamoDB see the cluster's role as the sender of the request. Conditions about items are left out, because a cached item is
// answered without evaluating them. If IAM does not know the role, only a root can go on, as itself: nothing says what a user may read.
func (c *conn) act(action string) error {
	c.call.Caller = c.caller
	ops.RequestOf(&c.call).Coarse = true
	p := c.place()
	if role := c.node.service.role(p.role); role != nil && role.Account == c.caller.Account {
		c.call.Caller.Identity = role
		return nil
	}
	if c.caller.Identity == nil {
		return nil
	}
	problem := "the node has no cluster, and so no role that reads tables"
	if p.role != "" {
		problem = "the cluster's role does not exist: " + p.role
	}
	return awserr.New(awserr.AccessDenied, "User: "+access.Principal(&c.caller)+" is not authorized to perform: "+action+" on resource: "+p.arn+" because "+problem)
}

// authorizeMethod returns why the caller may not call a method, or nil. A method without needs asks for permissions itself, or reads no table.
func (c *conn) authorizeMethod(m *method) (err error) {
	c.call.Time, c.call.Caller = c.node.service.opt.Now(), c.caller
	switch {
	case m.included != "":
		err = c.allowAny(m.included)
	case m.needs.dax != "":
		err = c.allow(m.needs.dax, m.enclosing)
	}
	if err != nil || m.needs.dynamodb == "" {
		return err
	}
	return c.act(m.needs.dax)
}

var _ smithy.Origin = (*origin)(nil)
