package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/transfer"
)

// importTable validates the table to create before it looks at the client token, so an invalid request never matches an earlier
// import.
func (s *Service) importTable(ctx context.Context, req *Request, in *api.ImportTableInput) (*api.ImportTableOutput, error) {
	if in.InputFormatOptions != nil && in.InputFormatOptions.Csv != nil && in.InputFormat.Value != api.InputFormatCsv {
		return nil, awserr.Invalid("InputFormatOptions for CSV can only be specified when InputFormat is CSV")
	}
	p := in.TableCreationParameters
	r, err := s.resolve(req.Caller, req.table(p.TableName.Value))
	if err != nil {
		return nil, err
	}
	create := &api.CreateTableInput{
		TableName: p.TableName, AttributeDefinitions: p.AttributeDefinitions, KeySchema: p.KeySchema, BillingMode: p.BillingMode,
		ProvisionedThroughput: p.ProvisionedThroughput, OnDemandThroughput: p.OnDemandThroughput, SSESpecification: p.SSESpecification,
		GlobalSecondaryIndexes: p.GlobalSecondaryIndexes, VectorIndexes: p.VectorIndexes,
	}
	t, err := s.newTable(ctx, r.Namespace, r.table, create)
	if err != nil {
		return nil, err
	}
	request := transfer.NewImportRequest(in)
	print, err := fingerprint(&request)
	if err != nil {
		return nil, err
	}
	old, conflict := repeated(s, s.Transfers.Imports.List(r.Account, r.Region), in.ClientToken, print, func(i *transfer.Import) (string, string, int64) {
		return i.Request.ClientToken.Value, i.Fingerprint, i.End
	})
	switch {
	case conflict:
		return nil, awserr.New(awserr.ImportConflict, "There is an import with the same client token and different parameters")
	case old != nil:
		return &api.ImportTableOutput{ImportTableDescription: describeImport(s.Transfers.Current(old))}, nil
	}
	i := &transfer.Import{Namespace: r.Namespace, Caller: req.Caller.Account, Table: t.Name, TableUUID: t.UUID, Request: request, Fingerprint: print}
	i, taken, err := s.Transfers.StartImport(ctx, i, t)
	if err != nil {
		return nil, clientError(err)
	}
	if taken != nil {
		return nil, awserr.TableExists(taken.Name)
	}
	return &api.ImportTableOutput{ImportTableDescription: describeImport(s.Transfers.Current(i))}, nil
}
