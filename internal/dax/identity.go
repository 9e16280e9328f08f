package dax

import (
	"strings"
	"time"

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// maxAge is how long a signature counts from its time on, and from when it came ("AWS Signature Version 4 for API requests").
const maxAge = 15 * time.Minute

// maxTableName is how many bytes a TableName may have, which may be an Amazon Resource Name ("PutItem").
const maxTableName = 1024

// identity is whose requests a connection sends, and what it has because of that.
type identity struct {
	caller   smithy.Caller
	known    bool      // the client has introduced itself
	until    time.Time // for how long that counts; zero for ever
	refused  *awserr.Error
	lists    *lists
	counters *counters
}

// anonymous is the caller of requests without an authorization, where none is needed.
var anonymous = auth.Identity{Account: auth.DefaultAccount, Region: "us-east-1", Operator: true}

// callerOf returns the caller that a connection's authorization names, apart from the memory of its message.
func callerOf(id auth.Identity) smithy.Caller {
	caller := smithy.Caller(id)
	caller.Account, caller.Region, caller.AccessKey = strings.Clone(id.Account), strings.Clone(id.Region), strings.Clone(id.AccessKey)
	return caller
}

// introduce says whose requests come.
func (c *conn) introduce(id auth.Identity) {
	caller := callerOf(id)
	if !c.known {
		c.known = true
		c.node.service.gate.introduced(c, true)
	}
	if c.lists != nil && caller == c.caller {
		return
	}
	c.forget()
	c.caller = caller
	account, region := c.node.service.opt.Database.Namespace(caller)
	c.lists = c.node.service.listsOf(account)
	c.counters = c.node.enter(account, region)
}

// forget drops all that the connection has because of its caller.
func (c *conn) forget() {
	c.node.leave(c.counters)
	c.caller, c.lists, c.counters, c.tables = smithy.Caller{}, nil, nil, [2]*table{}
}

// refuse makes the client a stranger, whose next requests get the error.
func (c *conn) refuse(err *awserr.Error) {
	c.refused, c.until = err, time.Time{}
	c.forget()
	if c.known {
		c.known = false
		c.introduceBy = time.Now().Add(authTimeout)
		c.node.service.gate.introduced(c, false)
	}
}

// unknown reports whether the client still has to prove its identity.
func (c *conn) unknown() bool { return !c.known && c.node.service.opt.Auth.Verifies() }

// authorize reads the identity behind the requests that follow. There is no answer; a client that is refused learns it with its next request.
func (c *conn) authorize(r *wire.Reader) {
	accessKey, signature, text := r.Text(), r.Text(), r.Bytes()
	var token []byte
	if !r.Null() {
		token = r.Text()
	}
	if r.Err() != nil {
		return
	}
	authenticator := c.node.service.opt.Auth
	id, until, err := authenticator.AuthenticateConnection(string(accessKey), string(signature), string(text))
	if err == nil && len(token) > 0 && authenticator.Verifies() {
		// There are no sessions: a token belongs to credentials that the server doesn't know.
		err = unrecognized()
	}
	if err != nil {
		c.refuse(err)
		return
	}
	c.refused, c.until = nil, until
	if latest := c.node.service.opt.Now().Add(maxAge); until.After(latest) { // signed by a clock that is ahead
		c.until = latest
	}
	c.introduce(id)
}

// unrecognized is the refusal of a key or session token that the server doesn't know.
func unrecognized() *awserr.Error {
	return awserr.New(awserr.UnrecognizedClient, "The security token included in the request is invalid.")
}

// authorized returns why the caller may not send requests; nil if it may.
func (c *conn) authorized() error {
	opt := &c.node.service.opt
	switch {
	case c.refused != nil:
		return c.refused
	case c.unknown():
		return awserr.New(awserr.MissingAuthenticationToken, "Authentication Required")
	case !c.until.IsZero() && opt.Now().After(c.until):
		return awserr.New(awserr.MissingAuthenticationToken, "Authentication Required: the signature has expired")
	case !c.known || c.lists == nil:
		c.introduce(anonymous)
	case c.caller.Verified && !opt.Auth.Known(c.caller.AccessKey, c.caller.Account):
		c.refuse(unrecognized())
		return c.refused
	}
	return nil
}

// table is a table as the protocol sees it.
type table struct {
	*catalog.Table
	name   string // in requests
	schema wire.KeySchema
	// foreign says that it is another account's. Its attribute lists have ids of their own, and what is in the caches has those of the
	// table's account: requests of others pass through.
	foreign bool
}

// table returns a table by its name or Amazon Resource Name, if the caller may take the action of its request there.
func (c *conn) table(name []byte) (*table, error) { return c.tableFor(c.action, name) }

// tableFor returns a table if the caller may take an action there. Permission comes first: a refusal doesn't say whether another
// account has the table, and the caches are not looked into.
func (c *conn) tableFor(action string, name []byte) (*table, error) {
	if len(name) > maxTableName {
		return nil, awserr.InvalidTableName()
	}
	for _, known := range c.tables {
		if known == nil || known.name != wirejson.View(name) {
			continue
		}
		if t, err := c.node.service.opt.Database.Table(c.caller, action, known.name); err != nil || t == known.Table {
			return known, err
		}
	}
	out := &table{name: string(name)}
	t, err := c.node.service.opt.Database.Table(c.caller, action, out.name)
	if err != nil {
		return nil, err
	}
	out.Table, out.foreign = t, t.Namespace.Account != c.lists.account
	for a := range t.Key.Attributes {
		out.schema = append(out.schema, wire.KeyAttribute{Name: a.Name, Type: a.Type})
	}
	c.tables = [2]*table{out, c.tables[0]}
	return out, nil
}
