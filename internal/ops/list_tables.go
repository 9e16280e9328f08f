package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/smithy"
)

const maxTablesPerPage = 100

func (s *Service) listTables(_ context.Context, req *Request, in *api.ListTablesInput) (*api.ListTablesOutput, error) {
	names := s.Tables.Catalog.Names(s.namespace(req.Caller), in.ExclusiveStartTableName.Value)
	page, last := smithy.Page(names, in.Limit.Or(maxTablesPerPage), func(name string) string { return name })
	out := &api.ListTablesOutput{TableNames: page, LastEvaluatedTableName: last}
	if page == nil {
		out.TableNames = []string{}
	}
	return out, nil
}
