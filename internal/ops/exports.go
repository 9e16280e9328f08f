package ops

import (
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/transfer"
)

// describeExport describes an export, with the defaults that AWS shows for missing parameters.
func describeExport(e *transfer.Export) *api.ExportDescription {
	in := &e.Request
	d := &api.ExportDescription{
		ExportArn: smithy.Some(e.ARN()), ExportStatus: smithy.Some(e.Status), StartTime: seconds(e.Start), EndTime: seconds(e.End),
		TableArn: smithy.Some(e.TableARN()), TableId: smithy.Some(e.TableUUID), ClientToken: in.ClientToken,
		S3Bucket: in.S3Bucket, S3BucketOwner: in.S3BucketOwner, S3Prefix: in.S3Prefix,
		S3SseAlgorithm: smithy.Some(in.S3SseAlgorithm.Or(api.S3SseAlgorithmAes256)), S3SseKmsKeyId: in.S3SseKmsKeyId,
		ExportFormat: smithy.Some(in.ExportFormat.Or(api.ExportFormatDynamodbJson)), ExportType: in.ExportType,
		FilterSpecification: in.Filter(),
	}
	if e.Incremental() {
		d.IncrementalExportSpecification = &api.IncrementalExportSpecification{
			ExportFromTime: seconds(e.From.Millis()), ExportToTime: seconds(e.At.Millis()),
			ExportViewType: smithy.Some(in.IncrementalExportSpecification.ExportViewType.Or(api.ExportViewTypeNewAndOldImages)),
		}
	} else {
		d.ExportTime = seconds(e.At.Millis())
	}
	switch e.Status {
	case transfer.Completed:
		d.ExportManifest = smithy.Some(e.Manifest())
		d.ItemCount, d.BilledSizeBytes = smithy.Some(e.Items), smithy.Some(e.Bytes)
	case transfer.Failed:
		d.FailureCode, d.FailureMessage = smithy.Some(e.Failure.Code), smithy.Some(e.Failure.Message)
	}
	return d
}
