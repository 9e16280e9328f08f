package ops

import (
	"context"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/transfer"
)

func (s *Service) exportTableToPointInTime(ctx context.Context, call *smithy.Call, in *api.ExportTableToPointInTimeInput) (*api.ExportTableToPointInTimeOutput, error) {
	if _, _, ok := catalog.TableFromARN(in.TableArn.Value); !ok {
		return nil, awserr.Invalid("Invalid TableArn: " + in.TableArn.Value)
	}
	spec := in.IncrementalExportSpecification
	incremental := in.ExportType.Value == api.ExportTypeIncrementalExport
	switch {
	case incremental && (spec == nil || !spec.ExportFromTime.Set):
		return nil, awserr.Invalid("IncrementalExportSpecification with an ExportFromTime must be specified when ExportType is INCREMENTAL_EXPORT")
	case incremental && in.ExportTime.Set:
		return nil, awserr.Invalid("ExportTime must not be specified when ExportType is INCREMENTAL_EXPORT")
	case !incremental && spec != nil:
		return nil, awserr.Invalid("IncrementalExportSpecification can only be specified when ExportType is INCREMENTAL_EXPORT")
	case in.S3SseKmsKeyId.Set && in.S3SseAlgorithm.Value != api.S3SseAlgorithmKms:
		return nil, awserr.Invalid("S3SseKmsKeyId can only be specified when S3SseAlgorithm is KMS")
	}
	t, err := s.tableForBackup(call, in.TableArn.Value)
	if err != nil {
		return nil, err
	}
	print, err := fingerprint(in)
	if err != nil {
		return nil, err
	}
	old, conflict := repeated(s, s.Transfers.Exports.List(t.Account, t.Region), in.ClientToken, print, func(e *transfer.Export) (string, string, int64) {
		return e.Request.ClientToken.Value, e.Fingerprint, e.End
	})
	switch {
	case conflict:
		return nil, awserr.New(awserr.ExportConflict, "There is an export with the same client token and different parameters")
	case old != nil:
		return &api.ExportTableToPointInTimeOutput{ExportDescription: describeExport(old)}, nil
	}
	e := &transfer.Export{Namespace: t.Namespace, Caller: call.Caller.Account, Table: t.Name, TableUUID: t.UUID, TableID: t.ID, Request: *in, Fingerprint: print}
	if incremental {
		e.From, e.At, err = s.exportWindow(ctx, t, spec)
	} else {
		e.At, err = s.pointInTime(ctx, t, in.ExportTime, awserr.InvalidExportTime)
	}
	if err != nil {
		return nil, err
	}
	if _, err := s.exportFilter(t, in.FilterSpecification); err != nil {
		return nil, err
	}
	e, err = s.Transfers.StartExport(ctx, e)
	if err != nil {
		return nil, clientError(err)
	}
	return &api.ExportTableToPointInTimeOutput{ExportDescription: describeExport(e)}, nil
}

// exportWindow returns the time in which changes are to be exported.
func (s *Service) exportWindow(ctx context.Context, t *catalog.Table, spec *api.IncrementalExportSpecification) (from, to kv.TS, err error) {
	if from, err = s.pointInTime(ctx, t, spec.ExportFromTime, awserr.InvalidExportTime); err != nil {
		return 0, 0, err
	}
	if to, err = s.pointInTime(ctx, t, spec.ExportToTime, awserr.InvalidExportTime); err != nil {
		return 0, 0, err
	}
	if from >= to {
		return 0, 0, awserr.New(awserr.InvalidExportTime, "ExportFromTime must be before ExportToTime")
	}
	return from, to, nil
}

func describeExport(e *transfer.Export) *api.ExportDescription {
	in := &e.Request
	d := &api.ExportDescription{
		ExportArn: smithy.Some(e.ARN()), ExportStatus: smithy.Some(e.Status), StartTime: seconds(e.Start), EndTime: seconds(e.End),
		TableArn: smithy.Some(e.TableARN()), TableId: smithy.Some(e.TableUUID), ClientToken: in.ClientToken,
		S3Bucket: in.S3Bucket, S3BucketOwner: in.S3BucketOwner, S3Prefix: in.S3Prefix,
		S3SseAlgorithm: smithy.Some(in.S3SseAlgorithm.Or(api.S3SseAlgorithmAes256)), S3SseKmsKeyId: in.S3SseKmsKeyId,
		ExportFormat: smithy.Some(in.ExportFormat.Or(api.ExportFormatDynamodbJson)), ExportType: smithy.Some(in.ExportType.Or(api.ExportTypeFullExport)),
		FilterSpecification: in.FilterSpecification,
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

// jobKey returns the key of the record of an ARN such as …:table/NAME/export/ID, where kind is "export"; ok is false if the ARN is
// of none.
func (s *Service) jobKey(call *smithy.Call, arn, kind string) (key registry.ID, ok bool, _ error) {
	if err := s.authorizeARN(call, arn); err != nil {
		return key, false, err
	}
	ns, _, ok := catalog.TableFromARN(arn)
	if !ok {
		return key, false, nil
	}
	_, id, ok := strings.Cut(arn, "/"+kind+"/")
	return registry.ID{Account: ns.Account, Region: ns.Region, Name: id}, ok, nil
}

func (s *Service) describeExport(_ context.Context, call *smithy.Call, in *api.DescribeExportInput) (*api.DescribeExportOutput, error) {
	key, ok, err := s.jobKey(call, in.ExportArn.Value, "export")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, awserr.Invalid("Invalid ExportArn: " + in.ExportArn.Value)
	}
	e := s.Transfers.Exports.Get(key)
	if e == nil || e.ARN() != in.ExportArn.Value {
		return nil, awserr.New(awserr.ExportNotFound, "Export not found: "+in.ExportArn.Value)
	}
	return &api.DescribeExportOutput{ExportDescription: describeExport(e)}, nil
}

func (s *Service) listExports(_ context.Context, call *smithy.Call, in *api.ListExportsInput) (*api.ListExportsOutput, error) {
	if err := s.authorizeARN(call, in.TableArn.Value); err != nil {
		return nil, err
	}
	ns := s.namespace(call)
	var list []*transfer.Export
	for _, e := range s.Transfers.Exports.List(ns.Account, ns.Region) {
		if !in.TableArn.Set || in.TableArn.Value == e.TableARN() {
			list = append(list, e)
		}
	}
	page, next, err := pageOf(list, func(e *transfer.Export) string { return e.ID }, in.NextToken, in.MaxResults.Or(transfersPerPage), 0)
	if err != nil {
		return nil, err
	}
	out := &api.ListExportsOutput{ExportSummaries: []api.ExportSummary{}, NextToken: next}
	for _, e := range page {
		d := describeExport(e)
		out.ExportSummaries = append(out.ExportSummaries, api.ExportSummary{ExportArn: d.ExportArn, ExportStatus: d.ExportStatus, ExportType: d.ExportType})
	}
	return out, nil
}
