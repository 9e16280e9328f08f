package ops

import (
	"encoding/json"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/smithy"
)

// insightsOf returns where the Contributor Insights of a table or GSI are stored, and the key schema that they cover. The
// stored value may be nil.
func insightsOf(t *catalog.Table, index smithy.Opt[string]) (**catalog.Insights, *catalog.KeySchema, error) {
	if !index.Set {
		return &t.Insights, &t.Key, nil
	}
	if n := len(index.Value); n < 3 || n > 255 {
		return nil, nil, awserr.ValidationError("IndexName must be at least 3 characters long and at most 255 characters long")
	}
	x := t.Index(index.Value)
	if x == nil || !x.Global {
		return nil, nil, awserr.New(awserr.ResourceNotFound, "Requested resource not found: Index: "+index.Value+" not found for table: "+t.Name)
	}
	return &x.Insights, &x.Key, nil
}

// checkIndexName rejects names that no index can have; AWS has its own sentence for them here.
func checkIndexName(name smithy.Opt[string]) error {
	if n := len(name.Value); name.Set && (n < 3 || n > 255) {
		return awserr.ValidationError("IndexName must be at least 3 characters long and at most 255 characters long")
	}
	if name.Set && !smithy.NameChars(name.Value) {
		return smithy.BadName("indexName", name.Value)
	}
	return nil
}

// insightsStatus returns the status as AWS shows it.
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

// insightRules returns the rules of a table or GSI: accessed and throttled partition keys and, if there is a sort key, accessed
// and throttled whole keys ("Contributor insights for DynamoDB: How it works").
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

// ruleDefinition returns a rule's definition in the JSON of Contributor Insights.
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
		panic(err) // can't happen: it holds only maps, lists and strings
	}
	return string(raw)
}

// InsightRules returns the rules of all tables of an account and region.
func (s *Service) InsightRules(account, region string) (out []metric.Rule) {
	for t := range s.Tables.Catalog.Tables() {
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
