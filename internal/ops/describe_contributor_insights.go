package ops

import (
	"context"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) describeContributorInsights(_ context.Context, req *Request, in *api.DescribeContributorInsightsInput) (*api.DescribeContributorInsightsOutput, error) {
	if err := checkIndexName(in.IndexName); err != nil {
		return nil, err
	}
	t, err := s.existing(req, req.index(in.TableName.Value, in.IndexName.Value))
	if err != nil {
		return nil, err
	}
	if t.Restoring() {
		return nil, awserr.TableNotFound(t.Name)
	}
	at, _, err := insightsOf(t, in.IndexName)
	if err != nil {
		return nil, err
	}
	i := *at
	out := &api.DescribeContributorInsightsOutput{
		TableName: smithy.Some(t.Name), IndexName: in.IndexName, ContributorInsightsStatus: smithy.Some(s.insightsStatus(i)),
	}
	if i != nil {
		out.LastUpdateDateTime = seconds(i.Changed)
		out.ContributorInsightsMode = smithy.Some(i.Mode)
		for _, r := range insightRules(t, in.IndexName.Value) {
			out.ContributorInsightsRuleList = append(out.ContributorInsightsRuleList, r.Name)
		}
	}
	return out, nil
}
