package cloudwatch

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/cloudwatch/api"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/smithy"
)

// reportKey returns the part of a key that identifies a rule's reports.
func reportKey(account, region, table, index string, throttled, wholeKey bool) string {
	return fmt.Sprintf("%s/%s/%s/%s/%t/%t", account, region, table, index, throttled, wholeKey)
}

// keyOfRule returns the reportKey of a rule.
func keyOfRule(r *metric.Rule) string {
	return reportKey(r.Account, r.Region, r.Table, r.Index, r.Throttled, r.WholeKey)
}

// keepReports stores reports, each of one minute. A later report of a minute replaces the earlier one, since it has everything that this
// process knows of the minute. For the minute in which this process started, the report of its predecessor is added.
func (s *Service) keepReports(ctx context.Context, reports []metric.Report) error {
	if len(reports) == 0 {
		return nil
	}
	return kv.Update(ctx, s.KV, kv.TxnOpt{NoSync: true, Background: true}, func(txn kv.Txn) error {
		for _, r := range reports {
			key := keyspace.ContributorReport(reportKey(r.Account, r.Region, r.Table, r.Index, r.Throttled, r.WholeKey), r.Time.Unix())
			if r.Time.Unix()/60 == s.began {
				before, err := s.before(txn, key)
				if err != nil {
					return err
				}
				// Don't change the caller's report: it is stored again if this transaction fails.
				r.Contributors = slices.Clone(r.Contributors)
				r.Add(before.Contributors, before.Total, before.Distinct)
			}
			raw, err := json.Marshal(r)
			if err != nil {
				return err
			}
			if err := txn.Put(key, raw); err != nil {
				return err
			}
		}
		return nil
	})
}

// before returns the report that an earlier process has stored under a key.
func (s *Service) before(r kv.Reader, key []byte) (metric.Report, error) {
	if report, ok := s.earlier[string(key)]; ok {
		return report, nil
	}
	var report metric.Report
	raw, err := r.Get(key)
	if err == nil && raw != nil {
		err = json.Unmarshal(raw, &report)
	}
	if err == nil {
		s.earlier[string(key)] = report
	}
	return report, err
}

// cleanReports removes reports from before a time.
func (s *Service) cleanReports(ctx context.Context, before time.Time) error {
	return removeBefore(ctx, s.KV, kv.Prefix(keyspace.AllContributorReports()), keyspace.Time, before.Unix())
}

// rules returns the caller's rules, sorted by name.
func (s *Service) rules(call *smithy.Call) []metric.Rule {
	if s.Rules == nil {
		return nil
	}
	out := s.Rules(s.Namespace(call.Caller))
	slices.SortFunc(out, func(a, b metric.Rule) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// ruleSchema is the schema of rule definitions.
const ruleSchema = `{"Name":"CloudWatchLogRule","Version":1}`

// describeInsightRules lists the rules that Contributor Insights has created. Users can't create any.
func (s *Service) describeInsightRules(_ context.Context, call *smithy.Call, in *api.DescribeInsightRulesInput) (*api.DescribeInsightRulesOutput, error) {
	after, err := readToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeInsightRulesOutput{InsightRules: []api.InsightRule{}}
	limit := int(in.MaxResults.Or(500))
	for _, r := range s.rules(call) {
		if r.Name <= after {
			continue
		}
		if len(out.InsightRules) == limit {
			out.NextToken = smithy.Some(smithy.EncodeToken(out.InsightRules[limit-1].Name.Value))
			break
		}
		out.InsightRules = append(out.InsightRules, api.InsightRule{
			Name: smithy.Some(r.Name), State: smithy.Some("ENABLED"), Schema: smithy.Some(ruleSchema),
			Definition: smithy.Some(r.Definition), ManagedRule: smithy.Some(true),
		})
	}
	return out, nil
}

// contributorSum is one contributor's counts: in total, and by period.
type contributorSum struct {
	key     string
	total   float64
	periods map[int64]float64
}

// getInsightRuleReport reports a rule's contributors. Counts are approximate: a report of a minute has only the most frequent keys.
func (s *Service) getInsightRuleReport(ctx context.Context, call *smithy.Call, in *api.GetInsightRuleReportInput) (*api.GetInsightRuleReportOutput, error) {
	rules := s.rules(call)
	i := slices.IndexFunc(rules, func(r metric.Rule) bool { return r.Name == in.RuleName.Value })
	if i < 0 {
		return nil, awserr.New(resourceNotFound, "The rule "+in.RuleName.Value+" does not exist")
	}
	period := in.Period.Value
	if period%60 != 0 {
		return nil, invalid("The parameter Period must be a multiple of 60.")
	}
	top := int(in.MaxContributorCount.Or(10))
	if top < 1 || top > 100 {
		return nil, invalid("The parameter MaxContributorCount must be between 1 and 100.")
	}
	from, to := timeOf(in.StartTime.Value), timeOf(in.EndTime.Value)
	if !from.Before(to) {
		return nil, awserr.New(invalidCombination, "The parameter StartTime must be less than the parameter EndTime.")
	}
	// The latest counts are still in the meters' memory.
	if err := s.Collect(ctx); err != nil {
		return nil, err
	}
	rule := rules[i]
	start, end := window(s.Now(), from, to, 60)
	sums, periods, err := s.readReports(ctx, &rule, start, end, period)
	if err != nil {
		return nil, err
	}
	out := &api.GetInsightRuleReportOutput{
		KeyLabels: rule.Labels, AggregationStatistic: smithy.Some("Sum"), Contributors: []api.InsightRuleContributor{},
		ApproximateUniqueCount: smithy.Some(int64(len(sums))), MetricDatapoints: []api.InsightRuleMetricDatapoint{},
	}
	total := 0.0
	for _, p := range periods {
		total += p.total
		d := api.InsightRuleMetricDatapoint{Timestamp: smithy.Some(float64(p.at))}
		for _, name := range in.Metrics {
			switch name {
			case "UniqueContributors":
				d.UniqueContributors = smithy.Some(p.distinct)
			case "MaxContributorValue":
				d.MaxContributorValue = smithy.Some(p.most)
			case "Sum":
				d.Sum = smithy.Some(p.total)
			case "SampleCount":
				d.SampleCount = smithy.Some(p.total)
			case "Minimum":
				d.Minimum = smithy.Some(p.least)
			case "Maximum":
				d.Maximum = smithy.Some(p.most)
			case "Average":
				d.Average = smithy.Some(p.total / max(1, p.distinct))
			default:
				return nil, invalid("The value " + name + " for parameter Metrics is not supported.")
			}
		}
		if in.Metrics != nil {
			out.MetricDatapoints = append(out.MetricDatapoints, d)
		}
	}
	out.AggregateValue = smithy.Some(total)
	for _, c := range sums[:min(top, len(sums))] { // sums is sorted by total, the largest first
		r := api.InsightRuleContributor{Keys: keysOf(c.key, rule.Labels), ApproximateAggregateValue: smithy.Some(c.total)}
		for _, p := range periods {
			if v := c.periods[p.at]; v > 0 {
				r.Datapoints = append(r.Datapoints, api.InsightRuleContributorDatapoint{Timestamp: smithy.Some(float64(p.at)), ApproximateValue: smithy.Some(v)})
			}
		}
		out.Contributors = append(out.Contributors, r)
	}
	return out, nil
}

// periodSum is the counts of all contributors in one period.
type periodSum struct {
	at                           int64
	total, distinct, most, least float64
}

// readReports sums a rule's reports: by contributor, the largest first, and by period, in order of time.
func (s *Service) readReports(ctx context.Context, rule *metric.Rule, start, end, period int64) ([]*contributorSum, []*periodSum, error) {
	snap, err := s.KV.Latest(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer snap.Close()
	byKey := map[string]*contributorSum{}
	var keys []*contributorSum
	var periods []*periodSum
	rng := kv.Range{Start: keyspace.ContributorReport(keyOfRule(rule), start), End: keyspace.ContributorReport(keyOfRule(rule), end)}
	err = kv.Each(ctx, snap, rng, func(key, val []byte) error {
		var r metric.Report
		if err := json.Unmarshal(val, &r); err != nil {
			return err
		}
		at := start + (keyspace.Time(key)-start)/period*period
		if len(periods) == 0 || periods[len(periods)-1].at != at {
			periods = append(periods, &periodSum{at: at})
		}
		p := periods[len(periods)-1]
		p.total += r.Total
		// The minutes of a period share contributors, so their numbers can't be added. The maximum is a lower bound.
		p.distinct = max(p.distinct, r.Distinct)
		for _, c := range r.Contributors {
			sum := byKey[c.Key]
			if sum == nil {
				sum = &contributorSum{key: c.Key, periods: map[int64]float64{}}
				byKey[c.Key] = sum
				keys = append(keys, sum)
			}
			sum.total += c.Count
			sum.periods[at] += c.Count
		}
		return nil
	})
	byTime := make(map[int64]*periodSum, len(periods))
	for _, p := range periods {
		byTime[p.at] = p
	}
	for _, c := range keys {
		for at, v := range c.periods {
			p := byTime[at]
			p.most = max(p.most, v)
			if p.least == 0 || v < p.least {
				p.least = v
			}
		}
	}
	slices.SortFunc(keys, func(a, b *contributorSum) int {
		switch {
		case a.total > b.total:
			return -1
		case a.total < b.total:
			return 1
		}
		return strings.Compare(a.key, b.key) // a stable order among equals
	})
	return keys, periods, err
}

// keysOf returns the values of a contributor's key attributes in the order of the labels. text is an item's JSON.
func keysOf(text string, labels []string) []string {
	var attributes map[string]map[string]string
	out := make([]string, len(labels))
	if err := json.Unmarshal([]byte(text), &attributes); err != nil {
		return out // malformed: return empty values
	}
	for i, label := range labels {
		for _, v := range attributes[label] {
			out[i] = v
		}
	}
	return out
}
