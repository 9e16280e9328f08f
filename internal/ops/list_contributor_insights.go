package ops

import (
	"context"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

// maxInsights is the default page size of ListContributorInsights.
const maxInsights = 100

func (s *Service) listContributorInsights(_ context.Context, req *Request, in *api.ListContributorInsightsInput) (*api.ListContributorInsightsOutput, error) {
	var tables []*catalog.Table
	if in.TableName.Set {
		t, err := s.existing(req, req.table(in.TableName.Value))
		if err != nil {
			return nil, err
		}
		tables = append(tables, t)
	} else {
		for t := range s.Tables.Catalog.Tables() {
			if t.Namespace == s.namespace(req.Caller) && t.DeletingUntil == 0 {
				tables = append(tables, t)
			}
		}
	}
	var all []api.ContributorInsightsSummary
	add := func(t *catalog.Table, index smithy.Opt[string], i *catalog.Insights) {
		if s.insightsStatus(i) == api.ContributorInsightsStatusDisabled {
			return
		}
		all = append(all, api.ContributorInsightsSummary{
			TableName: smithy.Some(t.Name), IndexName: index, ContributorInsightsStatus: smithy.Some(s.insightsStatus(i)), ContributorInsightsMode: smithy.Some(i.Mode),
		})
	}
	for _, t := range tables {
		add(t, smithy.Opt[string]{}, t.Insights)
		for _, x := range t.Indexes {
			add(t, smithy.Some(x.Name), x.Insights)
		}
	}
	name := func(c api.ContributorInsightsSummary) string { return c.TableName.Value + "/" + c.IndexName.Value }
	slices.SortFunc(all, func(a, b api.ContributorInsightsSummary) int { return strings.Compare(name(a), name(b)) })
	if in.NextToken.Set {
		after, err := smithy.DecodeToken(in.NextToken.Value)
		if err != nil {
			return nil, awserr.ValidationError("Invalid NextToken")
		}
		all = smithy.After(all, smithy.Some(after), name)
	}
	page, last := smithy.Page(all, in.MaxResults.Or(maxInsights), name)
	out := &api.ListContributorInsightsOutput{ContributorInsightsSummaries: append([]api.ContributorInsightsSummary{}, page...)}
	if last.Set {
		out.NextToken = smithy.Some(smithy.EncodeToken(last.Value))
	}
	return out, nil
}
