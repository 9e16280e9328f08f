package ops

import (
	"context"
	"encoding/base64"
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
		for _, t := range s.Tables.Catalog.Tables() {
			if t.Namespace == s.namespace(req.Caller) && t.DeletingUntil == 0 {
				tables = append(tables, t)
			}
		}
	}
	slices.SortFunc(tables, func(a, b *catalog.Table) int { return strings.Compare(a.Name, b.Name) })
	var all []api.ContributorInsightsSummary
	add := func(t *catalog.Table, index smithy.Opt[string], i *catalog.Insights) {
		if i == nil {
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
	name := func(c *api.ContributorInsightsSummary) string { return c.TableName.Value + "/" + c.IndexName.Value }
	after, err := base64.StdEncoding.DecodeString(in.NextToken.Value)
	if err != nil {
		return nil, awserr.ValidationError("Invalid NextToken")
	}
	out := &api.ListContributorInsightsOutput{ContributorInsightsSummaries: []api.ContributorInsightsSummary{}}
	limit := int(in.MaxResults.Or(maxInsights))
	for i := range all {
		if name(&all[i]) <= string(after) {
			continue
		}
		if n := len(out.ContributorInsightsSummaries); n > 0 && n >= limit {
			out.NextToken = smithy.Some(base64.StdEncoding.EncodeToString([]byte(name(&out.ContributorInsightsSummaries[n-1]))))
			break
		}
		out.ContributorInsightsSummaries = append(out.ContributorInsightsSummaries, all[i])
	}
	return out, nil
}
