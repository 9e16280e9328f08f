package ops

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

// Limits on tables ("Quotas in Amazon DynamoDB", "Multi-attribute keys in global secondary indexes").
const (
	maxLocalIndexes      = 5
	maxGlobalIndexes     = 20
	maxIndexKeyParts     = 4   // per partition key and per sort key of a GSI
	maxProjectedNonKeys  = 20  // per index
	maxProjectedAllNames = 100 // sum over all indexes of a table
)

func (s *Service) createTable(ctx context.Context, req *Request, in *api.CreateTableInput) (*api.CreateTableOutput, error) {
	r, err := s.resolve(req.Caller, req.table(in.TableName.Value))
	name := r.table
	if err != nil {
		return nil, err
	}
	t, err := s.newTable(ctx, r.Namespace, name, in)
	if err != nil {
		return nil, err
	}
	taken, err := s.Tables.Catalog.Create(ctx, t)
	if err != nil {
		return nil, clientError(err)
	}
	if taken != nil {
		return nil, awserr.TableExists(name)
	}
	d, err := s.describe(ctx, t)
	if err != nil {
		return nil, err
	}
	// The catalog may have made the table active already, but AWS's answer always says CREATING.
	d.TableStatus = smithy.Some(catalog.Creating)
	for i := range d.GlobalSecondaryIndexes {
		d.GlobalSecondaryIndexes[i].IndexStatus = smithy.Some(catalog.Creating)
	}
	return &api.CreateTableOutput{TableDescription: d}, nil
}

// newTable returns the table that a request describes.
func (s *Service) newTable(ctx context.Context, ns catalog.Namespace, name string, in *api.CreateTableInput) (*catalog.Table, error) {
	switch {
	case in.VectorIndexes != nil:
		return nil, unsupported("VectorIndexes")
	case in.GlobalTableSourceArn.Set:
		return nil, unsupported("GlobalTableSourceArn")
	}
	now := s.Now()
	t := &catalog.Table{Namespace: ns, Name: name, UUID: uuid.NewString(), Created: now.UnixMilli()}
	if err := newSchema(t, in); err != nil {
		return nil, err
	}
	if err := newBilling(t, in); err != nil {
		return nil, err
	}
	if err := s.checkQuotas(nil, t); err != nil {
		return nil, err
	}
	if err := s.setStream(ctx, t, in.StreamSpecification); err != nil {
		return nil, err
	}
	if err := setSSE(t, in.SSESpecification); err != nil {
		return nil, err
	}
	if in.TableClass.Set {
		t.TableClass = in.TableClass.Value
	}
	t.DeletionProtection = in.DeletionProtectionEnabled.Value
	var err error
	if t.Tags, err = mergeTags(nil, in.Tags); err != nil {
		return nil, err
	}
	if in.ResourcePolicy.Set {
		if t.Policy, err = newPolicy(in.ResourcePolicy.Value, t.ARN()); err != nil {
			return nil, err
		}
	}
	t.CreatingUntil = now.Add(s.TransientStatus).UnixMilli()
	return t, nil
}

// unsupported is the error for parameters that docs/compatibility.md lists as missing.
func unsupported(parameter string) error {
	return awserr.Invalid(parameter + " is not supported by this endpoint")
}

var scalarTypes = map[string]attribute.Type{"S": attribute.TypeS, "N": attribute.TypeN, "B": attribute.TypeB}

// newSchema reads the attribute definitions and the key schemas of the table and its indexes.
func newSchema(t *catalog.Table, in *api.CreateTableInput) error {
	for _, a := range in.AttributeDefinitions {
		if slices.ContainsFunc(t.Attributes, func(old catalog.KeyAttribute) bool { return old.Name == a.AttributeName.Value }) {
			return awserr.Invalid("Duplicate AttributeName in AttributeDefinitions: " + a.AttributeName.Value)
		}
		t.Attributes = append(t.Attributes, catalog.KeyAttribute{Name: a.AttributeName.Value, Type: scalarTypes[a.AttributeType.Value]})
	}
	hasIndexes := in.LocalSecondaryIndexes != nil || in.GlobalSecondaryIndexes != nil
	var err error
	if t.Key, err = newKey(t, in.KeySchema, 1); err != nil {
		return err
	}
	if !hasIndexes && len(t.Attributes) != t.Key.Len() {
		return awserr.Invalid("Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
	}
	if err := newLocalIndexes(t, in.LocalSecondaryIndexes); err != nil {
		return err
	}
	if err := newGlobalIndexes(t, in.GlobalSecondaryIndexes); err != nil {
		return err
	}
	return checkAttributesUsed(t)
}

// newKey reads a key schema with at most parts partition key attributes and as many sort key attributes.
func newKey(t *catalog.Table, schema []api.KeySchemaElement, parts int) (catalog.KeySchema, error) {
	var key catalog.KeySchema
	if schema[0].KeyType.Value != api.KeyTypeHash {
		return key, awserr.ValidationError("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
	}
	if parts == 1 {
		if len(schema) > 1 && schema[1].KeyType.Value != api.KeyTypeRange {
			return key, awserr.ValidationError("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
		}
	}
	seen := map[string]bool{}
	var undefined []string
	for _, e := range schema {
		name := e.AttributeName.Value
		if seen[name] {
			return key, awserr.ValidationError("Both the Hash Key and the Range Key element in the KeySchema have the same name")
		}
		seen[name] = true
		i := slices.IndexFunc(t.Attributes, func(a catalog.KeyAttribute) bool { return a.Name == name })
		if i < 0 {
			undefined = append(undefined, name)
			continue
		}
		switch {
		case e.KeyType.Value == api.KeyTypeRange:
			key.Sort = append(key.Sort, t.Attributes[i])
		case len(key.Sort) > 0:
			return key, awserr.ValidationError("Invalid KeySchema: All HASH key elements must come before the RANGE key elements")
		default:
			key.Partition = append(key.Partition, t.Attributes[i])
		}
	}
	if undefined != nil {
		names := make([]string, len(schema))
		for i, e := range schema {
			names[i] = e.AttributeName.Value
		}
		return key, awserr.Invalid("Some index key attributes are not defined in AttributeDefinitions. Keys: [" + strings.Join(names, ", ") +
			"], AttributeDefinitions: [" + attributeNames(t.Attributes) + "]")
	}
	if len(key.Partition) > parts || len(key.Sort) > parts {
		return key, awserr.Invalid(fmt.Sprintf("The key schema of an index can have at most %d HASH and %d RANGE key elements", parts, parts))
	}
	return key, nil
}

// attributeNames joins the names of attributes for an error message.
func attributeNames(attrs []catalog.KeyAttribute) string {
	names := make([]string, len(attrs))
	for i, a := range attrs {
		names[i] = a.Name
	}
	return strings.Join(names, ", ")
}

// newLocalIndexes validates LSIs and adds them to the table. They share the table's partition key.
func newLocalIndexes(t *catalog.Table, in []api.LocalSecondaryIndex) error {
	switch {
	case in == nil:
		return nil
	case len(in) == 0:
		return awserr.Invalid("List of LocalSecondaryIndexes is empty")
	case len(t.Key.Sort) == 0:
		return awserr.Invalid("Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex")
	case len(in) > maxLocalIndexes:
		return awserr.Invalid(fmt.Sprintf("Number of LocalSecondaryIndexes exceeds per-table limit of %d", maxLocalIndexes))
	}
	for _, x := range in {
		key, err := newKey(t, x.KeySchema, 1)
		if err != nil {
			return err
		}
		if len(key.Sort) == 0 {
			return awserr.Invalid("Index KeySchema does not have a range key for index: " + x.IndexName.Value)
		}
		if key.Partition[0].Name != t.Key.Partition[0].Name {
			return awserr.Invalid("Index KeySchema does not have the same leading hash key as table KeySchema for index: " + x.IndexName.Value +
				". index hash key: " + key.Partition[0].Name + ", table hash key: " + t.Key.Partition[0].Name)
		}
		if err := addIndex(t, &catalog.Index{Name: x.IndexName.Value, Key: key}, x.Projection); err != nil {
			return err
		}
	}
	return nil
}

// newGlobalIndexes validates GSIs and adds them to the table.
func newGlobalIndexes(t *catalog.Table, in []api.GlobalSecondaryIndex) error {
	switch {
	case in == nil:
		return nil
	case len(in) == 0:
		return awserr.Invalid("List of GlobalSecondaryIndexes is empty")
	case len(in) > maxGlobalIndexes:
		return tooManyGlobalIndexes()
	}
	for _, x := range in {
		if _, err := newGlobalIndex(t, &x); err != nil {
			return err
		}
	}
	return nil
}

func tooManyGlobalIndexes() error {
	return awserr.Invalid(fmt.Sprintf("GlobalSecondaryIndex count exceeds the per-table limit of %d", maxGlobalIndexes))
}

// newGlobalIndex reads a GSI and adds it to the table.
func newGlobalIndex(t *catalog.Table, in *api.GlobalSecondaryIndex) (*catalog.Index, error) {
	key, err := newKey(t, in.KeySchema, maxIndexKeyParts)
	if err != nil {
		return nil, err
	}
	x := &catalog.Index{Name: in.IndexName.Value, Global: true, Key: key, OnDemand: newOnDemand(in.OnDemandThroughput)}
	if p := in.ProvisionedThroughput; p != nil {
		x.Throughput = catalog.Throughput{Read: p.ReadCapacityUnits.Value, Write: p.WriteCapacityUnits.Value}
	}
	if w := in.WarmThroughput; w != nil {
		x.Warm = newWarm(w, nil)
	}
	return x, addIndex(t, x, in.Projection)
}

// addIndex validates an index's name and projection, gives it an ID and adds it to the table.
func addIndex(t *catalog.Table, x *catalog.Index, p *api.Projection) error {
	if t.Index(x.Name) != nil {
		return awserr.Invalid("Duplicate index name: " + x.Name)
	}
	kind := p.ProjectionType.Value
	switch {
	case kind == "":
		return awserr.Invalid("Unknown ProjectionType: null")
	case kind == api.ProjectionTypeInclude && p.NonKeyAttributes == nil:
		return awserr.Invalid("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
	case kind != api.ProjectionTypeInclude && p.NonKeyAttributes != nil:
		return awserr.Invalid("ProjectionType is " + kind + ", but NonKeyAttributes is specified")
	case len(p.NonKeyAttributes) > maxProjectedNonKeys:
		return awserr.Invalid(fmt.Sprintf("Number of NonKeyAttributes exceeds the limit of %d for index: %s", maxProjectedNonKeys, x.Name))
	}
	seen := map[string]bool{}
	for _, n := range p.NonKeyAttributes {
		if seen[n] {
			return awserr.Invalid("Duplicate attribute in NonKeyAttributes: " + n)
		}
		seen[n] = true
	}
	var ok bool
	if x.ID, ok = t.FreeIndexID(); !ok {
		return awserr.New(awserr.LimitExceeded, "Too many indexes are being deleted")
	}
	x.Projection = catalog.Projection{Type: kind, Attributes: p.NonKeyAttributes}
	t.Indexes = append(t.Indexes, x)
	total := 0
	for _, x := range t.Indexes {
		total += len(x.Projection.Attributes)
	}
	if total > maxProjectedAllNames {
		return awserr.Invalid(fmt.Sprintf("Number of projected NonKeyAttributes of all indexes exceeds the limit of %d", maxProjectedAllNames))
	}
	return nil
}

// checkAttributesUsed rejects attribute definitions that no key uses.
func checkAttributesUsed(t *catalog.Table) error {
	var used []catalog.KeyAttribute
	note := func(k *catalog.KeySchema) {
		for a := range k.Attributes {
			if !slices.Contains(used, a) {
				used = append(used, a)
			}
		}
	}
	note(&t.Key)
	for _, x := range t.Indexes {
		note(&x.Key)
	}
	if len(used) == len(t.Attributes) {
		return nil
	}
	return awserr.Invalid("Some AttributeDefinitions are not used. AttributeDefinitions: [" + attributeNames(t.Attributes) +
		"], keys used: [" + attributeNames(used) + "]")
}

// newOnDemand reads an on-demand maximum in request units per second; -1 means no maximum.
func newOnDemand(o *api.OnDemandThroughput) *catalog.OnDemand {
	if o == nil {
		return nil
	}
	return &catalog.OnDemand{MaxRead: o.MaxReadRequestUnits.Or(-1), MaxWrite: o.MaxWriteRequestUnits.Or(-1)}
}

// newWarm reads a warm throughput in units per second. Missing values keep the old ones, or get those of a new on-demand table.
func newWarm(w *api.WarmThroughput, old *catalog.Warm) *catalog.Warm {
	out := catalog.Warm{Read: initialWarmRead, Write: initialWarmWrite}
	if old != nil {
		out = *old
	}
	out.Read, out.Write = w.ReadUnitsPerSecond.Or(out.Read), w.WriteUnitsPerSecond.Or(out.Write)
	return &out
}

// newBilling reads the billing mode and the throughput of the table and its GSIs.
func newBilling(t *catalog.Table, in *api.CreateTableInput) error {
	t.OnDemandBilling = in.BillingMode.Value == api.BillingModePayPerRequest
	p := in.ProvisionedThroughput
	switch {
	case t.OnDemandBilling && p != nil:
		return awserr.ThroughputForbidden()
	case !t.OnDemandBilling && p == nil:
		return awserr.ThroughputRequired()
	case p != nil:
		t.Throughput = catalog.Throughput{Read: p.ReadCapacityUnits.Value, Write: p.WriteCapacityUnits.Value}
	default:
		t.SwitchedToOnDemand = t.Created
	}
	if err := checkThroughput(t.Throughput); err != nil {
		return err
	}
	for i := range in.GlobalSecondaryIndexes {
		x := &in.GlobalSecondaryIndexes[i]
		switch {
		case t.OnDemandBilling && x.ProvisionedThroughput != nil:
			return awserr.IndexThroughputForbidden(x.IndexName.Value)
		case !t.OnDemandBilling && x.ProvisionedThroughput == nil:
			return awserr.IndexThroughputRequired(x.IndexName.Value)
		}
	}
	for _, x := range t.Indexes {
		if err := checkThroughput(x.Throughput); err != nil {
			return err
		}
	}
	if in.OnDemandThroughput != nil && !t.OnDemandBilling {
		return awserr.Invalid("OnDemandThroughput can only be specified when BillingMode is PAY_PER_REQUEST")
	}
	t.OnDemand = newOnDemand(in.OnDemandThroughput)
	if in.WarmThroughput != nil {
		t.Warm = newWarm(in.WarmThroughput, nil)
	}
	return nil
}

// checkThroughput rejects a provisioned throughput above the bound that AWS checks before any quota.
func checkThroughput(p catalog.Throughput) error {
	const limit = 1000000000000
	switch {
	case p.Read > limit:
		return awserr.ValidationError(fmt.Sprintf("Given value %d for ReadCapacityUnits is out of bounds", p.Read))
	case p.Write > limit:
		return awserr.ValidationError(fmt.Sprintf("Given value %d for WriteCapacityUnits is out of bounds", p.Write))
	}
	return nil
}

// setStream enables or disables the stream as a specification says; nil changes nothing.
func (s *Service) setStream(ctx context.Context, t *catalog.Table, in *api.StreamSpecification) error {
	if in == nil {
		return nil
	}
	enabled := in.StreamEnabled.Value
	switch {
	case enabled && !in.StreamViewType.Set:
		return awserr.Invalid("StreamViewType is required when StreamEnabled is true")
	case !enabled && in.StreamViewType.Set:
		return awserr.Invalid("StreamViewType must not be specified when StreamEnabled is false")
	}
	at, err := s.Tables.KV.Now(ctx)
	if err != nil {
		return clientError(err)
	}
	switch {
	case enabled:
		label := streamLabel(time.UnixMilli(at.Millis()))
		for s.Tables.Catalog.Stream(t.ARN()+"/stream/"+label) != nil { // a second stream in the same millisecond needs another label
			label = nextLabel(label)
		}
		t.StartStream(in.StreamViewType.Value, label, at)
	case t.Stream != nil:
		t.EndStream(at)
	}
	return nil
}

// labelFormat is the format of a stream's label: the UTC time at which it was enabled.
const labelFormat = "2006-01-02T15:04:05.000"

func streamLabel(at time.Time) string { return at.UTC().Format(labelFormat) }

// nextLabel returns the label of the next millisecond.
func nextLabel(label string) string {
	at, err := time.Parse(labelFormat, label)
	if err != nil {
		return label + "1"
	}
	return streamLabel(at.Add(time.Millisecond))
}

// setSSE records a server-side encryption specification. If it names no key, the table shows the AWS-managed one.
func setSSE(t *catalog.Table, in *api.SSESpecification) error {
	if in == nil {
		return nil
	}
	if !in.Enabled.Value {
		if in.KMSMasterKeyId.Set || in.SSEType.Set {
			return awserr.Invalid("SSEType and KMSMasterKeyId can only be specified when SSE is enabled")
		}
		t.SSEKey = ""
		return nil
	}
	if in.SSEType.Value == api.SSETypeAes256 {
		return awserr.Invalid("SSEType AES256 is not supported")
	}
	key := in.KMSMasterKeyId.Or("alias/aws/dynamodb")
	if !strings.HasPrefix(key, "arn:") {
		kind := "key/"
		if strings.HasPrefix(key, "alias/") {
			kind = ""
		}
		key = "arn:aws:kms:" + t.Region + ":" + t.Account + ":" + kind + key
	}
	t.SSEKey = key
	return nil
}
