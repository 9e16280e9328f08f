package ops

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

func notReadyForInsights(status string) error {
	return awserr.ValidationError("Table or Index is not in a valid state to update Key Access Insights: " + status + " must be ACTIVE to enable ContributorInsights.")
}

func (s *Service) updateContributorInsights(ctx context.Context, req *Request, in *api.UpdateContributorInsightsInput) (*api.UpdateContributorInsightsOutput, error) {
	if err := checkIndexName(in.IndexName); err != nil {
		return nil, err
	}
	enable := in.ContributorInsightsAction.Value == api.ContributorInsightsActionEnable
	now := s.Now()
	// The catalog keeps the mode longer than the request's body lives.
	mode := strings.Clone(in.ContributorInsightsMode.Value)
	status := api.ContributorInsightsStatusDisabling
	if enable {
		status = api.ContributorInsightsStatusEnabling
	}
	t, err := s.change(ctx, req, req.index(in.TableName.Value, in.IndexName.Value), func(t *catalog.Table) error {
		if s.phaseOf(t) == phaseUnknown {
			return awserr.TableNotFound(t.Name)
		}
		at, _, err := insightsOf(t, in.IndexName)
		if err != nil {
			return err
		}
		if s.phaseOf(t) == phaseCreating {
			return notReadyForInsights("TableStatus")
		}
		if x := t.Index(in.IndexName.Value); enable && x != nil && x.State != "" {
			return notReadyForInsights("IndexStatus")
		}
		next := &catalog.Insights{Mode: catalog.InsightsAllKeys}
		was := *at
		if was != nil {
			*next = *was
		}
		// Without a mode, insights are enabled in the first.
		if enable {
			next.Mode = cmp.Or(mode, catalog.InsightsAllKeys)
		}
		same := was == nil && !enable || was != nil && was.Enabled == enable && was.Mode == next.Mode
		if mode = next.Mode; same {
			status = map[bool]string{false: api.ContributorInsightsStatusDisabled, true: api.ContributorInsightsStatusEnabled}[enable]
			return nil
		}
		// Rules are named after the time at which they were enabled.
		if enable && !next.Enabled {
			next.Rules = fmt.Sprint(now.UnixMilli())
		}
		if was == nil || was.Enabled != enable {
			next.Changed = now.UnixMilli()
		}
		next.Enabled = enable
		*at = next
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateContributorInsightsOutput{
		TableName: smithy.Some(t.Name), IndexName: in.IndexName, ContributorInsightsStatus: smithy.Some(status), ContributorInsightsMode: smithy.Some(mode),
	}, nil
}
