package ops

import (
	"context"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// sharedNamespace has all tables with SharedNamespace.
var sharedNamespace = catalog.Namespace{Account: "000000000000", Region: "us-east-1"}

// namespace returns where the tables are that a caller names without an ARN.
func (s *Service) namespace(caller smithy.Caller) catalog.Namespace {
	if s.SharedNamespace {
		return sharedNamespace
	}
	return catalog.Namespace{Account: caller.Account, Region: caller.Region}
}

// kind says what a resource is.
type kind uint8

const (
	kindTable kind = iota
	kindIndex
	kindStream
	kindBackup
	kindExport
	kindImport
	kindBulk
	// anyKind is what a request expects where any resource may stand: a list's filter, or the place where a page begins. A text that is no
	// ARN names nothing there.
	anyKind
)

// arnTypes are the words behind a table's name in ARNs.
var arnTypes = [...]string{kindTable: "", kindIndex: "index", kindStream: "stream", kindBackup: "backup", kindExport: "export", kindImport: "import"}

const bulkPrefix = "bulk-operation/"

// resource is what a request names: a table, or what belongs to one. It need not exist.
type resource struct {
	catalog.Namespace
	kind  kind
	table string // empty for a bulk operation
	name  string // an index's; a stream's label; the id of a backup, export, import or bulk operation
}

// ARN returns the Amazon Resource Name under which Stator knows the resource.
func (r resource) ARN() string {
	switch r.kind {
	case kindTable:
		return catalog.ARN(r.Namespace, r.table)
	case kindBulk:
		return "arn:aws:dynamodb:" + r.Region + ":" + r.Account + ":" + bulkPrefix + r.name
	}
	return catalog.ARN(r.Namespace, r.table) + "/" + arnTypes[r.kind] + "/" + r.name
}

// id returns the key of the resource's record.
func (r resource) id() registry.ID {
	return registry.ID{Account: r.Account, Region: r.Region, Name: r.name}
}

// parseARN reads the ARN of a resource, "arn:partition:dynamodb:region:account:table/name/type/name"; ok is false for any other text.
func parseARN(text string) (r resource, ok bool) {
	rest, ok := strings.CutPrefix(text, "arn:")
	if !ok {
		return r, false
	}
	_, rest, _ = strings.Cut(rest, ":")
	service, rest, _ := strings.Cut(rest, ":")
	r.Region, rest, _ = strings.Cut(rest, ":")
	r.Account, rest, ok = strings.Cut(rest, ":")
	if !ok || service != "dynamodb" {
		return r, false
	}
	if id, ok := strings.CutPrefix(rest, bulkPrefix); ok {
		r.kind, r.name = kindBulk, id
		return r, true
	}
	rest, ok = strings.CutPrefix(rest, "table/")
	if !ok {
		return r, false
	}
	r.table, rest, _ = strings.Cut(rest, "/")
	word, name, _ := strings.Cut(rest, "/")
	if i := slices.Index(arnTypes[1:], word); i >= 0 {
		r.kind, r.name = kindIndex+kind(i), name
	}
	return r, true
}

// reference is how a request names a resource.
type reference struct {
	action string // the IAM action that the request takes on the resource, e.g. dynamodb:GetItem
	kind   kind   // what it has to be
	given  string // the ARN, or a table's name
	index  string // of the table; empty for the table itself
}

// table refers to a table, for the action of the request's operation.
func (r *Request) table(given string) reference {
	return reference{action: r.op.actions[0], kind: kindTable, given: given}
}

// index refers to a table's index, for the action of the request's operation.
func (r *Request) index(table, index string) reference {
	return reference{action: r.op.actions[0], kind: kindTable, given: table, index: index}
}

// resource refers to a resource by its ARN, for the action of the request's operation.
func (r *Request) resource(want kind, arn string) reference {
	return reference{action: r.op.actions[0], kind: want, given: arn}
}

// resolve returns the resource that a request names, if the caller may take the action on it. It is the only way from a request to a
// resource. A name means a table of the caller's account, an ARN has the account in it; with SharedNamespace, both mean the shared
// namespace. Permission comes first, so that a refusal doesn't tell whether another account has the resource.
func (s *Service) resolve(caller smithy.Caller, want reference) (resource, error) {
	r, isARN := parseARN(want.given)
	if !isARN {
		r = resource{Namespace: s.namespace(caller), table: want.given}
	} else if s.SharedNamespace {
		r.Namespace = sharedNamespace
	}
	if want.kind == kindTable && r.kind != kindBulk { // any ARN of what belongs to a table names the table
		r.kind, r.name = kindTable, ""
		if want.index != "" {
			r.kind, r.name = kindIndex, want.index
		}
	}
	if isARN || want.kind == kindTable {
		if err := s.authorize(caller, want.action, r); err != nil {
			return r, err
		}
	}
	switch {
	case want.kind == kindTable:
		return r, checkTableName(r.table)
	case want.kind == anyKind && !isARN:
		return resource{}, nil
	case want.kind != anyKind && r.kind != want.kind:
		return r, notNamed(want.kind, want.given)
	}
	return r, nil
}

// authorize returns AWS's refusal if the caller may not take the action on the resource.
func (s *Service) authorize(caller smithy.Caller, action string, r resource) error {
	if s.SharedNamespace { // its tables are every caller's
		caller.Account = sharedNamespace.Account
	}
	if err := access.AuthorizeOwned(caller, action, r.Account, r.ARN); err != nil {
		return err
	}
	return nil
}

func checkTableName(name string) error {
	if len(name) < 3 || len(name) > 255 || !smithy.NameChars(name) {
		return awserr.InvalidTableName()
	}
	return nil
}

// notNamed is the error for a text that should be the ARN of a resource of the kind and is not.
func notNamed(want kind, given string) error {
	switch want {
	case kindStream:
		return streamNotFound(given)
	case kindBackup:
		return awserr.Invalid("Invalid BackupArn: " + given)
	case kindExport:
		return awserr.Invalid("Invalid ExportArn: " + given)
	case kindImport:
		return awserr.Invalid("Invalid ImportArn: " + given)
	}
	return awserr.Invalid("Invalid BulkOperationArn: " + given)
}

// serving returns the table that a request on items, or a part of one, is about.
func (s *Service) serving(ctx context.Context, req *Request, on reference) (*catalog.Table, error) {
	r, err := s.resolve(req.Caller, on)
	if err != nil {
		return nil, err
	}
	t := s.Tables.Catalog.Get(r.Namespace, r.table)
	if t != nil && !t.Serves(req.Time) {
		// Another server may have told already that it does.
		if t, err = s.Tables.Catalog.Settled(ctx, t); err != nil {
			return nil, clientError(err)
		}
	}
	if t == nil || !t.Serves(req.Time) {
		return nil, awserr.NotFound()
	}
	if s.Faults != nil && !slices.Contains(req.used, t.Meter) {
		if err := s.injectRequest(req, t); err != nil {
			uses(req, t)
			return nil, err
		}
	}
	uses(req, t)
	return t, nil
}

// existing returns the table that a request on tables or indexes is about, whatever its status.
func (s *Service) existing(req *Request, on reference) (*catalog.Table, error) {
	r, err := s.resolve(req.Caller, on)
	if err != nil {
		return nil, err
	}
	if t := s.Tables.Catalog.Get(r.Namespace, r.table); t != nil {
		return t, nil
	}
	return nil, awserr.TableNotFound(r.table)
}

// change changes the description of the table that a request is about, and returns the table.
func (s *Service) change(ctx context.Context, req *Request, on reference, change func(*catalog.Table) error) (*catalog.Table, error) {
	r, err := s.resolve(req.Caller, on)
	if err != nil {
		return nil, err
	}
	t, err := s.Tables.Catalog.Change(ctx, r.Namespace, r.table, change)
	if err != nil {
		return nil, clientError(err)
	}
	if t == nil {
		return nil, awserr.TableNotFound(r.table)
	}
	return t, nil
}

// Table returns the table that serves a caller's requests on items by the name or ARN, if the caller may take the action there, e.g.
// dynamodb:GetItem; else AWS's error.
func (s *Service) Table(caller smithy.Caller, action, given string) (*catalog.Table, error) {
	r, err := s.resolve(caller, reference{action: action, kind: kindTable, given: given})
	if err != nil {
		return nil, err
	}
	if t := s.Tables.Catalog.Get(r.Namespace, r.table); t != nil && t.Serves(s.Now()) {
		return t, nil
	}
	return nil, awserr.NotFound()
}
