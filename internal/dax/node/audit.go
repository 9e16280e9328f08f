package node

import (
	"crypto/tls"
	"net"
	"slices"

	"github.com/statordb/stator/internal/audit"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/wirejson"
)

// maxNamed bounds the tables of a request that its event names: a transaction has no more.
const maxNamed = 100

// named collects the tables that a request names, for its event.
type named struct {
	on     bool // the request may make an event
	tables []string
}

func (n *named) add(table []byte) {
	if n.on && len(n.tables) < maxNamed && !slices.Contains(n.tables, wirejson.View(table)) {
		n.tables = append(n.tables, string(table))
	}
}

// record records a request that has ended, before its answer leaves. failure is nil if it succeeded. The event names the tables and shows
// nothing else of the request: there is no JSON of it.
func (c *conn) record(m method, failure *awserr.Error) {
	tables := c.named.tables
	c.named = named{tables: tables[:0]}
	log := c.node.service.opt.Audit
	if m.target == "" || !log.Wants(m.target) {
		return
	}
	host, _, _ := net.SplitHostPort(c.net.RemoteAddr().String()) // "" for a connection without addresses
	r := audit.Request{
		Target: m.target, Protocol: "DAX", Tables: tables, Region: c.caller.Region, SourceIP: host,
		Sender: audit.Unknown(c.caller.Account, c.caller.AccessKey),
	}
	switch {
	case c.caller.Identity != nil:
		r.Sender = audit.Of(c.caller.Identity, c.caller.AccessKey)
	case c.caller.Verified:
		r.Sender = audit.Root(c.caller.Account, c.caller.AccessKey)
	}
	if failure != nil {
		r.ErrorCode, r.ErrorMessage = string(failure.Code), failure.Message
	}
	if secure, ok := c.net.(*tls.Conn); ok {
		r.TLS = func() *tls.ConnectionState {
			state := secure.ConnectionState()
			return &state
		}
	}
	log.Record(&r)
}
