package ops

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/smithy"
)

// insightsOf returns the Contributor Insights of a table or GSI, which may be nil, and the place that has them.
func insightsOf(t *catalog.Table, index smithy.Opt[string]) (**catalog.Insights, *catalog.KeySchema, error) {
	if !index.Set {
		return &t.Insights, &t.Key, nil
	}
	x := t.Index(index.Value)
	if x == nil || !x.Global {
		return nil, nil, awserr.New(awserr.ResourceNotFound, "Requested resource not found: Index: "+index.Value+" not found on table: "+t.Name)
	}
	return &x.Insights, &x.Key, nil
}

// insightsStatus is the status that AWS shows.
func (s *Service) insightsStatus(i *catalog.Insights) string {
	changing := i != nil && s.Now().UnixMilli() < i.Changed+s.TransientStatus.Milliseconds()
	switch {
	case i == nil:
		return api.ContributorInsightsStatusDisabled
	case i.Enabled && changing:
		return api.ContributorInsightsStatusEnabling
	case i.Enabled:
		return api.ContributorInsightsStatusEnabled
	case changing:
		return api.ContributorInsightsStatusDisabling
	}
	return api.ContributorInsightsStatusDisabled
}

func (s *Service) updateContributorInsights(ctx context.Context, call *smithy.Call, in *api.UpdateContributorInsightsInput) (*api.UpdateContributorInsightsOutput, error) {
	ns, name, err := s.resolve(call, target{call.Operation, in.TableName.Value, in.IndexName.Value})
	if err != nil {
		return nil, err
	}
	enable := in.ContributorInsightsAction.Value == api.ContributorInsightsActionEnable
	now := s.Now()
	mode := strings.Clone(in.ContributorInsightsMode.Value)
	t, err := s.Tables.Catalog.Change(ctx, ns, name, func(t *catalog.Table) error {
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
		if enable && !next.Enabled {
			next.Rules = fmt.Sprint(now.UnixMilli())
		}
		next.Enabled, next.Changed = enable, now.UnixMilli()
		mode = next.Mode
		*at = next
		return nil
	})
	if err != nil {
		return nil, clientError(err)
	}
	if t == nil {
		return nil, awserr.TableNotFound(name)
	}
	status := api.ContributorInsightsStatusDisabling
	if enable {
		status = api.ContributorInsightsStatusEnabling
	}
	return &api.UpdateContributorInsightsOutput{
		TableName: smithy.Some(t.Name), IndexName: in.IndexName, ContributorInsightsStatus: smithy.Some(status), ContributorInsightsMode: smithy.Some(mode),
	}, nil
}

func (s *Service) describeContributorInsights(_ context.Context, call *smithy.Call, in *api.DescribeContributorInsightsInput) (*api.DescribeContributorInsightsOutput, error) {
	t, err := s.anyTableFor(call, target{call.Operation, in.TableName.Value, in.IndexName.Value})
	if err != nil {
		return nil, err
	}
	at, _, err := insightsOf(t, in.IndexName)
	if err != nil {
		return nil, err
	}
	i := *at
	out := &api.DescribeContributorInsightsOutput{
		TableName: smithy.Some(t.Name), IndexName: in.IndexName, ContributorInsightsStatus: smithy.Some(s.insightsStatus(i)),
		ContributorInsightsRuleList: []string{},
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

// maxInsights is how many summaries an answer of ListContributorInsights has if it is not said.
const maxInsights = 100

func (s *Service) listContributorInsights(_ context.Context, call *smithy.Call, in *api.ListContributorInsightsInput) (*api.ListContributorInsightsOutput, error) {
	var tables []*catalog.Table
	if in.TableName.Set {
		t, err := s.anyTable(call, in.TableName.Value)
		if err != nil {
			return nil, err
		}
		tables = append(tables, t)
	} else {
		for _, t := range s.Tables.Catalog.Tables() {
			if t.Namespace == s.namespace(call) && t.DeletingUntil == 0 {
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

// insightRules returns the rules of a table or GSI: of partition keys and, if it has a sort key, of whole keys, that were
// accessed and that were throttled ("Contributor insights for DynamoDB: How it works").
func insightRules(t *catalog.Table, index string) (out []metric.Rule) {
	i, key := t.Insights, &t.Key
	resource := t.Name
	if index != "" {
		x := t.Index(index)
		i, key = x.Insights, &x.Key
		resource += "-" + index
	}
	if i == nil || !i.Enabled {
		return nil
	}
	for _, throttled := range []bool{false, true} {
		if !throttled && i.Mode == catalog.InsightsThrottledKeys {
			continue
		}
		for _, whole := range []bool{false, true} {
			if whole && len(key.Sort) == 0 {
				continue
			}
			kind := map[bool]string{false: "P", true: "S"}[whole] + "K" + map[bool]string{false: "C", true: "T"}[throttled]
			r := metric.Rule{
				Name:    "DynamoDBContributorInsights-" + kind + "-" + resource + "-" + i.Rules,
				Account: t.Account, Region: t.Region, Table: t.Name, Index: index, Throttled: throttled, WholeKey: whole,
			}
			for _, a := range key.Partition {
				r.Labels = append(r.Labels, a.Name)
			}
			if whole {
				for _, a := range key.Sort {
					r.Labels = append(r.Labels, a.Name)
				}
			}
			r.Definition = ruleDefinition(&r)
			out = append(out, r)
		}
	}
	return out
}

// ruleDefinition describes a rule in the language of Contributor Insights.
func ruleDefinition(r *metric.Rule) string {
	contribution := map[string]any{"Keys": r.Labels, "Filters": []any{}, "ValueOf": "ConsumedThroughputUnits"}
	if r.Throttled {
		contribution["ValueOf"] = "ThrottleCount"
	}
	raw, err := json.Marshal(map[string]any{
		"Schema": map[string]any{"Name": "CloudWatchLogRule", "Version": 1}, "AggregateOn": "Sum", "LogFormat": "JSON",
		"LogGroupNames": []string{"/aws/dynamodb/" + r.Table}, "Contribution": contribution,
	})
	if err != nil {
		panic(err) // maps of strings
	}
	return string(raw)
}

// InsightRules returns the rules of all tables of an account.
func (s *Service) InsightRules(account, region string) (out []metric.Rule) {
	for _, t := range s.Tables.Catalog.Tables() {
		if t.Account != account || t.Region != region {
			continue
		}
		out = append(out, insightRules(t, "")...)
		for _, x := range t.Indexes {
			if x.Global {
				out = append(out, insightRules(t, x.Name)...)
			}
		}
	}
	return out
}
