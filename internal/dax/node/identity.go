package node

import (
	"strings"
	"time"

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/smithy"
)

// maxAge is how long a signature is valid, from its own timestamp on and from its arrival on ("AWS Signature Version 4 for API
// requests").
const maxAge = 15 * time.Minute

// identity is the caller on whose behalf a connection sends requests, and the state that depends on it.
type identity struct {
	caller smithy.Caller
	token  string    // of the session that the caller is; empty for others
	known  bool      // the client is authenticated
	until  time.Time // until when that is valid; zero for ever
	// refused is the error that answers all requests since a failed authorization; nil if there was none.
	refused  *awserr.Error
	lists    *lists
	counters *counters
}

// anonymous is the caller of unauthorized requests, on a server that verifies no signatures.
var anonymous = auth.Identity{Account: auth.DefaultAccount, Region: "us-east-1", Operator: true}

// callerOf returns the caller that an authorization names. Its strings are copies, because it outlives the message.
func callerOf(id auth.Identity) smithy.Caller {
	caller := smithy.Caller(id)
	caller.Account, caller.Region, caller.AccessKey = strings.Clone(id.Account), strings.Clone(id.Region), strings.Clone(id.AccessKey)
	return caller
}

// introduce makes id the caller of the connection's requests.
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

// forget drops all state that depends on the caller.
func (c *conn) forget() {
	c.node.leave(c.counters)
	c.caller, c.lists, c.counters, c.tables, c.at = smithy.Caller{}, nil, nil, [2]*table{}, place{}
}

// refuse turns the client into a stranger again. Its next requests get the error.
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

// authorize reads the identity behind the requests that follow. The protocol has no answer to it: a refused client learns of it with
// its next request.
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
	id, until, err := authenticator.AuthenticateConnection(string(accessKey), string(token), string(signature), string(text))
	if err != nil {
		c.refuse(err)
		return
	}
	c.refused, c.until = nil, until
	if latest := c.node.service.opt.Now().Add(maxAge); until.After(latest) { // the client's clock is ahead
		c.until = latest
	}
	c.token = string(token)
	c.introduce(id)
}

// authorized returns why the caller may not send requests, or nil. Revoking a key, and changes of policies, take effect here, with the next
// request.
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
	default:
		id, err := opt.Auth.Renew(auth.Identity(c.caller), c.token)
		if err != nil {
			c.refuse(err)
			return err
		}
		c.caller = smithy.Caller(id)
	}
	return nil
}
