package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
)

const maxTablesPerPage = 100

func (s *Service) listTables(_ context.Context, req *Request, in *api.ListTablesInput) (*api.ListTablesOutput, error) {
	names, more := s.Tables.Catalog.List(s.namespace(req.Caller), in.ExclusiveStartTableName.Value, int(in.Limit.Or(maxTablesPerPage)))
	out := &api.ListTablesOutput{TableNames: names}
	if names == nil {
		out.TableNames = []string{}
	}
	if more {
		out.LastEvaluatedTableName = smithy.Some(names[len(names)-1])
	}
	return out, nil
}
