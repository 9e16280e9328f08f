package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/transfer"
)

func (s *Service) exportTableToPointInTime(ctx context.Context, req *Request, in *api.ExportTableToPointInTimeInput) (*api.ExportTableToPointInTimeOutput, error) {
	if _, ok := parseARN(in.TableArn.Value); !ok {
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
	t, err := s.tableForBackup(req, in.TableArn.Value)
	if err != nil {
		return nil, err
	}
	request := transfer.NewExportRequest(in)
	print, err := fingerprint(&request)
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
	e := &transfer.Export{Namespace: t.Namespace, Caller: req.Caller.Account, Table: t.Name, TableUUID: t.UUID, TableID: t.ID, Request: request, Fingerprint: print}
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

// exportWindow returns the period whose changes an incremental export contains.
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
