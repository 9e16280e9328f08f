package ops

import (
	"strings"

	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy"
)

// Request is a request to DynamoDB as operations see it. It belongs to its Call, which front ends reuse for one request after
// another, so nothing may keep a Request.
type Request struct {
	*smithy.Call
	// Unprojected makes reads return whole items or index entries. DAX sets it, because it applies the projection itself.
	Unprojected bool
	// Coarse leaves the condition keys about items out of the request. DAX sets it, because it answers from its caches without evaluating
	// them ("DAX access control").
	Coarse bool
	// Stored is the item that an UpdateItem stored, in binary form. It is valid until the Call is released.
	Stored []byte

	key     []byte     // memory for the storage key of an operation on one item, for reuse
	asked   asked      // memory for questions to policies, for reuse
	allowed allowed    // what policies allow without conditions; it outlives the request
	op      *operation // the operation that executes the request
	// used are the Meters of the tables used so far. items and bytes count what was returned, or are -1 if that is not measured.
	used         []*metering.Meter
	items, bytes int
}

// asked is what a request asks of policies, and the memory that this takes.
type asked struct {
	access.Question
	keys conditionKeys
	asks asks
	arn  []byte // of the resource
}

// allowance is an action that policies allow without conditions. Identities and tables are immutable, so their addresses stand for the policies.
type allowance struct {
	id            *policy.Identity
	verified      bool
	table         *catalog.Table
	index, action string
}

// allowed remembers the latest allowances.
type allowed struct {
	list [4]allowance
	next int // the place of the oldest one
}

// add remembers an allowance.
func (l *allowed) add(a allowance) {
	a.index = strings.Clone(a.index) // it is a view of the request
	l.list[l.next] = a
	l.next = (l.next + 1) % len(l.list)
}

// release drops what belongs to the request that has ended.
func (q *asked) release() {
	if q.Call != nil {
		*q = asked{arn: q.arn[:0]}
	}
}

// RequestOf returns the Request of a Call, and creates it on first use.
func RequestOf(call *smithy.Call) *Request {
	if r, ok := call.State.(*Request); ok {
		return r
	}
	r := &Request{Call: call}
	call.State = r
	return r
}

// Release implements smithy.State.
func (r *Request) Release() {
	clear(r.used)
	r.used = r.used[:0]
	r.asked.release()
	r.op, r.Unprojected, r.Coarse, r.Stored = nil, false, false, nil
}
