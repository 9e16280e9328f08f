package stage

import (
	"testing"
	"time"
)

func TestGather(t *testing.T) {
	Sync.Since(time.Now())
	families, err := Gather()
	if err != nil {
		t.Fatal(err)
	}
	samples := map[string]uint64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += "/" + l.GetValue()
			}
			samples[name] = m.GetHistogram().GetSampleCount()
		}
	}
	if samples["stator_stage_seconds/sync"] != 1 {
		t.Errorf("syncs observed: %v", samples)
	}
	for _, name := range []string{"stator_stage_seconds/lock", "go_sched_latencies_seconds", "go_sched_pauses_total_gc_seconds"} {
		if _, ok := samples[name]; !ok {
			t.Errorf("no %s in %v", name, samples)
		}
	}
}
