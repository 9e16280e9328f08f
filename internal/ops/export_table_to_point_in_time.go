package ops

import (
	"context"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/transfer"
)

// checkExport runs the checks that do not need the table.
func checkExport(in *api.ExportTableToPointInTimeInput) error {
	spec := in.IncrementalExportSpecification
	incremental := in.ExportType.Value == api.ExportTypeIncrementalExport
	r, isARN := parseARN(in.TableArn.Value)
	switch {
	case in.TableArn.Value == "":
		return awserr.ValidationError("Invalid TableArn: Invalid Table ARN")
	case !isARN:
		return awserr.Invalid("tableArn is not a valid ARN")
	case r.kind != kindTable:
		return invalidExport("Table ARN is invalid.")
	case incremental && spec == nil:
		return invalidExport("Incremental Export Specification expected when export type is set as Incremental Export")
	case incremental && !spec.ExportFromTime.Set:
		return invalidExport("ExportFromTime must be provided in IncrementalExportSpecification")
	case in.ExportType.Set && !incremental && spec != nil:
		return invalidExport("When Export Type is Full Export , Incremental Export Specification should not be provided")
	case !incremental && spec != nil:
		return invalidExport("Export Type expected to be Incremental Export when incremental export specification is provided")
	case in.S3SseKmsKeyId.Set && in.S3SseAlgorithm.Value != api.S3SseAlgorithmKms:
		return invalidExport("KMS Key Id is not supported for this encryption type")
	case in.FilterSpecification != nil && emptyFilter(in.FilterSpecification):
		return invalidExport("Invalid FilterSpecification: The specification can not be empty")
	}
	return nil
}

func invalidExport(reason string) error { return awserr.ValidationError("Invalid Request: " + reason) }

func emptyFilter(f *api.FilterSpecification) bool {
	return !f.KeyConditionExpression.Set && !f.FilterExpression.Set && !f.ProjectionExpression.Set && f.ExpressionAttributeNames == nil && f.ExpressionAttributeValues.Len() == 0
}

func (s *Service) exportTableToPointInTime(ctx context.Context, req *Request, in *api.ExportTableToPointInTimeInput) (*api.ExportTableToPointInTimeOutput, error) {
	if err := checkExport(in); err != nil {
		return nil, err
	}
	spec := in.IncrementalExportSpecification
	incremental := in.ExportType.Value == api.ExportTypeIncrementalExport
	t, err := s.tableForBackup(req, in.TableArn.Value)
	if err != nil {
		return nil, err
	}
	if t.Region != s.namespace(req.Caller).Region { // AWS only exports tables of the region
		return nil, awserr.TableNotFoundForBackup(in.TableArn.Value)
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
		return nil, awserr.New(awserr.ExportConflict, "Export conflict: Duplicate request detected with conflicting parameters")
	case old != nil:
		return &api.ExportTableToPointInTimeOutput{ExportDescription: describeExport(old)}, nil
	}
	e := &transfer.Export{Namespace: t.Namespace, Caller: req.Caller.Account, Table: t.Name, TableUUID: t.UUID, TableID: t.ID, Request: request, Fingerprint: print}
	if incremental {
		e.From, e.At, err = s.exportWindow(ctx, t, spec)
	} else {
		e.At, err = s.pointInTime(ctx, t, in.ExportTime, func(asked float64, w window) error {
			if ms := millis(asked); ms > w.latest.Millis() && ms <= s.Now().UnixMilli() {
				return invalidExportTime("Point in Time Recovery is not available for specified export time")
			}
			return invalidExportTime("Export Time is invalid")
		})
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

func invalidExportTime(reason string) error { return awserr.New(awserr.InvalidExportTime, reason) }

// minExportWindow is the shortest period of an incremental export ("ExportTableToPointInTime").
const minExportWindow = 15 * time.Minute

// exportWindow returns the period whose changes an incremental export contains.
func (s *Service) exportWindow(ctx context.Context, t *catalog.Table, spec *api.IncrementalExportSpecification) (from, to kv.TS, err error) {
	now := s.Now().UnixMilli()
	asked := [2]int64{millis(spec.ExportFromTime.Value), millis(spec.ExportToTime.Or(float64(now) / 1000))}
	switch {
	case asked[0] < t.Created/1000*1000:
		return 0, 0, invalidExportTime("Incremental export period from time cannot be less than the table creation time : " + second(asked[0]))
	case asked[1] > now:
		return 0, 0, invalidExportTime("Incremental export period to time cannot be greater than the current time : " + second(asked[1]))
	case asked[1]-asked[0] < minExportWindow.Milliseconds():
		return 0, 0, invalidExportTime("Difference between export period from time and export period to time is less than 15 minutes")
	}
	outside := func(float64, window) error {
		return invalidExportTime("Point in Time Recovery is not available for specified export time")
	}
	if from, err = s.pointInTime(ctx, t, spec.ExportFromTime, outside); err != nil {
		return 0, 0, err
	}
	if to, err = s.pointInTime(ctx, t, spec.ExportToTime, outside); err != nil {
		return 0, 0, err
	}
	return from, to, nil
}
