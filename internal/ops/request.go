package ops

import (
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy"
)

// Request is a request to DynamoDB on its way through an operation. It lives as long as its Call, which front ends use for one request
// after the other.
type Request struct {
	*smithy.Call
	// Unprojected says that reads return whole items or index entries, because the caller applies the projection itself.
	Unprojected bool
	// Stored is the item that an UpdateItem has stored, in its binary form. It is valid until the Call's Release.
	Stored []byte

	op *operation // that executes the request
	// used are the Meters of the tables that the request has used. items and bytes are what it returned if that is counted, else -1.
	used         []*metering.Meter
	items, bytes int
}

// RequestOf returns the Request of a Call.
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
	r.op, r.Unprojected, r.Stored = nil, false, nil
}
