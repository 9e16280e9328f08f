package awserr

import (
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/wirejson"
)

// AWS's semantic sentences that have parameters or several users, one function each. A sentence of a single operation is in that
// operation's file. Odd spacing is AWS's.

// validation returns a ValidationException with the concatenated parts.
func validation(parts ...string) *Error { return New(Validation, strings.Join(parts, "")) }

// invalidValue is validation with AWS's usual prefix.
func invalidValue(parts ...string) *Error {
	return validation("One or more parameter values were invalid: ", strings.Join(parts, ""))
}

// whole is validation for errors that fail a whole transaction.
func whole(parts ...string) *Error {
	e := validation(parts...)
	e.Whole = true
	return e
}

// ValidationError is a ValidationException with a sentence that has a single user, and therefore lives there: in an operation, an
// expression, or a number.
func ValidationError(sentence string) *Error { return validation(sentence) }

// RequestError is ValidationError for what AWS's request validator finds.
func RequestError(sentence string) *Error { return validation(sentence).In(Request) }

// Tables.

// TableNotFound is for operations on a table itself.
func TableNotFound(name string) *Error {
	return New(ResourceNotFound, "Requested resource not found: Table: "+name+" not found")
}

// TableNotFoundForBackup is TableNotFound for operations on backups and point-in-time recovery.
func TableNotFoundForBackup(name string) *Error {
	return New(TableNotFoundCode, "Table not found: "+name)
}

// TableBusyForBackup is for backups and point-in-time recovery of a table that is being created or deleted.
func TableBusyForBackup(name string) *Error {
	return New(TableInUse, "Table is being created or deleted: "+name)
}

// NotFound is TableNotFound for operations on items.
func NotFound() *Error { return New(ResourceNotFound, "Requested resource not found") }

// InvalidTableName is for names of the wrong length or with wrong characters.
func InvalidTableName() *Error {
	return validation("Invalid table/index name.  Table/index names must be between 3 and 255 characters long, and may contain only the characters a-z, A-Z, 0-9, '_', '-', and '.'")
}

// TableNameLength is for restores to a table whose name has the wrong length.
func TableNameLength() *Error {
	return validation("TableName must be at least 3 characters long and at most 255 characters long")
}

// TableExists is for CreateTable.
func TableExists(name string) *Error { return New(ResourceInUse, "Table already exists: "+name) }

// StillInUse is for changes of a resource that another change still uses; what says what that is.
func StillInUse(what string) *Error {
	return New(ResourceInUse, "Attempt to change a resource which is still in use: "+what)
}

// TableBusy is for changes of a table that is being created or deleted; what is that word.
func TableBusy(what, name string) *Error { return StillInUse("Table is being " + what + ": " + name) }

// DeletionProtected is for DeleteTable.
func DeletionProtected() *Error {
	return validation("Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
}

// IndexNotFound is for Query and Scan.
func IndexNotFound(name string) *Error {
	return validation("The table does not have the specified index: ", name)
}

// ThroughputForbidden is for on-demand tables.
func ThroughputForbidden() *Error {
	return invalidValue("Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
}

// ThroughputUnchanged is for UpdateTable. of is "the table" or "index" and an index's name.
func ThroughputUnchanged(of string, read, write int64) *Error {
	r, w := strconv.FormatInt(read, 10), strconv.FormatInt(write, 10)
	what := of
	if what != "the table" {
		what = "the " + of
	}
	return validation("The provisioned throughput for ", what, " will not change. The requested value equals the current value. Current ReadCapacityUnits provisioned for ", of, ": ",
		r, ". Requested ReadCapacityUnits: ", r, ". Current WriteCapacityUnits provisioned for ", of, ": ", w, ". Requested WriteCapacityUnits: ", w,
		". Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits.")
}

// NothingToUpdate is for UpdateTable.
func NothingToUpdate() *Error {
	return validation("At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates, SSESpecification, ReplicaUpdates, MultiAccountReplicaReady, ReplicaTransitRoleArn, MultiRegionConsistency, DeletionProtectionEnabled, OnDemandThroughput, WarmThroughput or TableClass is required")
}

// Denied is for requests on resources of other accounts that AWS refuses without saying more.
func Denied() *Error { return New(AccessDenied, "Access is denied") }

// MissingParameter is for parameters required by an operation's own rules rather than by the model.
func MissingParameter(name string) *Error {
	return validation("The parameter '", name, "' is required but was not present in the request")
}

// Invalid is for sentences that begin with "One or more parameter values were invalid: ".
func Invalid(sentence string) *Error { return invalidValue(sentence) }

// InvalidRequest is Invalid for what AWS's request validator finds.
func InvalidRequest(sentence string) *Error { return invalidValue(sentence).In(Request) }

// Keys and items.

// KeyMismatch is for keys that don't match the table's key schema.
func KeyMismatch() *Error {
	return validation("The provided key element does not match the schema")
}

// MissingKey is for items without a key attribute.
func MissingKey(name string) *Error { return invalidValue("Missing the key ", name, " in the item") }

// KeyType is for items with a key attribute of the wrong type.
func KeyType(name, expected, actual string) *Error {
	return invalidValue("Type mismatch for key ", name, " expected: ", expected, " actual: ", actual)
}

// EmptyKey is for empty key attributes; kind is string or binary.
func EmptyKey(name, kind string) *Error {
	return whole("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty ", kind, " value. Key: ", name)
}

// PartitionKeyTooLarge is for partition keys above 2,048 bytes.
func PartitionKeyTooLarge() *Error {
	return invalidValue("Size of hashkey has exceeded the maximum size limit of2048 bytes")
}

// SortKeyTooLarge is for sort keys above 1,024 bytes.
func SortKeyTooLarge() *Error {
	return invalidValue("Aggregated size of all range keys has exceeded the size limit of 1024 bytes")
}

// IndexKeyType is for items with an index's key attribute of the wrong type.
func IndexKeyType(name, expected, actual, index string) *Error {
	return invalidValue("Type mismatch for Index Key ", name, " Expected: ", expected, " Actual: ", actual, " IndexName: ", index)
}

// IndexKeyEmpty is for items with an empty key attribute of an index; kind is string or binary.
func IndexKeyEmpty(name, kind, index string) *Error {
	return whole("One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty ",
		kind, " value. IndexName: ", index, ", IndexKey: ", name)
}

// UpdateIndexKeyEmpty is IndexKeyEmpty for updates.
func UpdateIndexKeyEmpty(kind string) *Error {
	return whole("One or more parameter values are not valid. The update expression attempted to update a secondary index key to a value that is not supported. The AttributeValue for a key attribute cannot contain an empty ", kind, " value.")
}

// ItemTooLarge is for items above 400 KB.
func ItemTooLarge() *Error { return validation("Item size has exceeded the maximum allowed size") }

// UpdatedItemTooLarge is ItemTooLarge for updates.
func UpdatedItemTooLarge() *Error {
	return validation("Item size to update has exceeded the maximum allowed size")
}

// TooDeep is for items with values nested deeper than 32 levels.
func TooDeep() *Error {
	return validation("Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit")
}

// UpdatedTooDeep is TooDeep for updates.
func UpdatedTooDeep() *Error { return validation("Nesting Levels have exceeded supported limits") }

// EmptyName is for empty names of attributes in legacy parameters.
func EmptyName() *Error { return RequestError("Empty attribute name") }

// LongName is for names of attributes in legacy parameters that are longer than 65,535 bytes.
func LongName() *Error {
	return RequestError("Attribute name is too large, must be less than 65536 bytes")
}

// KeyUpdate is for updates of a key attribute.
func KeyUpdate(name string) *Error {
	return invalidValue("Cannot update attribute ", name, ". This attribute is part of the key")
}

// ConditionFailed is for a condition that isn't met. item is the rendered item, or empty.
func ConditionFailed(item []byte) *Error {
	e := New(ConditionalCheckFailed, "The conditional request failed")
	if len(item) > 0 {
		e.Fields = append([]byte(`"Item":`), item...)
	}
	return e
}

// InvalidReturnValues is for PutItem and DeleteItem.
func InvalidReturnValues() *Error { return RequestError("ReturnValues can only be ALL_OLD or NONE") }

// Parameters.

// MixedParameters is for requests with both expressions and legacy parameters.
func MixedParameters(legacy, expressions []string) *Error {
	return validation("Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {",
		strings.Join(legacy, ", "), "} Expression parameters: {", strings.Join(expressions, ", "), "}").In(Request)
}

// NamesWithoutExpression is for ExpressionAttributeNames without an expression.
func NamesWithoutExpression() *Error {
	return RequestError("ExpressionAttributeNames can only be specified when using expressions")
}

// ValuesWithoutExpression is for ExpressionAttributeValues without an expression. missing are the parameters that AWS names, if any.
func ValuesWithoutExpression(missing ...string) *Error {
	const sentence = "ExpressionAttributeValues can only be specified when using expressions"
	switch len(missing) {
	case 0:
		return RequestError(sentence)
	case 1:
		return RequestError(sentence + ": " + missing[0] + " is null")
	}
	return RequestError(sentence + ": " + strings.Join(missing, " and ") + " are null")
}

// InvalidExpression is for an invalid expression in a parameter.
func InvalidExpression(parameter, reason string) *Error {
	return validation("Invalid ", parameter, ": ", reason).In(Request)
}

// Query and Scan.

// KeyConditionsRequired is for a Query without key conditions.
func KeyConditionsRequired() *Error {
	return validation("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
}

// InvalidStartKey is for an ExclusiveStartKey that isn't a key of the table or index.
func InvalidStartKey() *Error {
	return validation("The provided starting key is invalid")
}

// InvalidScanStart is InvalidStartKey as Scan words it.
func InvalidScanStart() *Error {
	return validation("The provided starting key is invalid: The provided key element does not match the schema")
}

// StartKeyOutside is for an ExclusiveStartKey with another partition key than the query's.
func StartKeyOutside() *Error {
	return validation("The provided starting key is outside query boundaries based on provided conditions")
}

// StartKeyRange is for an ExclusiveStartKey that the condition on the sort key excludes.
func StartKeyRange() *Error {
	return validation("The provided starting key does not match the range key predicate")
}

// StartKeySegment is for an ExclusiveStartKey of another segment.
func StartKeySegment(segment, total int64) *Error {
	return validation("The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment. TotalSegments: ",
		strconv.FormatInt(total, 10), " Segment: ", strconv.FormatInt(segment, 10))
}

// TotalSegmentsRequired is for a Segment without TotalSegments.
func TotalSegmentsRequired() *Error {
	return validation("The TotalSegments parameter is required but was not present in the request when Segment parameter is present")
}

// SegmentRequired is for TotalSegments without a Segment.
func SegmentRequired() *Error {
	return validation("The Segment parameter is required but was not present in the request when parameter TotalSegments is present")
}

// SegmentTooLarge is for a Segment that isn't less than TotalSegments.
func SegmentTooLarge(segment, total int64) *Error {
	return validation("The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: ",
		strconv.FormatInt(segment, 10), " is not less than TotalSegments: ", strconv.FormatInt(total, 10))
}

// ConsistentIndexRead is for strongly consistent reads of a GSI.
func ConsistentIndexRead() *Error {
	return validation("Consistent reads are not supported on global secondary indexes")
}

// QueryMissesKey is for key conditions without one on a key attribute.
func QueryMissesKey(name string) *Error {
	return validation("Query condition missed key schema element: ", name)
}

// QueryConditions is for more key conditions than the table or index has key attributes.
func QueryConditions(conditions, attributes int) *Error {
	return validation("The number of query conditions (", strconv.Itoa(conditions), ") exceeds the number of key attributes defined in the schema (",
		strconv.Itoa(attributes), ")")
}

// QueryGap is for a condition on a sort key attribute if earlier ones, the missing, have no equality.
func QueryGap(missing []string, name string) *Error {
	return validation("RANGE key attributes ", strings.Join(missing, ", "),
		" must have equality conditions specified in the query because a condition is present on key attribute ", name)
}

// QueryUnsupported is for key conditions with an operator that keys don't allow.
func QueryUnsupported() *Error { return validation("Query key condition not supported") }

// ConditionType is for key conditions with a value of a different type than the key.
func ConditionType() *Error {
	return invalidValue("Condition parameter type does not match schema type")
}

// FilterHasKey is for filters on key attributes; parameter is "Filter Expression", QueryFilter or ScanFilter.
func FilterHasKey(parameter, name string) *Error {
	return validation(parameter, " can only contain non-primary key attributes: Primary key attribute: ", name)
}

// Batches and transactions.

// DuplicateKeys is for batches that name an item twice.
func DuplicateKeys() *Error { return validation("Provided list of item keys contains duplicates") }

// DuplicateTransactItems is for transactions that name an item twice.
func DuplicateTransactItems() *Error {
	return validation("Transaction request cannot include multiple operations on one item")
}

// TransactItemEmpty is for an element of TransactItems without an operation.
func TransactItemEmpty() *Error {
	return validation("Invalid Request: TransactWriteRequest should contain Delete or Put or Update request")
}

// TransactItemAmbiguous is for an element of TransactItems with several operations.
func TransactItemAmbiguous() *Error {
	return validation("TransactItems can only contain one of Check, Put, Update or Delete")
}

// IdempotentMismatch is for a ClientRequestToken that was used with a different request.
func IdempotentMismatch() *Error {
	return New(IdempotentParameterMismatch, "The provided client token was previously used with a different request payload")
}

// Conflict is for a single write to an item that a running transaction uses.
func Conflict() *Error {
	return New(TransactionConflict, "Transaction is ongoing for the item")
}

// InProgress is for a ClientRequestToken whose transaction is still running.
func InProgress() *Error {
	return New(TransactionInProgress, "The transaction with the given request token is already in progress.")
}

// Reason is one cancellation reason of a transaction.
type Reason struct {
	Code    string // None for operations that didn't cause the cancellation
	Message string
	Item    []byte // rendered as JSON; empty if the item is not returned
}

// Canceled is for a transaction that was refused.
func Canceled(reasons []Reason) *Error {
	codes := make([]string, len(reasons))
	fields := []byte(`"CancellationReasons":[`)
	for i, r := range reasons {
		codes[i] = r.Code
		if i > 0 {
			fields = append(fields, ',')
		}
		fields = append(fields, `{"Code":"`...)
		fields = append(fields, r.Code...)
		fields = append(fields, '"')
		if len(r.Item) > 0 {
			fields = append(fields, `,"Item":`...)
			fields = append(fields, r.Item...)
		}
		if r.Message != "" {
			fields = append(fields, `,"Message":`...)
			fields = wirejson.AppendString(fields, r.Message)
		}
		fields = append(fields, '}')
	}
	e := New(TransactionCanceled, "Transaction cancelled, please refer cancellation reasons for specific reasons ["+strings.Join(codes, ", ")+"]")
	e.Fields, e.Reasons = append(fields, ']'), reasons
	return e
}

// ThroughputExceeded is for tables and GSIs with provisioned throughput. reasons is a JSON list of ThrottlingReason.
func ThroughputExceeded(index bool, reasons []byte) *Error {
	e := New(ThroughputExceededCode, "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API.")
	if index {
		e.Message = "The level of configured provisioned throughput for one or more global secondary indexes of the table was exceeded. Consider increasing your provisioning level for the under-provisioned global secondary indexes with the UpdateTable API"
	}
	e.Fields = append([]byte(`"ThrottlingReasons":`), reasons...)
	return e
}

// Throttled is for on-demand tables: one with a configured maximum, a write that exceeds a GSI's capacity, or any other. reasons is a JSON
// list of ThrottlingReason.
func Throttled(maximum, index bool, reasons []byte) *Error {
	e := New(Throttling, "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your table or index so please try again shortly. If exceptions persist, check if you have a hot key: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html")
	switch {
	case maximum:
		e.Message = "Throughput exceeds the maximum OnDemandThroughput configured on table or index"
	case index:
		e.Message = "Throughput exceeds the current capacity for one or more global secondary indexes. DynamoDB is automatically scaling your index so please try again shortly."
	}
	e.Fields = append([]byte(`"throttlingReasons":`), reasons...)
	return e
}

// AccountLimit is for accounts beyond their rate of requests.
func AccountLimit() *Error {
	return New(RequestLimitExceeded, "Throughput exceeds the current throughput limit for your account. Please contact AWS Support at https://aws.amazon.com/support request a limit increase")
}

// AccountThrottled is for on-demand tables beyond the per-table quota. reasons is a JSON list of ThrottlingReason.
func AccountThrottled(reasons []byte) *Error {
	e := AccountLimit()
	e.Fields = append([]byte(`"ThrottlingReasons":`), reasons...)
	return e
}
