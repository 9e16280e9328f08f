package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

// deleteTable describes the table before it is gone. Its items are removed in the background.
func (s *Service) deleteTable(ctx context.Context, req *Request, in *api.DeleteTableInput) (*api.DeleteTableOutput, error) {
	r, err := s.named(req, req.table(in.TableName.Value))
	if err != nil {
		return nil, err
	}
	var d *api.TableDescription
	t, err := s.Tables.Catalog.Delete(ctx, r.Namespace, r.table, s.TransientStatus, func(t *catalog.Table) error {
		if t.DeletionProtection {
			return awserr.DeletionProtected()
		}
		if err := s.admitDelete(t, s.Now()); err != nil {
			return err
		}
		var err error
		d, err = s.describe(ctx, t, false)
		return err
	})
	if err != nil {
		return nil, clientError(err)
	}
	if t == nil {
		return nil, awserr.TableNotFound(r.table)
	}
	// While it is being deleted, AWS describes a table by little more than its name, throughput and size.
	d.TableStatus = smithy.Some(catalog.Deleting)
	d.KeySchema, d.AttributeDefinitions, d.CreationDateTime = nil, nil, smithy.Opt[float64]{}
	d.LocalSecondaryIndexes, d.GlobalSecondaryIndexes, d.WarmThroughput = nil, nil, nil
	return &api.DeleteTableOutput{TableDescription: d}, nil
}
