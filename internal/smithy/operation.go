// Package smithy is the machinery between bytes and typed operations: constraint checks, codecs and dispatch.
//
// It knows AWS's JSON protocol and nothing of DynamoDB. Generated code (package api) brings the shapes, package ops the
// operations, package httpd the bytes.
package smithy

import (
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/turns"
	"github.com/statordb/stator/internal/wirejson"
)

// Shape is what generated inputs implement.
type Shape interface {
	// Read decodes the value at the reader's position; false for null and on error.
	Read(r *wirejson.Reader) bool
	// Check finds what violates the model's constraints.
	Check(c *Checker)
}

// Renderer is what generated outputs implement.
type Renderer interface {
	// AppendJSON appends the value as JSON.
	AppendJSON(dst []byte) []byte
}

// Operation names an operation and ties its shapes together. It carries no behaviour.
type Operation[In, Out any] struct {
	Target string // as in X-Amz-Target, e.g. DynamoDB_20120810.PutItem
}

// Caller is who sent a request, as far as the request itself says or the signature proves.
type Caller struct {
	Account string // twelve digits
	Region  string // from the credential scope
	// AccessKey is the access key id of the signature.
	AccessKey string
	// Verified says that the signature was verified, so that Account is proved.
	Verified bool
	// Operator says that the caller runs the server: its key is an operator's, or the server has no credentials.
	Operator bool
}

// Call is one request on its way through an operation: its decoder, whose arena lives as long as the request, and who sent
// it.
type Call struct {
	Reader wirejson.Reader
	Caller Caller
	// Host is the server's own address, "host:port", as the client named it.
	Host string

	// Time is when the operation began.
	Time time.Time
	// Operation is the operation's name, without that of its API.
	Operation string
	// Memory counts what the operation reads to answer it; nil if nothing bounds that.
	Memory Memory
	// Turn is the request's; nil if it needs none.
	Turn *turns.Turn
	// State is what the package of the operations keeps with the Call, from one request to the next; nil for nothing.
	State State

	check   Checker
	closers []io.Closer
}

// Memory is a bound of bytes that requests share.
type Memory interface {
	// Take counts bytes more for the request, and returns false if there is no room for them. The request gives all of them back
	// when it ends.
	Take(bytes int) bool
}

// State is what a package keeps with a Call.
type State interface {
	// Release drops what belongs to the request, which has ended.
	Release()
}

// OnRelease closes c once the answer is rendered: outputs may have views of what c keeps.
func (c *Call) OnRelease(closer io.Closer) { c.closers = append(c.closers, closer) }

// Release closes what OnRelease was given.
func (c *Call) Release() {
	for i, closer := range c.closers {
		// Readers only give memory back here; their errors came with the reads.
		_ = closer.Close()
		c.closers[i] = nil
	}
	c.closers = c.closers[:0]
	if c.State != nil {
		c.State.Release()
	}
	c.Reader.Release()
}

// Handler is an operation ready to be called: decoded body in, answer out. Decode is separate from Run because AWS looks at the
// signature between the two.
type Handler struct {
	Target string // as in X-Amz-Target
	// Service is the name of the operation's API; empty for DynamoDB's.
	Service string
	// Settles says that the answer waits until other servers have seen what the operation changed, or what it tells of a change.
	Settles bool
	// Decode reads the body. Its error is a SerializationException.
	Decode func(call *Call, body []byte) (in any, err *awserr.Error)
	// Run checks and executes the decoded input.
	Run func(ctx context.Context, call *Call, in any) (Renderer, error)
}

// ToEnd returns handlers whose operations run to their end though their client has gone: those with several steps, whose first
// ones are not to stand alone.
func ToEnd(handlers []Handler) []Handler {
	out := slices.Clone(handlers)
	for i := range out {
		run := out[i].Run
		out[i].Run = func(ctx context.Context, call *Call, in any) (Renderer, error) {
			return run(context.WithoutCancel(ctx), call, in)
		}
	}
	return out
}

// Invoke runs the handler of an operation for those who have its input and want its output, and neither of them as JSON.
func Invoke[In, Out any](ctx context.Context, h *Handler, op Operation[In, Out], call *Call, in *In) (*Out, error) {
	if h.Target != op.Target {
		panic("smithy: the handler of " + h.Target + " was to run " + op.Target)
	}
	out, err := h.Run(ctx, call, in)
	if err != nil {
		return nil, err
	}
	return out.(any).(*Out), nil
}

// Bind makes a Handler of a typed function. A wrong input or output type does not compile.
func Bind[In, Out any, PI interface {
	*In
	Shape
}, PO interface {
	*Out
	Renderer
}](op Operation[In, Out], run func(ctx context.Context, call *Call, in *In) (*Out, error)) Handler {
	_, name, _ := strings.Cut(op.Target, ".")
	return Handler{
		Target: op.Target,
		Decode: func(call *Call, body []byte) (any, *awserr.Error) {
			in := new(In)
			call.Reader.Reset(body)
			// A body that is null is no request.
			if PI(in).Read(&call.Reader) && call.Reader.Done() {
				return in, nil
			}
			return nil, decodeError(&call.Reader)
		},
		Run: func(ctx context.Context, call *Call, in any) (Renderer, error) {
			call.Operation = name
			input := in.(*In)
			call.check = Checker{path: call.check.path[:0]}
			PI(input).Check(&call.check)
			if err := call.check.Err(); err != nil {
				return nil, err
			}
			out, err := run(ctx, call, input)
			if err != nil {
				return nil, err
			}
			return PO(out), nil
		},
	}
}

// decodeError turns the reader's error into AWS's: malformed JSON has no message, and wins over a mismatch before it.
func decodeError(r *wirejson.Reader) *awserr.Error {
	err := r.Err()
	if err == nil || err.Malformed || !r.Valid() {
		return awserr.New(awserr.Serialization, "")
	}
	return awserr.New(awserr.Serialization, err.Message)
}

// Missing returns the targets of a model's operations that no handler has.
func Missing(targets []string, have []Handler) (out []string) {
	for _, target := range targets {
		if !slices.ContainsFunc(have, func(h Handler) bool { return h.Target == target }) {
			out = append(out, target)
		}
	}
	return out
}

// AppendRequestID appends an id that looks like DynamoDB's: 52 letters and digits.
func AppendRequestID(dst []byte) []byte {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
	for end := len(dst) + 52; len(dst) < end; {
		for bits, n := rand.Uint64(), 0; n < 12 && len(dst) < end; n++ {
			dst = append(dst, alphabet[bits&31])
			bits >>= 5
		}
	}
	return dst
}
