package ops

import (
	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/transfer"
)

// describeBulk describes a bulk operation. Bytes per index are stored by index ID and reported by name.
func (s *Service) describeBulk(b *transfer.Bulk) *api.BulkOperationDescription {
	in := &b.Request
	name := smithy.Some(b.Table)
	d := &api.BulkOperationDescription{
		BulkOperationArn: smithy.Some(b.ARN()), BulkOperationStatus: smithy.Some(b.Status), ClientToken: in.ClientToken,
		TableDetails:         []api.BulkOperationTableDetail{{TableName: name, TableId: smithy.Some(b.TableUUID)}},
		InputS3Configuration: (*api.InputS3Configuration)(in.InputS3Configuration), OutputS3Configuration: (*api.OutputS3Configuration)(in.OutputS3Configuration),
		StartTime: seconds(b.Start), EndTime: seconds(b.End), ProcessedItemCount: smithy.Some(b.Items), FailedItemCount: smithy.Some(b.Errors),
		ProcessedInputBytes: smithy.Some(b.Bytes), TotalInputBytes: smithy.Opt[int64]{Value: b.Total, Set: b.Total > 0},
		MaxWriteRequestUnits: in.MaxWriteRequestUnits, PerformanceTier: smithy.Some(in.PerformanceTier.Or(api.BulkOperationPerformanceTierStandard)),
	}
	if b.Failure != nil {
		d.FailureCode, d.FailureMessage = smithy.Some(b.Failure.Code), smithy.Some(b.Failure.Message)
	}
	usage := api.BulkOperationUsage{TableName: name, Table: &api.BulkOperationBytes{BulkPutBytes: smithy.Some[int64](0)}}
	var total int64
	t := s.Tables.Catalog.Get(b.Namespace, b.Table)
	for id, n := range b.PutBytes {
		total += n
		bytes := api.BulkOperationBytes{BulkPutBytes: smithy.Some(n)}
		if id == 0 {
			usage.Table = &bytes
			continue
		}
		if t == nil || t.ID != b.TableID || t.IndexByID(uint8(id)) == nil {
			continue // the index is gone, and with it its name
		}
		if x := t.IndexByID(uint8(id)); x.Global {
			usage.GlobalSecondaryIndexes.Put(x.Name, bytes)
		} else {
			usage.LocalSecondaryIndexes.Put(x.Name, bytes)
		}
	}
	usage.BulkPutBytes = smithy.Some(total)
	d.BulkOperationUsage = []api.BulkOperationUsage{usage}
	return d
}

// bulk returns the bulk operation that a request names by ARN.
func (s *Service) bulk(req *Request, arn string) (*transfer.Bulk, error) {
	r, err := s.resolve(req, req.resource(kindBulk, arn))
	if err != nil {
		return nil, err
	}
	if b := s.Transfers.Bulk.Get(r.id()); b != nil {
		return b, nil
	}
	return nil, awserr.New(awserr.ResourceNotFound, "Bulk operation not found: "+arn)
}
