package transfer

import (
	"fmt"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/smithy"
)

// Requests as records keep them. They are types of their own, because the shapes of AWS's API are generated from a model that changes,
// and records are read for years, by older servers of the same store too. TestStored has their JSON: a change of it needs another version.

// recordVersion is the version of the records that are written. Records without one are of the first version, whose fields are the same.
const recordVersion = 1

// Version is a record's version.
type Version int

// UnmarshalJSON implements json.Unmarshaler.
func (v *Version) UnmarshalJSON(raw []byte) error {
	var n int
	if _, err := fmt.Sscan(string(raw), &n); err != nil {
		return fmt.Errorf("version %s of a record: %w", raw, err)
	}
	if n > recordVersion {
		return fmt.Errorf("a record of version %d needs a newer version of Stator", n)
	}
	*v = Version(n)
	return nil
}

// ExportRequest is an ExportTableToPointInTime.
type ExportRequest struct {
	TableArn                       smithy.Opt[string]
	ExportTime                     smithy.Opt[float64] // seconds since 1970, as all times in requests
	ClientToken                    smithy.Opt[string]
	S3Bucket                       smithy.Opt[string]
	S3BucketOwner                  smithy.Opt[string]
	S3Prefix                       smithy.Opt[string]
	S3SseAlgorithm                 smithy.Opt[string]
	S3SseKmsKeyId                  smithy.Opt[string]
	ExportFormat                   smithy.Opt[string]
	ExportType                     smithy.Opt[string]
	IncrementalExportSpecification *ExportPeriod
	FilterSpecification            *ExportFilter
}

// ExportPeriod says which changes an incremental export has.
type ExportPeriod struct {
	ExportFromTime smithy.Opt[float64]
	ExportToTime   smithy.Opt[float64]
	ExportViewType smithy.Opt[string]
}

// ExportFilter says which items an export has, and which of their attributes.
type ExportFilter struct {
	FilterExpression          smithy.Opt[string]
	ProjectionExpression      smithy.Opt[string]
	KeyConditionExpression    smithy.Opt[string]
	ExpressionAttributeNames  smithy.Map[string]
	ExpressionAttributeValues attribute.Item
}

// NewExportRequest returns a request as a record keeps it.
func NewExportRequest(in *api.ExportTableToPointInTimeInput) ExportRequest {
	return ExportRequest{
		TableArn: in.TableArn, ExportTime: in.ExportTime, ClientToken: in.ClientToken, S3Bucket: in.S3Bucket, S3BucketOwner: in.S3BucketOwner,
		S3Prefix: in.S3Prefix, S3SseAlgorithm: in.S3SseAlgorithm, S3SseKmsKeyId: in.S3SseKmsKeyId, ExportFormat: in.ExportFormat, ExportType: in.ExportType,
		IncrementalExportSpecification: (*ExportPeriod)(in.IncrementalExportSpecification),
		FilterSpecification:            (*ExportFilter)(in.FilterSpecification),
	}
}

// Filter returns the filter as the API has it; nil for none.
func (r *ExportRequest) Filter() *api.FilterSpecification {
	return (*api.FilterSpecification)(r.FilterSpecification)
}

// Source is where objects are that are read.
type Source struct {
	S3BucketOwner smithy.Opt[string]
	S3Bucket      smithy.Opt[string]
	S3KeyPrefix   smithy.Opt[string]
}

// ImportRequest is an ImportTable.
type ImportRequest struct {
	ClientToken             smithy.Opt[string]
	S3BucketSource          *Source
	InputFormat             smithy.Opt[string]
	InputFormatOptions      *FormatOptions
	InputCompressionType    smithy.Opt[string]
	TableCreationParameters *NewTable
}

// FormatOptions says how the objects of an import are read.
type FormatOptions struct{ Csv *CSVOptions }

// CSVOptions says how objects of comma-separated values are read.
type CSVOptions struct {
	Delimiter  smithy.Opt[string]
	HeaderList []string
}

// NewTable is the table that an import creates.
type NewTable struct {
	TableName              smithy.Opt[string]
	AttributeDefinitions   []Attribute
	KeySchema              []KeyElement
	BillingMode            smithy.Opt[string]
	ProvisionedThroughput  *Throughput
	OnDemandThroughput     *OnDemand
	SSESpecification       *Encryption
	GlobalSecondaryIndexes []GlobalIndex
	VectorIndexes          []struct{} // always nil: Stator refuses them. Fingerprints have it.
}

// Attribute is the definition of a key attribute.
type Attribute struct{ AttributeName, AttributeType smithy.Opt[string] }

// KeyElement is an attribute of a key.
type KeyElement struct{ AttributeName, KeyType smithy.Opt[string] }

// Throughput is provisioned throughput in units per second.
type Throughput struct{ ReadCapacityUnits, WriteCapacityUnits smithy.Opt[int64] }

// OnDemand bounds on-demand throughput in units per second.
type OnDemand struct{ MaxReadRequestUnits, MaxWriteRequestUnits smithy.Opt[int64] }

// Warm is warm throughput in units per second.
type Warm struct{ ReadUnitsPerSecond, WriteUnitsPerSecond smithy.Opt[int64] }

// Encryption is a table's encryption at rest.
type Encryption struct {
	Enabled        smithy.Opt[bool]
	SSEType        smithy.Opt[string]
	KMSMasterKeyId smithy.Opt[string]
}

// Projection says which attributes an index has.
type Projection struct {
	ProjectionType   smithy.Opt[string]
	NonKeyAttributes []string
}

// GlobalIndex is a global secondary index of a new table.
type GlobalIndex struct {
	IndexName             smithy.Opt[string]
	KeySchema             []KeyElement
	Projection            *Projection
	ProvisionedThroughput *Throughput
	OnDemandThroughput    *OnDemand
	WarmThroughput        *Warm
}

// NewImportRequest returns a request as a record keeps it.
func NewImportRequest(in *api.ImportTableInput) ImportRequest {
	out := ImportRequest{
		ClientToken: in.ClientToken, S3BucketSource: (*Source)(in.S3BucketSource), InputFormat: in.InputFormat, InputCompressionType: in.InputCompressionType,
	}
	if f := in.InputFormatOptions; f != nil {
		out.InputFormatOptions = &FormatOptions{Csv: (*CSVOptions)(f.Csv)}
	}
	if t := in.TableCreationParameters; t != nil {
		out.TableCreationParameters = &NewTable{
			TableName: t.TableName, BillingMode: t.BillingMode,
			AttributeDefinitions:  each(t.AttributeDefinitions, func(a api.AttributeDefinition) Attribute { return Attribute(a) }),
			KeySchema:             each(t.KeySchema, func(k api.KeySchemaElement) KeyElement { return KeyElement(k) }),
			ProvisionedThroughput: (*Throughput)(t.ProvisionedThroughput), OnDemandThroughput: (*OnDemand)(t.OnDemandThroughput),
			SSESpecification:       (*Encryption)(t.SSESpecification),
			GlobalSecondaryIndexes: each(t.GlobalSecondaryIndexes, newGlobalIndex),
		}
	}
	return out
}

func newGlobalIndex(x api.GlobalSecondaryIndex) GlobalIndex {
	return GlobalIndex{
		IndexName: x.IndexName, KeySchema: each(x.KeySchema, func(k api.KeySchemaElement) KeyElement { return KeyElement(k) }),
		Projection: (*Projection)(x.Projection), ProvisionedThroughput: (*Throughput)(x.ProvisionedThroughput),
		OnDemandThroughput: (*OnDemand)(x.OnDemandThroughput), WarmThroughput: (*Warm)(x.WarmThroughput),
	}
}

// Options returns the options as the API has them; nil for none.
func (r *ImportRequest) Options() *api.InputFormatOptions {
	if r.InputFormatOptions == nil {
		return nil
	}
	return &api.InputFormatOptions{Csv: (*api.CsvOptions)(r.InputFormatOptions.Csv)}
}

// Parameters returns the new table as the API has it; nil for none.
func (r *ImportRequest) Parameters() *api.TableCreationParameters {
	t := r.TableCreationParameters
	if t == nil {
		return nil
	}
	return &api.TableCreationParameters{
		TableName: t.TableName, BillingMode: t.BillingMode,
		AttributeDefinitions:  each(t.AttributeDefinitions, func(a Attribute) api.AttributeDefinition { return api.AttributeDefinition(a) }),
		KeySchema:             each(t.KeySchema, func(k KeyElement) api.KeySchemaElement { return api.KeySchemaElement(k) }),
		ProvisionedThroughput: (*api.ProvisionedThroughput)(t.ProvisionedThroughput), OnDemandThroughput: (*api.OnDemandThroughput)(t.OnDemandThroughput),
		SSESpecification: (*api.SSESpecification)(t.SSESpecification),
		GlobalSecondaryIndexes: each(t.GlobalSecondaryIndexes, func(x GlobalIndex) api.GlobalSecondaryIndex {
			return api.GlobalSecondaryIndex{
				IndexName: x.IndexName, KeySchema: each(x.KeySchema, func(k KeyElement) api.KeySchemaElement { return api.KeySchemaElement(k) }),
				Projection: (*api.Projection)(x.Projection), ProvisionedThroughput: (*api.ProvisionedThroughput)(x.ProvisionedThroughput),
				OnDemandThroughput: (*api.OnDemandThroughput)(x.OnDemandThroughput), WarmThroughput: (*api.WarmThroughput)(x.WarmThroughput),
			}
		}),
	}
}

// BulkRequest is a StartBulkPutItems.
type BulkRequest struct {
	ClientToken           smithy.Opt[string]
	InputS3Configuration  *BulkInput
	OutputS3Configuration *BulkOutput
	TableName             smithy.Opt[string]
	MaxWriteRequestUnits  smithy.Opt[int64]
	PerformanceTier       smithy.Opt[string]
}

// BulkInput is where the records of a bulk operation are.
type BulkInput struct {
	S3BucketOwner        smithy.Opt[string]
	S3Bucket             smithy.Opt[string]
	S3KeyPrefix          smithy.Opt[string]
	InputFormat          smithy.Opt[string]
	InputCompressionType smithy.Opt[string]
}

// BulkOutput is where a bulk operation reports what it refused.
type BulkOutput struct {
	S3BucketOwner  smithy.Opt[string]
	S3Bucket       smithy.Opt[string]
	S3KeyPrefix    smithy.Opt[string]
	S3SseAlgorithm smithy.Opt[string]
	S3SseKmsKeyId  smithy.Opt[string]
	OutputType     []string
}

// NewBulkRequest returns a request as a record keeps it.
func NewBulkRequest(in *api.StartBulkPutItemsInput) BulkRequest {
	return BulkRequest{
		ClientToken: in.ClientToken, InputS3Configuration: (*BulkInput)(in.InputS3Configuration), OutputS3Configuration: (*BulkOutput)(in.OutputS3Configuration),
		TableName: in.TableName, MaxWriteRequestUnits: in.MaxWriteRequestUnits, PerformanceTier: in.PerformanceTier,
	}
}

// each returns a list with every element converted; nil for nil.
func each[A, B any](list []A, convert func(A) B) []B {
	if list == nil {
		return nil
	}
	out := make([]B, len(list))
	for i := range list {
		out[i] = convert(list[i])
	}
	return out
}
