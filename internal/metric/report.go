package metric

import "time"

// Contributor is a key of a table or GSI and its share of the load.
type Contributor struct {
	Key   string // the key attributes as JSON, e.g. {"pk":{"S":"a"}}
	Count float64
}

// Report has the most used keys of a table or GSI in a minute.
type Report struct {
	Account, Region, Table, Index string
	Throttled                     bool // throttled requests; otherwise consumed units
	WholeKey                      bool // partition and sort key; otherwise the partition key alone
	Time                          time.Time
	Contributors                  []Contributor
	Total                         float64
	Distinct                      float64 // upper bound of the number of keys
}

// Add adds the keys of another part of the same minute.
func (r *Report) Add(more []Contributor, total, distinct float64) {
	at := make(map[string]int, len(r.Contributors))
	for i, c := range r.Contributors {
		at[c.Key] = i
	}
	for _, c := range more {
		if i, ok := at[c.Key]; ok {
			r.Contributors[i].Count += c.Count
			distinct-- // the key was counted in both parts
		} else {
			r.Contributors = append(r.Contributors, c)
		}
	}
	r.Total += total
	r.Distinct += distinct
}

// Rule is a Contributor Insights rule: the Reports that it consists of, and its description.
type Rule struct {
	Name       string
	Labels     []string // names of the key's attributes
	Definition string   // in JSON

	Account, Region, Table, Index string
	Throttled, WholeKey           bool
}
