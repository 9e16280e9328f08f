// Package smithy is the machinery between bytes and typed operations: decoding, constraint checks and dispatch.
//
// It knows AWS's JSON protocol and nothing of DynamoDB. Generated code (package api) brings the shapes, package ops the operations,
// package httpd the bytes. Bind turns a typed function into a Handler; a Handler's Decode turns a body into an input, and its Run checks
// the input and calls the function. A Call carries everything else about one request.
package smithy

import (
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/turns"
	"github.com/statordb/stator/internal/wirejson"
)

// Shape is implemented by generated inputs.
type Shape interface {
	// Read decodes the value at the reader's position. It returns false for null and on error.
	Read(r *wirejson.Reader) bool
	// Check reports violations of the model's constraints to c.
	Check(c *Checker)
}

// Renderer is implemented by generated outputs.
type Renderer interface {
	// AppendJSON appends the value as JSON.
	AppendJSON(dst []byte) []byte
}

// Operation names an operation and ties its input and output types together. It has no behavior.
type Operation[In, Out any] struct {
	Target string // as in X-Amz-Target, e.g. DynamoDB_20120810.PutItem
	// Rules say how AWS reports violations of the model's constraints; nil for the first one alone.
	Rules *Rules
}

// Caller is the sender of a request, as far as the request claims or the signature proves.
type Caller struct {
	Account string // twelve digits
	Region  string // from the credential scope
	// AccessKey is the access key id of the signature.
	AccessKey string
	// Verified says that the signature was verified, so that Account is proved.
	Verified bool
	// Operator says that the caller runs the server: its key is an operator's, or the server has no credentials. A user or session needs
	// policies besides.
	Operator bool
	// Identity is the user or session that the key belongs to; nil for the root of Account.
	Identity *policy.Identity
}

// Origin is where a request came from. Its texts are views of the request.
type Origin interface {
	Address() string // the client's IP address
	Secure() bool    // whether the request came over TLS
	UserAgent() string
	Referer() string
}

// Call is one request on its way through an operation: its decoder, whose arena lives as long as the request, its caller, and what
// layers tell each other about it. Calls are reused: Release resets them.
type Call struct {
	Reader wirejson.Reader
	Caller Caller
	// Host is the server's "host:port" as the client addressed it.
	Host string
	// Origin is where the request came from; nil for the server's own requests.
	Origin Origin

	// Time is when the operation began.
	Time time.Time
	// Operation is the operation's name without its API's: PutItem.
	Operation string
	// Memory bounds what the operation reads for its answer; nil if nothing does.
	Memory Memory
	// Turn keeps a long request from starving short ones; nil if the request takes no turns.
	Turn *turns.Turn
	// State is what the operations' package keeps with the Call, from one request to the next; nil for nothing.
	State State

	check   Checker
	closers []io.Closer
}

// Memory is a budget of bytes that requests share.
type Memory interface {
	// Take reserves more bytes for the request. It returns false if there are too few left. Everything is given back when the request
	// ends.
	Take(bytes int) bool
}

// State is what a package keeps with a Call.
type State interface {
	// Release drops what belongs to the request that has ended.
	Release()
}

// OnRelease closes c once the answer is rendered: outputs may contain views of memory that c owns.
func (c *Call) OnRelease(closer io.Closer) { c.closers = append(c.closers, closer) }

// Release closes what OnRelease was given, and resets the Call for the next request.
func (c *Call) Release() {
	for i, closer := range c.closers {
		// Close only returns memory here; the reads have reported all errors.
		_ = closer.Close()
		c.closers[i] = nil
	}
	c.closers = c.closers[:0]
	if c.State != nil {
		c.State.Release()
	}
	c.Reader.Release()
}

// Handler is an operation ready to be called: decoded body in, answer out. Decode is separate from Run because AWS verifies the
// signature between the two.
type Handler struct {
	Target string // as in X-Amz-Target
	// Service is the name of the operation's API; empty for DynamoDB's.
	Service string
	// Settles makes the answer wait until the other servers have seen what the operation changed, or what it says of a change.
	Settles bool
	// Unsigned means that requests need no signature: something in their body takes its place.
	Unsigned bool
	// Decode decodes the body. Its error is a SerializationException.
	Decode func(call *Call, body []byte) (in any, err *awserr.Error)
	// Run checks and executes a decoded input.
	Run func(ctx context.Context, call *Call, in any) (Renderer, error)
}

// ToEnd returns handlers that complete even if their client has gone. It is for operations of several steps, whose first steps must not
// stand alone.
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

// Invoke runs a handler for a caller with a typed input that wants a typed output, without JSON in between.
func Invoke[In, Out any](ctx context.Context, h *Handler, op Operation[In, Out], call *Call, in *In) (*Out, error) {
	if h.Target != op.Target {
		panic("smithy: the handler of " + h.Target + " can't run " + op.Target)
	}
	out, err := h.Run(ctx, call, in)
	if err != nil {
		return nil, err
	}
	return out.(any).(*Out), nil
}

// Bind makes a Handler of a typed function. A function with the wrong input or output type doesn't compile.
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
			// A null body is no request.
			if PI(in).Read(&call.Reader) && call.Reader.Done() {
				return in, nil
			}
			return nil, decodeError(&call.Reader)
		},
		Run: func(ctx context.Context, call *Call, in any) (Renderer, error) {
			call.Operation = name
			input := in.(*In)
			rules := op.Rules
			if rules != nil && rules.Deep && call.Reader.Deep() {
				rules = older
			}
			call.check.begin()
			PI(input).Check(&call.check)
			if err := call.check.Err(rules); err != nil {
				return nil, err
			}
			out, err := run(ctx, call, input)
			if err != nil {
				return nil, rules.Word(err)
			}
			return PO(out), nil
		},
	}
}

// decodeError maps the reader's error to AWS's. Malformed JSON takes precedence over an earlier mismatch, and has no message.
func decodeError(r *wirejson.Reader) *awserr.Error {
	err := r.Err()
	if err == nil || err.Malformed || !r.Valid() {
		return awserr.New(awserr.Serialization, "")
	}
	return awserr.New(awserr.Serialization, err.Message)
}

// Missing returns the targets of a model's operations that have no handler.
func Missing(targets []string, have []Handler) (out []string) {
	for _, target := range targets {
		if !slices.ContainsFunc(have, func(h Handler) bool { return h.Target == target }) {
			out = append(out, target)
		}
	}
	return out
}

// AppendRequestID appends a random request id in DynamoDB's form: 52 letters and digits.
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
