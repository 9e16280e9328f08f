// Package awserr has the one error type that clients see, the table of its codes, and the catalog of AWS's sentences.
//
// Any error that isn't an *Error becomes InternalServerError in one place per front end (httpd, dax), and is logged there. Code decides
// by an error's Code, never by its message.
package awserr

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/statordb/stator/internal/wirejson"
)

// Code is the name of an exception, as in __type after the '#'.
type Code string

// The codes that Stator uses.
const (
	AccessDenied                Code = "AccessDeniedException"
	BackupInUse                 Code = "BackupInUseException"
	BackupNotFound              Code = "BackupNotFoundException"
	BackupsUnavailable          Code = "ContinuousBackupsUnavailableException"
	ConditionalCheckFailed      Code = "ConditionalCheckFailedException"
	DuplicateItem               Code = "DuplicateItemException"
	ExpiredIterator             Code = "ExpiredIteratorException"
	ExportConflict              Code = "ExportConflictException"
	ExportNotFound              Code = "ExportNotFoundException"
	IdempotentParameterMismatch Code = "IdempotentParameterMismatchException"
	ImportConflict              Code = "ImportConflictException"
	ImportNotFound              Code = "ImportNotFoundException"
	IncompleteSignature         Code = "IncompleteSignatureException"
	InternalFailure             Code = "InternalFailure"
	InternalServerError         Code = "InternalServerError"
	InvalidExportTime           Code = "InvalidExportTimeException"
	InvalidRestoreTime          Code = "InvalidRestoreTimeException"
	InvalidSignature            Code = "InvalidSignatureException"
	LimitExceeded               Code = "LimitExceededException"
	MissingAuthenticationToken  Code = "MissingAuthenticationTokenException"
	ThroughputExceededCode      Code = "ProvisionedThroughputExceededException"
	PointInTimeUnavailable      Code = "PointInTimeRecoveryUnavailableException"
	PolicyNotFound              Code = "PolicyNotFoundException"
	RequestLimitExceeded        Code = "RequestLimitExceeded"
	ResourceInUse               Code = "ResourceInUseException"
	ResourceNotFound            Code = "ResourceNotFoundException"
	RequestEntityTooLarge       Code = "RequestEntityTooLargeException"
	Serialization               Code = "SerializationException"
	TableAlreadyExists          Code = "TableAlreadyExistsException"
	TableInUse                  Code = "TableInUseException"
	TableNotFoundCode           Code = "TableNotFoundException"
	Throttling                  Code = "ThrottlingException"
	TransactionCanceled         Code = "TransactionCanceledException"
	TransactionConflict         Code = "TransactionConflictException"
	TransactionInProgress       Code = "TransactionInProgressException"
	TrimmedDataAccess           Code = "TrimmedDataAccessException"
	UnknownOperation            Code = "UnknownOperationException"
	UnrecognizedClient          Code = "UnrecognizedClientException"
	Validation                  Code = "ValidationException"
	ServiceUnavailable          Code = "ServiceUnavailable"
)

const (
	namespaceDynamoDB = "com.amazonaws.dynamodb.v20120810#"
	namespaceValidate = "com.amazon.coral.validate#"
	namespaceService  = "com.amazon.coral.service#"

	namespaceAvailability = "com.amazon.coral.availability#"
)

// wire is how a code differs from the default: status 400, in the API's own namespace, with its message in a member "message".
type wire struct {
	namespace string
	status    int
	field     string
	// withMembers is the message's member if the answer has further members; empty for the same.
	withMembers string
}

// codes are the codes that differ from the default.
var codes = map[Code]wire{
	Validation:                  {namespace: namespaceValidate},
	Serialization:               {namespace: namespaceService, field: "Message"},
	UnknownOperation:            {namespace: namespaceService},
	AccessDenied:                {namespace: namespaceService, field: "Message"},
	MissingAuthenticationToken:  {namespace: namespaceService},
	UnrecognizedClient:          {namespace: namespaceService},
	InvalidSignature:            {namespace: namespaceService},
	IncompleteSignature:         {namespace: namespaceService},
	Throttling:                  {namespace: namespaceAvailability},
	RequestEntityTooLarge:       {namespace: namespaceService, status: 413},
	ConditionalCheckFailed:      {withMembers: "Message"}, // recorded by AWS: with an Item, it is Message
	TransactionCanceled:         {field: "Message"},
	TransactionInProgress:       {field: "Message"},
	IdempotentParameterMismatch: {field: "Message"},
	InternalFailure:             {namespace: namespaceService, status: 500},
	InternalServerError:         {status: 500},
	ServiceUnavailable:          {status: 503},
}

// Error is an error for a client.
type Error struct {
	Code    Code
	Message string // exactly as AWS prints it
	Fields  []byte // further members of the answer as JSON, e.g. `"Item":{…}`; may be empty
	// Reasons are a canceled transaction's. Fields has them too, as JSON.
	Reasons []Reason
	// Whole errors of one of a transaction's actions are the transaction's own, instead of reasons of its cancellation.
	Whole bool
	class Class
	cause error // logged, never sent
}

// Class says where AWS finds an error, as far as its wording depends on that. It is a set of bits.
type Class uint8

const (
	// Request is of errors that AWS's request validator finds in the request alone: in expressions, legacy conditions, values and
	// ReturnValues.
	Request Class = 1 << iota
	// Selection is of errors in the choice of attributes by Select.
	Selection
)

// In returns the error, which is new, with a class.
func (e *Error) In(c Class) *Error {
	e.class = c
	return e
}

// Of reports whether the error is of one of the classes.
func (e *Error) Of(classes Class) bool { return e.class&classes != 0 }

// Worded returns a copy of the error with another message, and without a class.
func (e *Error) Worded(message string) *Error {
	out := *e
	out.class, out.Message = 0, message
	return &out
}

// New returns an error with AWS's message.
func New(code Code, message string) *Error { return &Error{Code: code, Message: message} }

// Internal returns the InternalServerError that stands for cause.
func Internal(cause error) *Error {
	return &Error{Code: InternalServerError, Message: "The request processing has failed because of an unknown error, exception or failure.", cause: cause}
}

// Panicked returns the InternalServerError for a panic. p is the value that recover returned; the cause includes the stack of the calling
// goroutine.
func Panicked(p any) *Error { return Internal(fmt.Errorf("panic: %v\n%s", p, debug.Stack())) }

// Error implements error.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap returns the cause, which is never sent to the client.
func (e *Error) Unwrap() error { return e.cause }

// Status returns the HTTP status.
func (e *Error) Status() int {
	if s := codes[e.Code].status; s != 0 {
		return s
	}
	return 400
}

// Throttled reports whether the error asks the client to retry later.
func (e *Error) Throttled() bool {
	return e.Code == ThroughputExceededCode || e.Code == Throttling || e.Code == RequestLimitExceeded
}

// AppendJSON appends the body of DynamoDB's answer.
func (e *Error) AppendJSON(dst []byte) []byte { return e.AppendJSONOf(namespaceDynamoDB, dst) }

// AppendJSONOf appends the body of an answer of the API with a namespace, e.g. "com.amazonaws.dynamodb.v20120810#".
func (e *Error) AppendJSONOf(namespace string, dst []byte) []byte {
	w := codes[e.Code]
	if w.namespace == "" || namespace != namespaceDynamoDB {
		w.namespace = namespace
	}
	if len(e.Fields) > 0 {
		w.field = cmp.Or(w.withMembers, w.field)
	}
	if w.field == "" {
		w.field = "message"
	}
	// A message may quote a client's value of several megabytes: allocate once.
	dst = slices.Grow(dst, len(w.namespace)+len(e.Code)+len(e.Message)+len(e.Fields)+64)
	dst = append(dst, `{"__type":"`...)
	dst = append(dst, w.namespace...)
	dst = append(dst, e.Code...)
	dst = append(dst, '"')
	if e.Message != "" {
		dst = append(dst, `,"`...)
		dst = append(dst, w.field...)
		dst = append(dst, `":`...)
		dst = wirejson.AppendString(dst, e.Message)
	}
	if len(e.Fields) > 0 {
		dst = append(dst, ',')
		dst = append(dst, e.Fields...)
	}
	return append(dst, '}')
}
