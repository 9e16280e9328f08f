// Package audit records requests as events in CloudTrail's format, one line of JSON each.
//
// An event never holds data of items or secrets: operations.txt lists, operation by operation, the members of requests and answers that it
// may show. Management events are always recorded, data events if a selector takes them.
//
//	event.go        the record
//	operations.go   the operations, and the members that events show
//	render.go       the shown part of a request
//	selectors.go    which data events are recorded
//	log.go          the queue, and the file
//	record.go       from a request to its event
//
// Sources: "CloudTrail record contents for management, data, and network activity events", "CloudTrail userIdentity element", "Understanding
// DynamoDB log file entries".
package audit

import (
	"crypto/tls"
	"strings"
	"time"

	"github.com/statordb/stator/internal/access/policy"
)

// eventVersion is the version of the record's format.
const eventVersion = "1.11"

// Event is a CloudTrail record.
type Event struct {
	EventVersion        string         `json:"eventVersion"`
	UserIdentity        Identity       `json:"userIdentity"`
	EventTime           string         `json:"eventTime"` // when the request was completed, in UTC, to the second
	EventSource         string         `json:"eventSource"`
	EventName           string         `json:"eventName"`
	AWSRegion           string         `json:"awsRegion"`
	SourceIPAddress     string         `json:"sourceIPAddress"`
	UserAgent           string         `json:"userAgent"`
	ErrorCode           string         `json:"errorCode,omitempty"`
	ErrorMessage        string         `json:"errorMessage,omitempty"`
	RequestParameters   map[string]any `json:"requestParameters"`
	ResponseElements    map[string]any `json:"responseElements"`
	AdditionalEventData map[string]any `json:"additionalEventData,omitempty"`
	RequestID           string         `json:"requestID"`
	EventID             string         `json:"eventID"` // a UUID
	ReadOnly            bool           `json:"readOnly"`
	Resources           []Resource     `json:"resources,omitempty"`
	EventType           string         `json:"eventType"`
	APIVersion          string         `json:"apiVersion,omitempty"`
	ManagementEvent     bool           `json:"managementEvent"`
	RecipientAccountID  string         `json:"recipientAccountId,omitempty"`
	EventCategory       string         `json:"eventCategory"`
	TLSDetails          *TLS           `json:"tlsDetails,omitempty"`
}

// Resource is what an event's request used.
type Resource struct {
	AccountID string `json:"accountId,omitempty"`
	Type      string `json:"type"`
	ARN       string `json:"ARN"`
}

// TLS describes the connection that a request came over.
type TLS struct {
	Version string `json:"tlsVersion"`
	Cipher  string `json:"cipherSuite"`
	Host    string `json:"clientProvidedHostHeader,omitempty"`
}

// newTLS returns the description of a connection; nil without TLS.
func newTLS(state *tls.ConnectionState, host string) *TLS {
	if state == nil {
		return nil
	}
	// Go says TLS 1.3 where CloudTrail says TLSv1.3.
	return &TLS{Version: strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1), Cipher: tls.CipherSuiteName(state.CipherSuite), Host: host}
}

// Identity is the sender of a request.
type Identity struct {
	// Type is Root, IAMUser, AssumedRole, FederatedUser, WebIdentityUser, or Unknown for a sender that has proved nothing.
	Type           string   `json:"type"`
	PrincipalID    string   `json:"principalId,omitempty"`
	ARN            string   `json:"arn,omitempty"`
	AccountID      string   `json:"accountId,omitempty"`
	AccessKeyID    string   `json:"accessKeyId,omitempty"`
	UserName       string   `json:"userName,omitempty"`
	SessionContext *Session `json:"sessionContext,omitempty"`
}

// Session describes a sender's temporary credentials.
type Session struct {
	Issuer      *Issuer           `json:"sessionIssuer,omitempty"`
	WebIdentity *WebIdentity      `json:"webIdFederationData,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`
}

// Issuer is the role whose session it is.
type Issuer struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId,omitempty"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	UserName    string `json:"userName"`
}

// WebIdentity says by which provider the role was assumed.
type WebIdentity struct {
	Provider string `json:"federatedProvider"`
}

// Root returns the identity of an account's long-term key.
func Root(account, accessKey string) Identity {
	return Identity{Type: "Root", PrincipalID: account, ARN: "arn:aws:iam::" + account + ":root", AccountID: account, AccessKeyID: accessKey}
}

// Unknown returns the identity of a sender that only claims an access key: its signature was refused, or the server verifies none. account is
// the one in whose name the request acts; empty if it doesn't.
func Unknown(account, accessKey string) Identity {
	return Identity{Type: "Unknown", AccountID: account, AccessKeyID: accessKey}
}

// Of returns the identity of a principal of IAM that has signed with a key.
func Of(id *policy.Identity, accessKey string) Identity {
	out := Identity{PrincipalID: id.UserID, ARN: id.ARN, AccountID: id.Account, AccessKeyID: accessKey, UserName: id.UserName}
	switch id.Type {
	case "Account":
		return Root(id.Account, accessKey)
	case "User":
		out.Type = "IAMUser"
	default: // AssumedRole and FederatedUser have the same name here
		out.Type = id.Type
	}
	if id.Issued.IsZero() {
		return out
	}
	out.SessionContext = &Session{Attributes: map[string]string{"creationDate": timestamp(id.Issued), "mfaAuthenticated": "false"}}
	if id.Role != "" {
		role, _, _ := strings.Cut(id.UserID, ":")
		out.SessionContext.Issuer = &Issuer{
			Type: "Role", PrincipalID: role, ARN: id.Role, AccountID: id.Account, UserName: id.Role[strings.LastIndexByte(id.Role, '/')+1:],
		}
	}
	if id.Federated != "" {
		out.SessionContext.WebIdentity = &WebIdentity{Provider: id.Federated}
	}
	return out
}

// timestamp formats a time as CloudTrail does.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
