package audit

import (
	"crypto/tls"
	"encoding/json"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/statordb/stator/internal/partiql"
)

// Request is a request that has ended, with whatever outcome. The texts and bytes are only read during the call of Record.
type Request struct {
	// Target is the operation, as in X-Amz-Target.
	Target string
	Sender Identity
	Region string
	// Body is the request in JSON, nil without one. It is nil also for a request whose signature was refused: nothing is done for a
	// stranger. Answer is the answer in JSON, nil without one.
	Body, Answer []byte
	// Tables are the names or ARNs of the tables of a request that has no JSON. Its event shows only them.
	Tables []string
	// Protocol is the request's protocol if it isn't HTTP.
	Protocol string
	// ErrorCode and ErrorMessage are empty for a request that succeeded.
	ErrorCode, ErrorMessage string
	ID                      string
	// SourceIP is the address of the other end of the connection.
	SourceIP, UserAgent, Host string
	// TLS returns the state of the connection, or nil without TLS. It is called only for events that are recorded. nil means no TLS.
	TLS func() *tls.ConnectionState
}

const (
	// maxText bounds userAgent and errorMessage in bytes ("CloudTrail record contents …").
	maxText = 1 << 10
	// maxResources bounds the resources of an event, maxName the texts that name them in bytes: no ARN of AWS is longer.
	maxResources = 100
	maxName      = 2 << 10
)

// Wants reports whether events of an operation may be recorded. It is cheap: callers that would have to collect a Request ask it first.
func (l *Log) Wants(target string) bool {
	if l == nil {
		return false
	}
	op := operations()[target]
	return op == nil || op.resource == "" || len(l.candidates[op]) > 0
}

// Record records a request, unless it is a data event that no selector takes. With Block, it waits while the queue is full.
func (l *Log) Record(r *Request) {
	if l == nil {
		return
	}
	op := operations()[r.Target]
	if op == nil {
		op = unlisted(r.Target)
	}
	var resources []Resource
	if op.resource != "" {
		candidates := l.candidates[op]
		if len(candidates) == 0 {
			return
		}
		resources = l.resources(op, r)
		if !slices.ContainsFunc(candidates, func(s *selector) bool { return s.takes(r.Sender.ARN, resources) }) {
			return
		}
	}
	line, err := json.Marshal(l.event(op, r, resources))
	if err != nil { // an Event holds nothing that JSON can't
		l.opt.Logger.Error("cannot render an event of the audit log", "operation", r.Target, "error", err)
		return
	}
	l.add(append(line, '\n'))
}

// quotes are the errors whose messages quote values of the request, which in a data event are data of items.
var quotes = map[string]bool{"ValidationException": true, "SerializationException": true}

// event returns the event of a request.
func (l *Log) event(op *operation, r *Request, resources []Resource) *Event {
	e := &Event{
		EventVersion: eventVersion, UserIdentity: r.Sender, EventTime: timestamp(l.opt.Now()), EventSource: op.source, EventName: op.name,
		AWSRegion: r.Region, SourceIPAddress: r.SourceIP, UserAgent: short(r.UserAgent), ErrorCode: r.ErrorCode, ErrorMessage: short(r.ErrorMessage),
		RequestID: r.ID, EventID: uuid.NewString(), ReadOnly: !op.write, Resources: resources, EventType: "AwsApiCall", APIVersion: op.version,
		ManagementEvent: op.resource == "", RecipientAccountID: r.Sender.AccountID, EventCategory: "Management",
	}
	if op.resource != "" {
		e.EventCategory = "Data"
		if quotes[r.ErrorCode] {
			e.ErrorMessage = hidden
		}
	}
	if r.TLS != nil {
		e.TLSDetails = newTLS(r.TLS(), short(r.Host))
	}
	keyOf := func(table string) []string {
		_, key := l.opt.Table(r.Sender.AccountID, r.Region, table)
		return key
	}
	var omitted []string
	show := func(what string, raw []byte, shown members) map[string]any {
		if len(shown) == 0 || len(raw) == 0 {
			return nil
		}
		out, err := (&renderer{left: maxShown, keyOf: keyOf}).structure(raw, shown)
		if err != nil {
			omitted = append(omitted, what+": "+err.Error())
			return nil
		}
		return out
	}
	e.RequestParameters = show("requestParameters", r.Body, op.request)
	if r.ErrorCode == "" {
		e.ResponseElements = show("responseElements", r.Answer, op.answer)
	}
	e.AdditionalEventData = map[string]any{}
	if omitted != nil {
		e.AdditionalEventData["omitted"] = omitted
	}
	if r.Protocol != "" {
		e.AdditionalEventData["protocol"] = r.Protocol
	}
	switch len(r.Tables) {
	case 0:
	case 1:
		e.RequestParameters = map[string]any{"tableName": r.Tables[0]}
	default:
		list := make([]map[string]string, len(r.Tables))
		for i, table := range r.Tables {
			list[i] = map[string]string{"tableName": table}
		}
		e.RequestParameters = map[string]any{"requestItems": list}
	}
	return e
}

// short cuts a text to maxText bytes.
func short(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "")
}

// resources returns what a data event's request used, as far as its body says.
func (l *Log) resources(op *operation, r *Request) (out []Resource) {
	seen := map[string]bool{}
	add := func(arn string) {
		if arn != "" && len(arn) <= maxName && !seen[arn] && len(out) < maxResources {
			seen[arn] = true
			out = append(out, Resource{AccountID: accountOf(arn), Type: op.resource, ARN: strings.Clone(arn)})
		}
	}
	// A malformed body has been refused. What it names until there counts.
	switch op.resource {
	case "AWS::DynamoDB::Table":
		table := func(given string) {
			if given != "" && len(given) <= maxName {
				arn, _ := l.opt.Table(r.Sender.AccountID, r.Region, given)
				add(arn)
			}
		}
		_ = tables(op, r.Body, table)
		for _, given := range r.Tables {
			table(given)
		}
	case "AWS::DynamoDB::Stream":
		if arn, err := stringMember(r.Body, "StreamArn"); err == nil {
			add(arn)
		} else if iterator, err := stringMember(r.Body, "ShardIterator"); err == nil {
			if arn, _, ok := strings.Cut(iterator, "|"); ok {
				add(arn)
			}
		}
	}
	return out
}

// tables calls f with each table that a request names.
func tables(op *operation, body []byte, f func(given string)) error {
	if len(body) == 0 {
		return nil
	}
	statementOf := func(raw []byte) {
		if text, ok := textOf(raw); ok {
			_, table := partiql.Redact(text)
			f(table)
		}
	}
	return fields(body, func(name string, value []byte) error {
		switch m, listed := op.request[name]; {
		case !listed:
		case name == "TableName":
			if text, ok := textOf(value); ok {
				f(text)
			}
		case m.form == statement:
			statementOf(value)
		case m.form == gets, m.form == writes:
			return fields(value, func(table string, _ []byte) error {
				f(table)
				return nil
			})
		case m.form == statements:
			return elements(value, func(raw []byte) error {
				text, err := memberOf(raw, "Statement")
				if err == nil {
					statementOf(text)
				}
				return err
			})
		case m.form == transact:
			return elements(value, func(raw []byte) error {
				return fields(raw, func(_ string, action []byte) error {
					text, err := stringMember(action, "TableName")
					if err == nil {
						f(text)
					}
					return nil
				})
			})
		}
		return nil
	})
}

// accountOf returns the account in an Amazon Resource Name.
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}
