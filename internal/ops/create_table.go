package ops

import (
	"context"
	"fmt"
	"slices"
	"strconv"
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
	a := asks{tags: in.Tags}
	r, err := s.resolve(req, req.table(in.TableName.Value).asking(a))
	name := r.table
	if err == nil && in.ResourcePolicy.Set {
		err = s.authorizeMore(req, &r, a, "dynamodb:PutResourcePolicy")
	}
	if err == nil && len(in.Tags) > 0 {
		err = s.authorizeMore(req, &r, a, "dynamodb:TagResource")
	}
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
		return nil, s.tableTaken(taken)
	}
	d, err := s.describe(ctx, t, false)
	if err != nil {
		return nil, err
	}
	asCreated(d, in)
	return &api.CreateTableOutput{TableDescription: d}, nil
}

// tableTaken is the error for the creation of a table with a name that is taken.
func (s *Service) tableTaken(by *catalog.Table) error {
	switch {
	case by.Restored != nil && by.Loading != nil:
		return awserr.StillInUse("Table is being used: " + by.Name)
	case by.Status(s.Now()) == catalog.Creating:
		return awserr.TableBusy("created", by.Name)
	}
	return awserr.TableExists(by.Name)
}

// asCreated turns a table's description into AWS's answer to the request that creates it: the answer lacks the values that AWS sets later,
// and says CREATING even if the table is active already.
func asCreated(d *api.TableDescription, in *api.CreateTableInput) {
	d.TableStatus = smithy.Some(catalog.Creating)
	if d.BillingModeSummary != nil {
		d.BillingModeSummary.LastUpdateToPayPerRequestDateTime = smithy.Opt[float64]{}
	}
	if in.WarmThroughput == nil {
		d.WarmThroughput = nil
	} else {
		d.WarmThroughput.Status = smithy.Some(catalog.Updating)
	}
	for i := range d.GlobalSecondaryIndexes {
		x := &d.GlobalSecondaryIndexes[i]
		x.IndexStatus, x.WarmThroughput = smithy.Some(catalog.Creating), nil
	}
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
	if err := s.newBilling(t, in); err != nil {
		return nil, err
	}
	if err := s.checkQuotas(nil, t); err != nil {
		return nil, err
	}
	if sp := in.StreamSpecification; sp != nil {
		switch {
		case sp.StreamEnabled.Value && !sp.StreamViewType.Set:
			return nil, awserr.Invalid("Table is being created with a stream enabled, UpdateViewType is required")
		case !sp.StreamEnabled.Value && sp.StreamViewType.Set:
			return nil, awserr.Invalid("Table is being created with a stream disabled, UpdateViewType should not be specified")
		}
	}
	if err := s.setStream(ctx, t, in.StreamSpecification); err != nil {
		return nil, err
	}
	var err error
	if t.SSEKey, err = newSSEKey(t, in.SSESpecification); err != nil {
		return nil, err
	}
	if in.TableClass.Set {
		t.TableClass = in.TableClass.Value
	}
	t.DeletionProtection = in.DeletionProtectionEnabled.Value
	if t.Tags, err = mergeTags(nil, in.Tags); err != nil {
		return nil, err
	}
	if in.ResourcePolicy.Set {
		document, err := parsePolicy(in.ResourcePolicy.Value, resource{Namespace: ns, table: name})
		if err != nil {
			return nil, err
		}
		t.Policy = &catalog.Policy{Document: document, Revision: strconv.FormatInt(t.Created, 10)}
	}
	t.CreatingUntil = now.Add(s.TransientStatus).UnixMilli()
	return t, nil
}

// unsupported is the error for parameters that docs/compatibility.md lists as missing.
func unsupported(parameter string) error {
	return awserr.Invalid(parameter + " is not supported by this endpoint")
}

var scalarTypes = map[string]attribute.Type{"S": attribute.TypeS, "N": attribute.TypeN, "B": attribute.TypeB}

// newSchema reads the attribute definitions and the key schemas of the table and its indexes. AWS looks at the attributes of all keys
// before it looks at what else an index has.
func newSchema(t *catalog.Table, in *api.CreateTableInput) error {
	for _, a := range in.AttributeDefinitions {
		if slices.ContainsFunc(t.Attributes, func(old catalog.KeyAttribute) bool { return old.Name == a.AttributeName.Value }) {
			return awserr.ValidationError("Attribute Name is duplicated: " + a.AttributeName.Value)
		}
		t.Attributes = append(t.Attributes, catalog.KeyAttribute{Name: a.AttributeName.Value, Type: scalarTypes[a.AttributeType.Value]})
	}
	hasIndexes := in.LocalSecondaryIndexes != nil || in.GlobalSecondaryIndexes != nil
	var err error
	if t.Key, err = newKey(t, in.KeySchema); err != nil {
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
	if err := checkAttributesUsed(t); err != nil {
		return err
	}
	for _, x := range in.GlobalSecondaryIndexes {
		if err := checkProjection(x.IndexName.Value, x.Projection); err != nil {
			return err
		}
	}
	for _, x := range in.LocalSecondaryIndexes {
		if err := checkProjection(x.IndexName.Value, x.Projection); err != nil {
			return err
		}
	}
	for i, x := range t.Indexes {
		if slices.ContainsFunc(t.Indexes[:i], func(other *catalog.Index) bool { return other.Name == x.Name }) {
			return awserr.Invalid("Duplicate index name: " + x.Name)
		}
	}
	return checkProjected(t)
}

// newKey reads the key schema of a table or LSI.
func newKey(t *catalog.Table, schema []api.KeySchemaElement) (key catalog.KeySchema, err error) {
	switch {
	case schema[0].KeyType.Value != api.KeyTypeHash:
		return key, awserr.ValidationError("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
	case len(schema) > 1 && schema[1].KeyType.Value != api.KeyTypeRange:
		return key, awserr.ValidationError("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
	case len(t.Attributes) < len(schema):
		return key, awserr.ValidationError("Invalid KeySchema: Some index key attribute have no definition")
	case len(schema) == 2 && schema[0].AttributeName.Value == schema[1].AttributeName.Value:
		return key, awserr.ValidationError("Both the Hash Key and the Range Key element in the KeySchema have the same name")
	}
	return keyOf(t, schema)
}

// newGlobalKey reads the key schema of a GSI, which may have several attributes of each kind.
func newGlobalKey(t *catalog.Table, schema []api.KeySchemaElement) (key catalog.KeySchema, err error) {
	if schema[0].KeyType.Value != api.KeyTypeHash {
		return key, awserr.ValidationError("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
	}
	count := map[string]int{}
	seen := map[string]bool{}
	for _, e := range schema {
		kind := e.KeyType.Value
		switch count[kind]++; {
		case count[kind] > maxIndexKeyParts:
			return key, awserr.Invalid("The KeySchema exceeds the maximum allowed number of " + kind + " key attributes")
		case kind == api.KeyTypeHash && count[api.KeyTypeRange] > 0:
			return key, awserr.Invalid("All HASH key attributes must precede RANGE key attributes in the KeySchema")
		case seen[e.AttributeName.Value]:
			return key, awserr.Invalid("The KeySchema contains multiple key attributes with the same name")
		}
		seen[e.AttributeName.Value] = true
	}
	return keyOf(t, schema)
}

// keyOf looks the attributes of a key schema up in the table's definitions.
func keyOf(t *catalog.Table, schema []api.KeySchemaElement) (key catalog.KeySchema, err error) {
	for _, e := range schema {
		i := slices.IndexFunc(t.Attributes, func(a catalog.KeyAttribute) bool { return a.Name == e.AttributeName.Value })
		switch {
		case i < 0:
			names := make([]string, len(schema))
			for i, e := range schema {
				names[i] = e.AttributeName.Value
			}
			return key, awserr.Invalid("Some index key attributes are not defined in AttributeDefinitions. Keys: [" + strings.Join(names, ", ") +
				"], AttributeDefinitions: [" + strings.Join(hashOrder(attributeNames(t.Attributes), len(t.Attributes)), ", ") + "]")
		case e.KeyType.Value == api.KeyTypeRange:
			key.Sort = append(key.Sort, t.Attributes[i])
		default:
			key.Partition = append(key.Partition, t.Attributes[i])
		}
	}
	return key, nil
}

// attributeNames returns the names of attributes.
func attributeNames(attrs []catalog.KeyAttribute) []string {
	names := make([]string, len(attrs))
	for i, a := range attrs {
		names[i] = a.Name
	}
	return names
}

// hashOrder returns names in the order in which AWS prints them: as a hash table that was made for a number of entries iterates over them.
func hashOrder(names []string, entries int) []string {
	buckets := 1
	for buckets < entries*4/3+1 {
		buckets *= 2
	}
	out := make([]string, len(names))
	for i, at := range attribute.HashOrder(len(names), buckets, func(i int) string { return names[i] }) {
		out[i] = names[at]
	}
	return out
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
		key, err := newKey(t, x.KeySchema)
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
		return awserr.Invalid(fmt.Sprintf("GlobalSecondaryIndex count exceeds the per-table limit of %d", maxGlobalIndexes))
	}
	for _, x := range in {
		if _, err := newGlobalIndex(t, &x); err != nil {
			return err
		}
	}
	return nil
}

// newGlobalIndex reads a GSI and adds it to the table.
func newGlobalIndex(t *catalog.Table, in *api.GlobalSecondaryIndex) (*catalog.Index, error) {
	key, err := newGlobalKey(t, in.KeySchema)
	if err != nil {
		return nil, err
	}
	x := &catalog.Index{Name: in.IndexName.Value, Global: true, Key: key}
	if p := in.ProvisionedThroughput; p != nil {
		x.Throughput = catalog.Throughput{Read: p.ReadCapacityUnits.Value, Write: p.WriteCapacityUnits.Value}
	}
	return x, addIndex(t, x, in.Projection)
}

// addIndex gives an index an ID and adds it to the table. Name and projection are checked later.
func addIndex(t *catalog.Table, x *catalog.Index, p *api.Projection) error {
	var ok bool
	if x.ID, ok = t.FreeIndexID(); !ok {
		return awserr.New(awserr.LimitExceeded, "Too many indexes are being deleted")
	}
	x.Projection = catalog.Projection{Type: p.ProjectionType.Value, Attributes: p.NonKeyAttributes}
	t.Indexes = append(t.Indexes, x)
	return nil
}

// checkProjection checks an index's projection.
func checkProjection(index string, p *api.Projection) error {
	kind := p.ProjectionType.Value
	switch {
	case kind == "":
		return awserr.Invalid("Unknown ProjectionType: null")
	case kind == api.ProjectionTypeInclude && p.NonKeyAttributes == nil:
		return awserr.Invalid("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
	case kind != api.ProjectionTypeInclude && p.NonKeyAttributes != nil:
		return awserr.Invalid("ProjectionType is " + kind + ", but NonKeyAttributes is specified")
	case len(p.NonKeyAttributes) > maxProjectedNonKeys:
		return awserr.Invalid(fmt.Sprintf("Number of NonKeyAttributes exceeds the limit of %d for index: %s", maxProjectedNonKeys, index))
	}
	seen := map[string]bool{}
	for _, n := range p.NonKeyAttributes {
		if seen[n] {
			return awserr.Invalid("Duplicate element in NonKeyAttributes: " + n)
		}
		seen[n] = true
	}
	return nil
}

// checkProjected rejects too many projected attributes of all indexes together.
func checkProjected(t *catalog.Table) error {
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
	var used []string
	note := func(k *catalog.KeySchema) {
		for a := range k.Attributes {
			if !slices.Contains(used, a.Name) {
				used = append(used, a.Name)
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
	return awserr.Invalid("Some AttributeDefinitions are not used. AttributeDefinitions: [" +
		strings.Join(hashOrder(attributeNames(t.Attributes), len(t.Attributes)), ", ") + "], keys used: [" + strings.Join(hashOrder(used, max(11, len(used)-1)), ", ") + "]")
}

// newBilling reads the billing mode and the throughput of the table and its GSIs.
func (s *Service) newBilling(t *catalog.Table, in *api.CreateTableInput) error {
	t.OnDemandBilling = in.BillingMode.Value == api.BillingModePayPerRequest
	p := in.ProvisionedThroughput
	switch {
	case t.OnDemandBilling && p != nil:
		return awserr.ThroughputForbidden()
	case !t.OnDemandBilling && p == nil:
		return awserr.Invalid("ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED")
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
			return awserr.Invalid("ProvisionedThroughput should not be specified for index: " + x.IndexName.Value + " when BillingMode is PAY_PER_REQUEST")
		case !t.OnDemandBilling && x.ProvisionedThroughput == nil:
			return awserr.Invalid("ProvisionedThroughput is not specified for index: " + x.IndexName.Value)
		}
	}
	for _, x := range t.Indexes {
		if err := checkThroughput(x.Throughput); err != nil {
			return err
		}
	}
	return s.newRates(t, in)
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

// setStream enables or disables the stream as a specification says that was checked; nil changes nothing.
func (s *Service) setStream(ctx context.Context, t *catalog.Table, in *api.StreamSpecification) error {
	if in == nil {
		return nil
	}
	enabled := in.StreamEnabled.Value
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

// newSSEKey returns the ARN of the key that a server-side encryption specification asks for, or "" for the key that AWS owns. If it names
// no key, that is the AWS-managed one.
func newSSEKey(t *catalog.Table, in *api.SSESpecification) (string, error) {
	if in == nil {
		return "", nil
	}
	kind, key := in.SSEType, in.KMSMasterKeyId
	switch off := in.Enabled.Set && !in.Enabled.Value; {
	case off && kind.Set:
		return "", awserr.Invalid("SSEType can not be specified if Enabled is false")
	case off && key.Set:
		return "", awserr.Invalid("KMSMasterKeyId can not be specified if Enabled is false")
	case kind.Value == api.SSETypeAes256:
		return "", awserr.Invalid("SSEType AES256 is not supported")
	case key.Set && !kind.Set:
		return "", awserr.Invalid("SSEType KMS is required if KMSMasterKeyId is specified")
	case !in.Enabled.Value && !kind.Set:
		return "", nil
	}
	return keyARN(t.Namespace, key.Or(managedKey)), nil
}

// managedKey is the alias of the key that AWS manages for an account's tables.
const managedKey = "alias/aws/dynamodb"

// keyARN returns the ARN of the key with an ID, ARN, alias, or alias's ARN. AWS shows aliases as the keys for which they stand; here
// each alias stands for a key of its own.
func keyARN(ns catalog.Namespace, key string) string {
	prefix := "arn:aws:kms:" + ns.Region + ":" + ns.Account + ":"
	if i := strings.LastIndex(key, ":"); strings.HasPrefix(key, "arn:") && i > 0 {
		prefix, key = key[:i+1], key[i+1:]
	}
	id, isID := strings.CutPrefix(key, "key/")
	if alias := strings.HasPrefix(key, "alias/"); alias && !isID {
		id = uuid.NewSHA1(uuid.NameSpaceURL, []byte(prefix+key)).String()
	}
	return prefix + "key/" + id
}
