package ops

import (
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/transfer"
)

// logGroup returns the log group where AWS would report rejected items. Stator writes them to its own log.
func logGroup(i *transfer.Import) smithy.Opt[string] {
	return smithy.Some("arn:aws:logs:" + i.Region + ":" + i.Account + ":log-group:/aws-dynamodb/imports:*")
}

func describeImport(i *transfer.Import) *api.ImportTableDescription {
	in := &i.Request
	source := api.S3BucketSource(*in.S3BucketSource)
	source.S3BucketOwner = smithy.Some(source.S3BucketOwner.Or(i.Account))
	d := &api.ImportTableDescription{
		ImportArn: smithy.Some(i.ARN()), ImportStatus: smithy.Some(i.Status), TableArn: smithy.Some(i.TableARN()), TableId: smithy.Some(i.TableUUID),
		ClientToken: in.ClientToken, S3BucketSource: &source, ErrorCount: smithy.Some(i.Errors), CloudWatchLogGroupArn: logGroup(i),
		InputFormat: in.InputFormat, InputFormatOptions: in.Options(), InputCompressionType: smithy.Some(in.InputCompressionType.Or(api.InputCompressionTypeNone)),
		TableCreationParameters: in.Parameters(), StartTime: seconds(i.Start), EndTime: seconds(i.End),
		ProcessedSizeBytes: smithy.Some(i.Bytes), ProcessedItemCount: smithy.Some(i.Processed), ImportedItemCount: smithy.Some(i.Imported),
	}
	if i.Failure != nil {
		d.FailureCode, d.FailureMessage = smithy.Some(i.Failure.Code), smithy.Some(i.Failure.Message)
	}
	return d
}
