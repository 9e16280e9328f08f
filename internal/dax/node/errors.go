package node

import (
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// notImplemented is the code for methods that DAX has and this server lacks.
const notImplemented awserr.Code = "NotImplementedException"

// sequences are the code sequences from which DAX clients build their exceptions.
var sequences = map[awserr.Code][]int64{
	awserr.ThroughputExceededCode:      {4, 37, 38, 39, 40},
	awserr.ResourceNotFound:            {4, 37, 38, 39, 41},
	awserr.ConditionalCheckFailed:      {4, 37, 38, 39, 43},
	awserr.ResourceInUse:               {4, 37, 38, 39, 45},
	awserr.Validation:                  {4, 37, 38, 39, 46},
	awserr.Serialization:               {4, 37, 38, 39, 46},
	awserr.RequestEntityTooLarge:       {4, 37, 38, 39, 46},
	awserr.InternalServerError:         {4, 37, 38, 39, 47},
	awserr.LimitExceeded:               {4, 37, 38, 39, 49},
	awserr.Throttling:                  {4, 37, 38, 39, 50},
	awserr.TransactionConflict:         {4, 37, 38, 39, 57},
	awserr.TransactionCanceled:         {4, 37, 38, 39, 58},
	awserr.TransactionInProgress:       {4, 37, 38, 39, 59},
	awserr.IdempotentParameterMismatch: {4, 37, 38, 39, 60},
	awserr.RequestLimitExceeded:        {4, 37, 38, 39, 61},
	awserr.ServiceUnavailable:          {1, 37, 38, 53},
	awserr.UnrecognizedClient:          {4, 23, 31, 32},
	awserr.IncompleteSignature:         {4, 23, 31, 32},
	awserr.MissingAuthenticationToken:  {4, 23, 31, 33},
	awserr.InvalidSignature:            {4, 23, 31, 33},
	awserr.AccessDenied:                {4, 37, 38, 42},
	notImplemented:                     {4, 37, 38, 44},
}

// unknownSequence serves all other errors; clients tell them apart by name.
var unknownSequence = []int64{4, 37, 38, 39}

// malformed is the error for bytes that are no request. It ends the connection, since the next request can't be found.
func malformed() *awserr.Error {
	return awserr.New(awserr.Validation, "The request is malformed")
}

// noSchema is the sequence for a missing table in a request for its key schema.
var noSchema = []int64{4, 23, 24}

// wireError is an error of the database, with DAX's additions.
type wireError struct {
	err     *awserr.Error
	codes   []int64 // nil for the usual ones of the error's code
	reasons []byte  // cancellation reasons of a transaction, in CBOR; nil if there are none
}

// Error implements error.
func (e *wireError) Error() string { return e.err.Error() }

// Unwrap returns the database's error.
func (e *wireError) Unwrap() error { return e.err }

// appendError appends an error answer. more holds DAX's additions, or is nil.
func appendError(dst []byte, err *awserr.Error, more *wireError) []byte {
	codes, reasons := sequences[err.Code], []byte(nil)
	if codes == nil {
		codes = unknownSequence
	}
	if more != nil {
		reasons = more.reasons
		if more.codes != nil {
			codes = more.codes
		}
	}
	dst = wire.AppendArray(dst, len(codes))
	for _, code := range codes {
		dst = wire.AppendInt(dst, code)
	}
	dst = wire.AppendText(dst, err.Message)
	n := 3
	if reasons != nil {
		n++
	}
	dst = wire.AppendArray(dst, n)
	var id [52]byte
	dst = wire.AppendText(dst, string(smithy.AppendRequestID(id[:0])))
	dst = wire.AppendText(dst, string(err.Code))
	dst = wire.AppendInt(dst, int64(err.Status()))
	return append(dst, reasons...)
}

// canceled adds cancellation reasons in DAX's encoding. tables are those of the transaction's items, in order.
func (c *conn) canceled(err *awserr.Error, tables []*table) error {
	out := wire.AppendArray(nil, 3*len(err.Reasons))
	for i, r := range err.Reasons {
		out = wire.AppendText(out, r.Code)
		if r.Message == "" {
			out = wire.AppendNull(out)
		} else {
			out = wire.AppendText(out, r.Message)
		}
		if len(r.Item) == 0 {
			out = wire.AppendNull(out)
			continue
		}
		var json wirejson.Reader
		json.Reset(r.Item)
		var failed error
		if out, failed = c.appendItem(out, tables[i], attribute.ReadItem(&json)); failed != nil {
			return failed
		}
	}
	return &wireError{err: err, reasons: out}
}
