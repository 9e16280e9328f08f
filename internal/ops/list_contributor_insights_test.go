package ops

import (
	"slices"
	"testing"

	"github.com/statordb/stator/internal/smithy"
)

// TestListContributorInsightsPages reads the summaries of tables whose names sort around the character that separates them from their
// indexes in tokens: every summary must come once.
func TestListContributorInsightsPages(t *testing.T) {
	c := smithy.Caller{Account: "111111111111", Region: "us-west-2", Verified: true}
	s := open(t, Options{NoChangeLimits: true})
	for _, name := range []string{"tab", "tab-2", "tab.3"} {
		s.must(c, "CreateTable", obj{
			"TableName": name, "BillingMode": "PAY_PER_REQUEST",
			"AttributeDefinitions": []obj{{"AttributeName": "pk", "AttributeType": "S"}},
			"KeySchema":            []obj{{"AttributeName": "pk", "KeyType": "HASH"}},
			"GlobalSecondaryIndexes": []obj{
				{"IndexName": "second", "KeySchema": []obj{{"AttributeName": "pk", "KeyType": "HASH"}}, "Projection": obj{"ProjectionType": "ALL"}},
				{"IndexName": "first", "KeySchema": []obj{{"AttributeName": "pk", "KeyType": "HASH"}}, "Projection": obj{"ProjectionType": "ALL"}},
			},
		})
		for _, index := range []any{nil, "first", "second"} {
			in := obj{"TableName": name, "ContributorInsightsAction": "ENABLE"}
			if index != nil {
				in["IndexName"] = index
			}
			s.must(c, "UpdateContributorInsights", in)
		}
	}
	var got []string
	in := obj{"MaxResults": 1}
	for {
		out := s.must(c, "ListContributorInsights", in)
		for _, v := range out["ContributorInsightsSummaries"].([]any) {
			index, _ := v.(obj)["IndexName"].(string)
			got = append(got, v.(obj)["TableName"].(string)+" "+index)
		}
		token, more := out["NextToken"]
		if !more {
			break
		}
		in["NextToken"] = token
	}
	slices.Sort(got)
	want := []string{"tab ", "tab first", "tab second", "tab-2 ", "tab-2 first", "tab-2 second", "tab.3 ", "tab.3 first", "tab.3 second"}
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}
