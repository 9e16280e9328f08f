package ops

import (
	"context"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// sharedNamespace contains all tables if SharedNamespace is set.
var sharedNamespace = catalog.Namespace{Account: "000000000000", Region: "us-east-1"}

// namespace returns the namespace of tables that the caller names without an ARN.
func (s *Service) namespace(caller smithy.Caller) catalog.Namespace {
	if s.SharedNamespace {
		return sharedNamespace
	}
	return catalog.Namespace{Account: caller.Account, Region: caller.Region}
}

// kind is the type of a resource.
type kind uint8

const (
	kindTable kind = iota
	kindIndex
	kindStream
	kindBackup
	kindExport
	kindImport
	kindBulk
	// anyKind is expected where a request may name a resource of any type, or none: the filter of a list, or the start of a
	// page. Text that is not an ARN then resolves to the zero resource.
	anyKind
)

// arnTypes maps kinds to the word that follows the table's name in their ARNs. parseARN relies on the order of the kinds.
var arnTypes = [...]string{kindTable: "", kindIndex: "index", kindStream: "stream", kindBackup: "backup", kindExport: "export", kindImport: "import"}

const bulkPrefix = "bulk-operation/"

// resource is a table, or something that belongs to a table, as a request names it. It need not exist.
type resource struct {
	catalog.Namespace
	kind  kind
	table string // empty for a bulk operation, whose ARN does not contain it
	name  string // an index's name, a stream's label, or the ID of a backup, export, import or bulk operation; empty for a table
	// found is the table as authorization found it; nil if the table does not exist, or no lookup was needed.
	found *catalog.Table
}

// ARN returns the resource's ARN in the form in which Stator issues it.
func (r *resource) ARN() string { return string(r.appendARN(nil)) }

// appendARN appends the resource's ARN.
func (r *resource) appendARN(b []byte) []byte {
	b = append(append(append(append(b, "arn:aws:dynamodb:"...), r.Region...), ':'), r.Account...)
	if r.kind == kindBulk {
		return append(append(append(b, ':'), bulkPrefix...), r.name...)
	}
	b = append(append(b, ":table/"...), r.table...)
	if r.kind == kindTable {
		return b
	}
	return append(append(append(append(b, '/'), arnTypes[r.kind]...), '/'), r.name...)
}

// id returns the key of the resource's record in the registry.
func (r resource) id() registry.ID {
	return registry.ID{Account: r.Account, Region: r.Region, Name: r.name}
}

// parseARN parses "arn:partition:dynamodb:region:account:table/name/type/name", or a bulk operation's ARN. ok is false for any
// other text. Any partition is accepted, and words behind the table's name that are unknown are ignored.
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

// isTableARN reports whether text is the ARN of a table.
func isTableARN(text string) bool {
	r, ok := parseARN(text)
	return ok && r.kind == kindTable
}

// reference is a resource as a request names it, together with what the request wants to do with it.
type reference struct {
	action string // IAM action that the request takes on the resource, e.g. dynamodb:GetItem
	kind   kind   // required type
	given  string // an ARN, or a table's name
	// part and name are the part of the table on which the action is taken, e.g. an index; kindTable for the table itself.
	part kind
	name string
	asks asks // what policies may make conditions about
}

// index returns the reference to an index of the table. An empty name means the table.
func (on reference) index(name string) reference {
	if name != "" {
		on.part, on.name = kindIndex, name
	}
	return on
}

// asking returns the reference with what policies may make conditions about.
func (on reference) asking(a asks) reference {
	on.asks = a
	return on
}

// table refers to a table for the action of the request's operation. The operation must have a single action.
func (r *Request) table(given string) reference {
	return reference{action: r.op.action(), kind: kindTable, given: given}
}

// index refers to a table's index for the action of the request's operation. An empty index means the table.
func (r *Request) index(table, index string) reference {
	return reference{action: r.op.action(), kind: kindTable, given: table}.index(index)
}

// resource refers to a resource by ARN for the action of the request's operation.
func (r *Request) resource(want kind, arn string) reference {
	return reference{action: r.op.action(), kind: want, given: arn}
}

// resolve returns the resource that a request names if the caller may take the action on it. It is the only way from a request
// to a resource. A name means a table in the caller's namespace, while an ARN contains its own account and region; with
// SharedNamespace both mean the shared namespace. A refusal does not reveal whether another account has the resource.
func (s *Service) resolve(req *Request, want reference) (resource, error) {
	r, isARN := parseARN(want.given)
	if !isARN {
		r = resource{Namespace: s.namespace(req.Caller), table: want.given}
	} else if s.SharedNamespace {
		r.Namespace = sharedNamespace
	}
	if want.kind == kindTable && r.kind != kindBulk { // the ARN of anything that belongs to a table names the table
		r.kind, r.name = want.part, want.name
	}
	if isARN || want.kind == kindTable {
		if r.kind != kindBulk {
			r.found = s.Tables.Catalog.Get(r.Namespace, r.table)
		}
		if err := s.authorize(req, want.action, &r, &want.asks); err != nil {
			return r, err
		}
		if s.Tenants.Limited(r.Account) && storing[want.action] && s.Tenants.Full(r.Account) {
			return r, awserr.New(awserr.RequestLimitExceeded, "The tables of account "+r.Account+" have reached the account's limit of bytes on this server")
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

// storing are the actions that add data to a table. An account at its limit of bytes may not take them.
var storing = map[string]bool{
	"dynamodb:BatchWriteItem": true, "dynamodb:ImportTable": true, "dynamodb:PartiQLInsert": true, "dynamodb:PartiQLUpdate": true, "dynamodb:PutItem": true,
	"dynamodb:RestoreTableFromBackup": true, "dynamodb:RestoreTableToPointInTime": true, "dynamodb:StartBulkPutItems": true, "dynamodb:UpdateItem": true,
}

// named is resolve for a TableName of the control plane. AWS refuses the ARN of a table in another region there.
func (s *Service) named(req *Request, on reference) (resource, error) {
	r, err := s.resolve(req, on)
	if err == nil && r.Region != s.namespace(req.Caller).Region {
		err = smithy.BadRegion(on.given)
	}
	return r, err
}

// authorize returns AWS's AccessDeniedException if the caller may not take the action on the resource. Actions on everything have been
// authorized before (around), so that only another account's resources remain to be refused.
func (s *Service) authorize(req *Request, action string, r *resource, a *asks) error {
	var document *policy.Document
	if r.found != nil {
		document = r.policy()
	}
	own := s.SharedNamespace || r.Account == req.Caller.Account || !req.Caller.Verified
	if own && (req.Caller.Identity == nil && document == nil || req.op != nil && req.op.unbound) {
		return nil
	}
	known := allowance{id: req.Caller.Identity, verified: req.Caller.Verified, table: r.found, action: action}
	if r.kind == kindIndex {
		known.index = r.name
	}
	lasting := known.id != nil && known.table != nil && (r.kind == kindTable || r.kind == kindIndex)
	if lasting && slices.Contains(req.allowed.list[:], known) {
		return nil
	}
	q := &req.asked
	q.arn = r.appendARN(q.arn[:0])
	q.Question = access.Question{Call: req.Call, Action: action, Resource: wirejson.View(q.arn), Owner: r.Account, Policy: document, Keys: &q.keys}
	if s.SharedNamespace { // every caller owns the shared tables
		q.Owner = req.Caller.Account
	}
	q.asks = *a
	q.keys = conditionKeys{asks: &q.asks, table: r.found, index: known.index}
	if !req.Coarse {
		q.keys.has = itemActions[action]
	}
	if r.found != nil {
		if tags := tagsOf(r.found, *r); tags != nil {
			q.keys.tags = *tags
		}
	}
	if err := access.Authorize(&q.Question); err != nil {
		return err
	}
	if lasting && !q.Conditional() {
		req.allowed.add(known)
	}
	return nil
}

// authorizeMore authorizes further actions on a resource that the request has resolved already.
func (s *Service) authorizeMore(req *Request, r *resource, a asks, actions ...string) error {
	for _, action := range actions {
		if err := s.authorize(req, action, r, &a); err != nil {
			return err
		}
	}
	return nil
}

// policy returns the policy that covers the resource: that of its table, or a stream's own. Other resources have none.
func (r *resource) policy() *policy.Document {
	switch r.kind {
	case kindTable, kindIndex:
		return r.found.Policy.Compiled()
	case kindStream:
		if at, err := policyOf(r.found, *r); err == nil {
			return (*at).Compiled()
		}
	}
	return nil
}

// checkTableName rejects names that no table can have.
func checkTableName(name string) error {
	if len(name) < 3 || len(name) > 255 || !smithy.NameChars(name) {
		return awserr.InvalidTableName()
	}
	return nil
}

// notNamed returns AWS's error for text that is not an ARN of the wanted kind.
func notNamed(want kind, given string) error {
	switch want {
	case kindStream:
		if _, isARN := parseARN(given); !isARN { // the code is AWS's, the sentence ours
			return awserr.ValidationError("Invalid StreamArn: " + given)
		}
		return streamNotFound(given)
	case kindBackup:
		return awserr.ValidationError("Invalid Backup ARN")
	case kindExport:
		return awserr.ValidationError("Invalid Export ARN")
	case kindImport:
		return awserr.ValidationError("Invalid Import ARN")
	}
	return awserr.Invalid("Invalid BulkOperationArn: " + given)
}

// serving returns the table that a request on items, or a part of it, uses. The table must serve items. serving also injects
// faults in test mode, once per request and table, and records the table for metering.
func (s *Service) serving(ctx context.Context, req *Request, on reference) (*catalog.Table, error) {
	r, err := s.resolve(req, on)
	if err != nil {
		return nil, err
	}
	t := r.found
	if t != nil && !t.Serves(req.Time) {
		// Another server may already have shown that the table is active: wait for pending changes before refusing.
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

// existing returns the table that a control-plane request is about, whatever its status.
func (s *Service) existing(req *Request, on reference) (*catalog.Table, error) {
	r, err := s.named(req, on)
	if err != nil {
		return nil, err
	}
	if r.found != nil {
		return r.found, nil
	}
	return nil, awserr.TableNotFound(r.table)
}

// change applies change to the description of the table that a request names, and returns the changed table.
func (s *Service) change(ctx context.Context, req *Request, on reference, change func(*catalog.Table) error) (*catalog.Table, error) {
	r, err := s.named(req, on)
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

// TableIdentity is what a cache of a table's items must know of the table. It stays the same as long as the table exists.
type TableIdentity struct {
	ID           uint32 // no other table has or gets it, in any account
	Account      string // the account to which the table belongs
	PartitionKey KeyAttribute
	SortKey      KeyAttribute // without a name if the table has none
}

// KeyAttribute is an attribute of a primary key. Its type is S, N or B.
type KeyAttribute struct {
	Name string
	Type attribute.Type
}

// Identify returns the table with a name or ARN if it serves requests on items and the caller may take the action, e.g. dynamodb:GetItem,
// on the table or, unless index is empty, on the index. DAX uses it. Otherwise it returns AWS's error.
func (s *Service) Identify(call *smithy.Call, action, given, index string) (id TableIdentity, err error) {
	call.Time = s.Now()
	req := RequestOf(call)
	req.Coarse = true
	r, err := s.resolve(req, reference{action: action, kind: kindTable, given: given}.index(index))
	if err != nil {
		return id, err
	}
	t := r.found
	if t == nil || !t.Serves(call.Time) {
		return id, awserr.NotFound()
	}
	id = TableIdentity{ID: t.ID, Account: t.Account, PartitionKey: KeyAttribute(t.Key.Partition[0])}
	if len(t.Key.Sort) > 0 {
		id.SortKey = KeyAttribute(t.Key.Sort[0])
	}
	return id, nil
}

// TableKey returns the ARN of the table that a request names by name or ARN, and the names of the table's key attributes, nil if there is no
// such table. arn is empty for an ARN of something else. It checks no permission and its result must not reach clients: the audit log uses it.
func (s *Service) TableKey(caller smithy.Caller, given string) (arn string, key []string) {
	r, ok := parseARN(given)
	switch {
	case !ok && strings.HasPrefix(given, "arn:"), ok && r.table == "":
		return "", nil
	case !ok:
		r = resource{Namespace: s.namespace(caller), table: given}
	}
	r.kind = kindTable
	t := s.Tables.Catalog.Get(r.Namespace, r.table)
	if t == nil {
		return r.ARN(), nil
	}
	for attribute := range t.Key.Attributes {
		key = append(key, attribute.Name)
	}
	return r.ARN(), key
}
