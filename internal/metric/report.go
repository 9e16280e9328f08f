package metric

import "time"

// Contributor is a key of a table or GSI, and what it contributes.
type Contributor struct {
	Key   string // the values of the key's attributes as JSON, e.g. {"pk":{"S":"a"}}
	Count float64
}

// Report is which keys of a table or GSI were used most in a minute.
type Report struct {
	Account, Region, Table, Index string
	Throttled                     bool // else accessed
	WholeKey                      bool // else the partition key
	Time                          time.Time
	Contributors                  []Contributor
	Total                         float64
	Distinct                      float64 // how many keys, at most
}

// Add adds the keys of another part of the minute.
func (r *Report) Add(more []Contributor, total, distinct float64) {
	at := make(map[string]int, len(r.Contributors))
	for i, c := range r.Contributors {
		at[c.Key] = i
	}
	for _, c := range more {
		if i, ok := at[c.Key]; ok {
			r.Contributors[i].Count += c.Count
			distinct-- // it was counted before
		} else {
			r.Contributors = append(r.Contributors, c)
		}
	}
	r.Total += total
	r.Distinct += distinct
}

// Rule is a Contributor Insights rule: which Reports it is made of, and how it describes itself.
type Rule struct {
	Name       string
	Labels     []string // of the keys: the names of the attributes
	Definition string   // as JSON

	Account, Region, Table, Index string
	Throttled, WholeKey           bool
}
