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
		return nil, awserr.ValidationError("Invalid Request: Unsupported InputFormatOptions for the given input format: " + in.InputFormat.Value + ".")
	}
	p := in.TableCreationParameters
	on := req.table(p.TableName.Value)
	on.part, on.name = kindImport, "*" // the import that there will be
	r, err := s.resolve(req, on)
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
	// AWS compares only the tables' names. Once the table is filled, its name is taken also for a repeated request.
	switch {
	case conflict && old.Table != t.Name:
		return nil, awserr.New(awserr.ImportConflict, "Import conflict: Duplicate request detected with conflicting parameters")
	case old != nil && old.Status != transfer.InProgress && s.Tables.Catalog.Get(r.Namespace, r.table) != nil:
		return nil, awserr.TableExists(t.Name)
	case old != nil:
		return &api.ImportTableOutput{ImportTableDescription: describeImport(s.Transfers.Current(old))}, nil
	}
	i := &transfer.Import{Namespace: r.Namespace, Caller: req.Caller.Account, Table: t.Name, TableUUID: t.UUID, Request: request, Fingerprint: print}
	i, taken, err := s.Transfers.StartImport(ctx, i, t)
	if err != nil {
		return nil, clientError(err)
	}
	if taken != nil {
		return nil, s.tableTaken(taken)
	}
	return &api.ImportTableOutput{ImportTableDescription: describeImport(s.Transfers.Current(i))}, nil
}
