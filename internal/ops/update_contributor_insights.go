package ops

import (
	"context"
	"fmt"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

func (s *Service) updateContributorInsights(ctx context.Context, req *Request, in *api.UpdateContributorInsightsInput) (*api.UpdateContributorInsightsOutput, error) {
	enable := in.ContributorInsightsAction.Value == api.ContributorInsightsActionEnable
	now := s.Now()
	// The catalog keeps the mode longer than the request's body lives.
	mode := strings.Clone(in.ContributorInsightsMode.Value)
	t, err := s.change(ctx, req, req.index(in.TableName.Value, in.IndexName.Value), func(t *catalog.Table) error {
		at, _, err := insightsOf(t, in.IndexName)
		if err != nil {
			return err
		}
		next := &catalog.Insights{Mode: catalog.InsightsAllKeys}
		if *at != nil {
			*next = **at
		}
		if mode != "" {
			next.Mode = mode
		}
		// Rules are named after the time at which they were enabled.
		if enable && !next.Enabled {
			next.Rules = fmt.Sprint(now.UnixMilli())
		}
		next.Enabled, next.Changed = enable, now.UnixMilli()
		mode = next.Mode
		*at = next
		return nil
	})
	if err != nil {
		return nil, err
	}
	status := api.ContributorInsightsStatusDisabling
	if enable {
		status = api.ContributorInsightsStatusEnabling
	}
	return &api.UpdateContributorInsightsOutput{
		TableName: smithy.Some(t.Name), IndexName: in.IndexName, ContributorInsightsStatus: smithy.Some(status), ContributorInsightsMode: smithy.Some(mode),
	}, nil
}
